"""The backward pass on rows equals autograd's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import test_backward
from networks import backbone_of, picture, seeded
from partscope.backward import linearise
from partscope.maps import gradient_maps
from test_backward import FUNCTIONS, Applied

pytest.importorskip("numba")

from backward_on_rows import Residual, assert_equal_to_autograd, on_rows, recorded
from partscope.backward.compiled import sparse


@pytest.fixture(autouse=True)
def _single_precision() -> Iterator[None]:
    modules = [
        getattr(test_backward, name)
        for name in ("NORM", "BARE_NORM", "LAYER_NORM", "LINEAR", "GATE", "PRELU", "UP")
    ]
    for module in modules:
        module.float()
    yield
    for module in modules:
        module.double()


class Watched:
    """Counts the kernels' calls, so that a test knows that rows were taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        from partscope.backward.compiled import row_operations

        original = row_operations.share

        def share(ranges: Any, kernel: Any, *arguments: Any) -> None:
            self.calls.append(kernel.__name__)
            original(ranges, kernel, *arguments)

        monkeypatch.setattr(row_operations, "share", share)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("always_on_rows")
def test_any_operation_equals_autograd(name: str) -> None:
    output, image = recorded(Applied(FUNCTIONS[name]))
    assert_equal_to_autograd(output, image)
    assert_equal_to_autograd(output, image, [3, 0, 3])


MORE = {
    "product with a gate of its own": lambda x: x * torch.sigmoid(x),
    "product of two": lambda x: x * torch.sigmoid(x.flip(1)),
    "square": lambda x: x * x,
    "joined with itself": lambda x: torch.cat([x, x], dim=1)[:, 3:9],
    "joined with itself twice": lambda x: torch.cat([x[:, :2], x[:, :2], x[:, :2]], dim=1),
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *MORE])
@pytest.mark.usefixtures("always_on_rows")
def test_any_operation_between_masks_equals_autograd(name: str) -> None:
    function = {**FUNCTIONS, **MORE}[name]
    output, image = recorded(Applied(lambda x: function(torch.relu(x) + 0.1)))
    network = assert_equal_to_autograd(output, image)
    assert network._sparse is not None


@pytest.mark.usefixtures("always_on_rows")
def test_a_value_that_is_joined_with_itself_as_a_whole() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(12, 4, 3)
            seeded(self)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.first(x))
            return self.last(torch.cat([x, x], dim=1))

    assert assert_equal_to_autograd(*recorded(Twice()))._sparse is not None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_convolution_between_masks_equals_autograd(data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([1, 1, 1, 2]))
    inside, outside = (data.draw(st.integers(1, 9)) * groups for _ in range(2))
    if data.draw(st.booleans()):
        groups = outside = inside  # each channel on its own
    kernel, stride, padding, dilation = (
        (data.draw(st.integers(low, high)), data.draw(st.integers(low, high)))
        for low, high in ((1, 5), (1, 3), (0, 3), (1, 2))
    )
    side = data.draw(st.integers(6, 13))
    assume(all(side + 2 * p >= d * (k - 1) + 1 for k, p, d in zip(kernel, padding, dilation, strict=True)))
    network = nn.Sequential(
        nn.Conv2d(3, inside, 1),
        nn.ReLU(),
        nn.Conv2d(inside, outside, kernel, stride, padding, dilation, groups),
        nn.ReLU6(),
        nn.Conv2d(outside, 5, 1),
    )
    output, image = recorded(seeded(network), side)
    sums = output.sum(dim=(0, 2, 3))
    expected = torch.stack([torch.autograd.grad(total, image, retain_graph=True)[0][0] for total in sums])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_VISIT", 0)
        patch.setattr(sparse, "_TURN", 0)
        found = on_rows(output, image).gradients(range(5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * max(1.0, float(expected.abs().max())))


@pytest.mark.usefixtures("always_on_rows")
def test_branches_joins_and_overlapping_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    output, image = recorded(Residual(), 33)
    assert_equal_to_autograd(output, image)
    assert {"convolved", "convolved_depthwise", "added"} <= set(watched.calls)


@pytest.mark.usefixtures("always_on_rows")
def test_neither_the_chunk_nor_the_threads_change_a_bit() -> None:
    output, image = recorded(Residual(), 33)
    network = on_rows(output, image)
    together = network.gradients(range(40))
    parts = [network.gradients(range(40))[:16], on_rows(output, image).gradients(range(40))[16:]]
    assert torch.equal(together, torch.cat(parts))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = on_rows(output, image).gradients(range(40))
        torch.set_num_threads(3)
        shared = on_rows(output, image).gradients(range(40))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone, shared)


@pytest.mark.usefixtures("always_on_rows")
def test_where_nothing_is_off_whole_maps_are_used() -> None:
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 4, 3))
    assert on_rows(*recorded(seeded(smooth)))._sparse is None
    assert on_rows(*recorded(seeded(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))))._sparse is not None


def test_where_turning_to_rows_and_back_would_cost_more_whole_maps_are_used() -> None:
    """A grouped convolution behind each other one runs on whole maps."""

    def network(groups: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3)]
        for _ in range(3):
            layers += [nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, groups=groups)]
        return seeded(nn.Sequential(*layers))

    assert on_rows(*recorded(network(1)))._sparse is not None
    assert on_rows(*recorded(network(4)))._sparse is None


def test_a_unit_that_is_off_everywhere_passes_nothing_on() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    seeded(network)
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.fill_(-1)
    output, image = recorded(network)
    assert torch.equal(on_rows(output, image).gradients([0, 1]), torch.zeros(2, 3, 16, 16))


def test_double_precision_is_worked_out_on_whole_maps() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    output, image = test_backward.recorded(seeded(network))
    expected = linearise(output, image)
    assert expected is not None
    assert torch.equal(on_rows(output, image).gradients([0, 1]), expected.gradients([0, 1]))


@pytest.mark.parametrize("name", test_backward.networks())
def test_networks_of_the_libraries_equal_autograd(name: str) -> None:
    make, layer = test_backward.networks()[name]
    torch.manual_seed(0)
    backbone = backbone_of(make().eval().requires_grad_(False), layer, 96)
    inputs = picture(side=96, dtype=torch.float32)
    channels = list(range(20))
    fast = gradient_maps(backbone, inputs, channels, engine="sparse")
    slow = gradient_maps(backbone, inputs, channels, engine="autograd")
    scale = slow.flatten(1).amax(dim=1)
    assert (scale > 0).any()
    assert ((fast - slow).abs().flatten(1).amax(dim=1) <= 1e-4 * scale).all()
