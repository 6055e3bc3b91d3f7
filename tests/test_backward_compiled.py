from __future__ import annotations

import hashlib
import multiprocessing
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import test_backward
from networks import backbone_of, picture, seeded
from partscope import maps
from partscope.backward import Linearised, has_numba, linearise
from partscope.errors import MissingExtraError, OptionError
from partscope.maps import gradient_maps
from test_backward import FUNCTIONS, Applied

pytest.importorskip("numba")

import numba

from partscope.backward.compiled import kernels, lanes, sparse
from partscope.backward.compiled.lanes import LANES
from partscope.backward.compiled.reach import Reach
from partscope.backward.compiled.row_operations import pooled, row_operation, visited
from partscope.backward.compiled.rows import Listing, Rows, share, zeros
from partscope.backward.convolution import Convolution
from partscope.backward.pieces import Piece


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


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution runs on rows, whether that pays or not."""
    monkeypatch.setattr(sparse, "_VISIT", 0)
    monkeypatch.setattr(sparse, "_TURN", 0)


def recorded(network: nn.Module, side: int = 16) -> tuple[Tensor, Tensor]:
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    return network.eval().float()(image.clone()), image


def on_rows(output: Tensor, image: Tensor) -> Linearised:
    network = linearise(output, image, sparse=True)
    assert network is not None
    return network


def assert_equal_to_autograd(output: Tensor, image: Tensor, channels: list[int] | None = None) -> Linearised:
    channels = list(range(output.shape[1])) if channels is None else channels
    sums = output.sum(dim=(0, 2, 3))
    expected = torch.cat([torch.autograd.grad(sums[k], image, retain_graph=True)[0] for k in channels])
    network = on_rows(output, image)
    scale = float(expected.abs().max())
    assert scale > 0
    for _ in range(2):  # a second run must not see what the first has left
        torch.testing.assert_close(network.gradients(channels), expected, rtol=1e-4, atol=1e-5 * scale)
    return network


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


# -- equal to autograd ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("always")
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
@pytest.mark.usefixtures("always")
def test_any_operation_between_masks_equals_autograd(name: str) -> None:
    function = {**FUNCTIONS, **MORE}[name]
    output, image = recorded(Applied(lambda x: function(torch.relu(x) + 0.1)))
    network = assert_equal_to_autograd(output, image)
    assert network._sparse is not None


@pytest.mark.usefixtures("always")
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


class Residual(nn.Module):
    """Two branches that share a gradient, and a pooling whose windows overlap in front of each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.wide, self.narrow = (
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Conv2d(8, 8, 1),
        )
        self.each = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.last = nn.Conv2d(16, 40, 3)
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.first(x)), 3, 2)
        x = x + self.wide(torch.relu(self.narrow(x)))
        x = torch.relu(x)
        pooled_once = functional.max_pool2d(x, 3, 1, 1)
        return self.last(torch.cat([self.each(pooled_once), self.narrow(pooled_once)], dim=1))


@pytest.mark.usefixtures("always")
def test_branches_joins_and_overlapping_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    output, image = recorded(Residual(), 33)
    assert_equal_to_autograd(output, image)
    assert {"convolved", "convolved_depthwise", "added"} <= set(watched.calls)


@pytest.mark.usefixtures("always")
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


@pytest.mark.usefixtures("always")
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


# -- what is visited -------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("always")
def test_the_elements_of_a_pooled_mask_in_closed_form() -> None:
    """One window, one unit on: its gradient reaches that unit's place alone."""
    network = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 1, 1))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
    image = torch.full((1, 3, 4, 4), -1.0)
    image[0, :, 0, 1] = 2.0
    image[0, :, 0, 0] = 1.0
    image[0, :, 3, 3] = 1.0
    image.requires_grad_(True)
    linear = on_rows(network(image.clone()), image)
    assert linear._sparse is not None
    reach: Reach = linear._sparse._reach
    masks = [reach.mask(key) for key in linear._shapes if key in reach._masks]
    found = [mask[:, :, 0] for mask in masks if mask is not None and mask.shape == (4, 4, 1)]
    expected = np.zeros((4, 4), bool)
    expected[0, 1] = expected[3, 3] = True
    assert any(np.array_equal(mask, expected) for mask in found)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(1, 1), (3, 1), (3, 2), (5, 3)]))
def test_the_multiplications_that_are_counted_are_those_between_listed_elements(
    seed: int, shape: tuple[int, int]
) -> None:
    generator = np.random.default_rng(seed)
    (kernel, stride), padding = shape, shape[0] // 2
    side, small = 7, (7 + 2 * padding - kernel) // stride + 1
    given_mask, out_mask = generator.random((small, small, 3)) < 0.5, generator.random((side, side, 2)) < 0.5
    operation = Convolution(
        torch.ones(3, 2, kernel, kernel), (stride, stride), (padding, padding), (1, 1), 1, (side, side)
    )
    count = 0
    for y, x, _ in np.argwhere(given_mask):
        for i in range(kernel):
            for j in range(kernel):
                v, u = y * stride - padding + i, x * stride - padding + j
                if 0 <= v < side and 0 <= u < side:
                    count += int(out_mask[v, u].sum())
    every, some = visited(operation, Listing.of(given_mask), Listing.of(out_mask))
    assert every == small * small * 3 * 2 * kernel**2
    assert some == count


@pytest.mark.usefixtures("always")
def test_multiplications_of_a_network_are_those_of_its_convolutions() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    output, image = recorded(seeded(network))
    on = (network[1](network[0](image)) > 0).sum().item()
    every, some = on_rows(output, image).multiplications()
    assert every == 16 * 16 * (8 * 4 + 8 * 3 * 9)
    assert on * 4 < some <= on * (4 + 3 * 9)
    with pytest.raises(ValueError, match="whole"):
        on_rows(*recorded(seeded(nn.Sequential(nn.Conv2d(3, 4, 3))))).multiplications()


# -- rows ------------------------------------------------------------------------------------------------------------------------
def test_rows_and_whole_maps_are_each_other() -> None:
    generator = np.random.default_rng(0)
    mask = generator.random((5, 7, 3)) < 0.4
    maps = torch.randn(LANES + 3, 3, 5, 7) * torch.from_numpy(mask).permute(2, 0, 1)
    rows = Rows.gathered(Piece(maps.unsqueeze(1)), Listing.of(mask))
    assert rows.values.shape == (2, int(mask.sum()), LANES)
    for layout in (torch.channels_last, torch.contiguous_format):
        piece = rows.piece(layout)
        assert torch.equal(piece.values.squeeze(1), maps)
        assert piece.values.squeeze(1).is_contiguous(memory_format=layout)


def test_an_element_that_is_listed_twice_is_the_sum() -> None:
    maxima = np.array([0, 0, 3, 3]).reshape(2, 2, 1)  # four windows, two maxima
    given_listing, out = Listing.of(np.ones((2, 2, 1), bool)), Listing.of(np.ones((2, 2, 1), bool))
    values = zeros(1, 4)
    values[0, :, 0] = [1, 2, 3, 4]
    found = Rows(pooled(maxima, given_listing, out), values, 1).piece().values.flatten()
    assert found.tolist() == [3, 0, 0, 7]


def test_entries_of_a_pooled_position_are_all_listed() -> None:
    maxima = np.array([[[0, 0, 0], [0, 0, 0]]])  # two windows of three channels, all at the first position
    listing = pooled(maxima, Listing.of(np.ones((1, 2, 3), bool)), Listing.of(np.ones((1, 2, 3), bool)))
    assert sorted(listing.channels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert sorted(listing.rows.tolist()) == [0, 1, 2, 3, 4, 5]
    assert all(channel == row % 3 for channel, row in zip(listing.channels, listing.rows, strict=True))
    assert listing.first.tolist() == [0, 6, 6]


def test_an_empty_listing_gives_zero() -> None:
    nothing, everything = Listing.of(np.zeros((3, 3, 2), bool)), Listing.of(np.ones((3, 3, 2), bool))
    operation = Convolution(torch.ones(2, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1, (3, 3))
    run = row_operation(operation, nothing, everything, 0)
    assert run is not None
    assert not run(Rows(nothing, zeros(1, 0), 4), None).piece().values.any()


# -- memory, threads and what is not there ------------------------------------------------------------------------------------
def test_the_chunk_is_cut_where_values_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    network = on_rows(*recorded(Residual(), 33))
    assert network.chunk == 64
    assert network._sparse is not None
    monkeypatch.setattr(sparse, "_MEMORY", network._sparse._reach.largest * 64 * 2)
    assert network.chunk == 32
    monkeypatch.setattr(sparse, "_MEMORY", 1)
    assert network.chunk == 16


def in_child(queue: Any) -> None:
    done: list[tuple[int, int]] = []
    share([(0, 1), (1, 2), (2, 3)], lambda low, high: done.append((low, high)))
    queue.put(sorted(done))


@pytest.mark.skipif(sys.platform != "linux", reason="fork is Linux's")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done: list[int] = []
    share(
        [(0, 1), (1, 2), (2, 3)], lambda low, high: done.append(low)
    )  # the threads of this process exist now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=in_child, args=(queue,), daemon=True)
    process.start()
    try:
        assert queue.get(timeout=30) == [(0, 1), (1, 2), (2, 3)]
    finally:
        process.kill()


def test_an_error_in_any_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def fail(low: int, high: int) -> None:
        time.sleep(0.05)
        raise MemoryError(low)

    with pytest.raises(MemoryError):
        share([(0, 1), (1, 2)], fail)


def test_without_numba_whole_maps_are_used_and_asking_for_rows_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone, image = backbone_of(Residual(), "last", 32), picture(side=32, dtype=torch.float32)
    expected = gradient_maps(backbone, image, engine="linearised")
    monkeypatch.setattr("partscope.maps.has_numba", lambda: False)
    assert torch.equal(gradient_maps(backbone, image), expected)
    with pytest.raises(MissingExtraError, match=r"partscope\[fast\]"):
        gradient_maps(backbone, image, engine="sparse")


def test_a_numba_that_cannot_be_imported_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("partscope.backward.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    has_numba.cache_clear()
    try:
        assert not has_numba()
    finally:
        has_numba.cache_clear()


def test_the_kept_machine_code_is_that_of_the_innermost_loop() -> None:
    """Numba looks at kernels.py alone: whoever changes lanes.py must change the hash there."""
    digest = hashlib.sha256(Path(lanes.__file__).read_bytes()).hexdigest()[:16]
    assert digest == kernels.LANES_HASH


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), EOFError()])
def test_a_cache_that_fails_costs_a_compilation(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real, made = numba.njit, []

    def njit(*arguments: Any, **options: Any) -> Any:
        if options.get("cache"):

            def broken(function: Any) -> Any:
                def fail(*given: Any) -> Any:
                    raise error

                return fail

            return broken
        made.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(kernels.numba, "njit", njit)
    double = kernels.compiled(lambda x: 2 * x)
    assert [double(3), double(4)] == [6, 8]
    assert len(made) == 1


def test_half_precision_and_autocast_run_on_whole_maps() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 40, 3))
    backbone = backbone_of(seeded(network).float(), "3", 16)
    image = picture(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradient_maps(backbone, image)
        expected = gradient_maps(backbone, image, engine="linearised")
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("always")
def test_other_defaults_of_pytorch_do_not_matter() -> None:
    output, image = recorded(Residual(), 33)
    expected = on_rows(output, image).gradients(range(40))
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        found = on_rows(output, image).gradients(range(40))
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)


def test_few_channels_run_on_whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = maps.linearise
    monkeypatch.setattr(maps, "linearise", lambda o, i, sparse: asked.append(sparse) or real(o, i, sparse))
    backbone = backbone_of(Residual(), "last", 32)
    for count in (11, 12):
        gradient_maps(backbone, picture(side=32, dtype=torch.float32), range(count))
    assert asked == [False, True]


def test_rows_are_not_for_double_precision() -> None:
    with pytest.raises(OptionError, match="float32"):
        gradient_maps(backbone_of(Residual().double(), "last", 32), picture(side=32), engine="sparse")
