from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks import SIDE, awkward_network, backbone_of, everything, picture, seeded
from partscope.backbones import Backbone
from partscope.errors import BackboneError, OptionError
from partscope.maps import REDUCTIONS, activation_maps, gradient_maps, iterate_gradient_maps

PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "l2": lambda g: np.sqrt((g**2).sum(axis=0)),
    "l1": lambda g: np.abs(g).sum(axis=0),
    "max": lambda g: np.abs(g).max(axis=0),
}


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**2 / 2


def by_loop(backbone: Backbone, inputs: Tensor, channels: list[int], reduction: str) -> np.ndarray:
    """A plain loop of autograd.grad through a forward pass of its own."""
    maps = []
    for channel in channels:
        image = inputs.clone().unsqueeze(0).requires_grad_(True)
        kept: list[Tensor] = []
        handle = backbone.network.get_submodule(backbone.layer).register_forward_hook(
            lambda module, args, output, kept=kept: kept.append(output.clone())
        )
        backbone.network.eval()(image.clone())
        handle.remove()
        (gradient,) = torch.autograd.grad(kept[0][:, channel].sum(), image)
        maps.append(PLAIN[reduction](gradient[0].numpy()))
    return np.array(maps)


# -- closed forms --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reduction", list(REDUCTIONS))
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 0), (5, 3, 2), (2, 2, 0)])
def test_a_linear_network_has_the_sums_of_its_kernels_as_gradient(
    reduction: str, kernel: int, stride: int, padding: int
) -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 4, kernel, stride, padding))).double()
    weights = network[0].weight.detach().numpy()
    rows = (SIDE + 2 * padding - kernel) // stride + 1
    gradient = np.zeros((4, 3, SIDE + 2 * padding, SIDE + 2 * padding))
    for i in range(rows):
        for j in range(rows):
            gradient[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel] += weights
    inside = slice(padding, padding + SIDE)
    expected = [PLAIN[reduction](g[:, inside, inside]) for g in gradient]
    found = gradient_maps(backbone_of(network, "0"), picture(), reduction=reduction)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-14)


def test_a_quadratic_network_has_a_gradient_linear_in_the_picture() -> None:
    # a_k = (w_k·x)²/2 in each pixel, so that ∂Σa_k/∂x = w_k (w_k·x).
    network = seeded(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), Square())).double()
    weights, x = network[0].weight.detach()[:, :, 0, 0], picture()
    response = torch.einsum("kc,cij->kij", weights, x)
    expected = weights.norm(dim=1)[:, None, None] * response.abs()
    torch.testing.assert_close(gradient_maps(backbone_of(network, "1"), x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layer", ["0", "1"])
def test_a_relu_passes_the_gradient_where_it_is_open(inplace: bool, layer: str) -> None:
    # Behind layer "0" an in-place ReLU would change the activations, were the pass not ended there.
    network = seeded(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=inplace))).double()
    weights, bias, x = network[0].weight.detach()[:, :, 0, 0], network[0].bias.detach(), picture()
    response = torch.einsum("kc,cij->kij", weights, x) + bias[:, None, None]
    is_open = (response > 0) if layer == "1" else torch.ones_like(response)
    assert layer == "0" or 0 < is_open.double().mean() < 1
    expected = weights.norm(dim=1)[:, None, None] * is_open
    torch.testing.assert_close(gradient_maps(backbone_of(network, layer), x), expected.double())
    clamped = response.clamp_min(0)
    torch.testing.assert_close(activation_maps(backbone_of(network, layer), x), clamped)


# -- any subset, order, chunk ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("layer", ["1", "2", "3", "5", "6", "7"])
@settings(max_examples=8)
@given(
    channels=st.lists(st.integers(0, 4), max_size=7),
    chunk=st.integers(1, 8),
    reduction=st.sampled_from(sorted(REDUCTIONS)),
    seed=st.integers(0, 99),
)
def test_maps_equal_a_plain_loop_for_any_channels_and_chunk(
    layer: str, channels: list[int], chunk: int, reduction: str, seed: int
) -> None:
    backbone = backbone_of(awkward_network(seed).double(), layer)
    x = picture(seed)
    found = gradient_maps(backbone, x, channels, reduction=reduction, chunk=chunk)
    assert found.shape == (len(channels), SIDE, SIDE)
    if channels:
        np.testing.assert_allclose(found, by_loop(backbone, x, channels, reduction), rtol=1e-11, atol=1e-13)


def test_all_channels_come_by_default_and_in_order() -> None:
    backbone = backbone_of(awkward_network().double(), "7")
    everyone = gradient_maps(backbone, picture())
    assert everyone.shape == (5, SIDE, SIDE)
    np.testing.assert_allclose(everyone, by_loop(backbone, picture(), [0, 1, 2, 3, 4], "l2"), rtol=1e-12)
    for channels in (np.array([4, 0]), torch.tensor([4, 0]), (4, 0)):
        torch.testing.assert_close(gradient_maps(backbone, picture(), channels), everyone[[4, 0]])


@pytest.mark.parametrize("chunk", [1, 3])
def test_channels_last_and_single_precision_give_the_same_maps(chunk: int) -> None:
    expected = gradient_maps(backbone_of(awkward_network().double(), "7"), picture())
    network = awkward_network().to(memory_format=torch.channels_last)
    backbone = backbone_of(network, "7", channels_last=True)
    found = gradient_maps(backbone, picture(dtype=torch.float32), chunk=chunk)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_chunks_come_one_at_a_time_and_no_larger_than_asked() -> None:
    backbone = backbone_of(awkward_network(), "7")
    pieces = list(iterate_gradient_maps(backbone, picture(dtype=torch.float32), [3, 1, 2, 0, 4], chunk=2))
    assert [list(channels) for channels, _ in pieces] == [[3, 1], [2, 0], [4]]
    assert [tuple(maps.shape) for _, maps in pieces] == [(2, 16, 16), (2, 16, 16), (1, 16, 16)]
    assert not any(maps.requires_grad for _, maps in pieces)


# -- what a pass leaves alone ------------------------------------------------------------------------------------------
def mixed_state(network: nn.Module) -> nn.Module:
    """Train and eval modules, frozen and free parameters, and gradients from an earlier step, all mixed."""
    for i, module in enumerate(network.modules()):
        module.training = i % 3 != 1
    for i, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(i % 2 == 0)
        parameter.grad = torch.ones_like(parameter) if i % 2 == 0 else None
    return network


class Bomb(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("this network does not work")


@pytest.mark.parametrize("chunk", [1, 4])
def test_parameters_buffers_gradients_flags_and_hooks_are_left_alone(chunk: int) -> None:
    network = mixed_state(awkward_network())
    network[3].register_forward_hook(lambda module, args, output: None)  # the user's own
    before, x, rng = everything(network), picture(dtype=torch.float32), torch.get_rng_state()
    copy = x.clone()
    gradient_maps(backbone_of(network, "7"), x, chunk=chunk)
    activation_maps(backbone_of(network, "7"), x)
    assert everything(network) == before
    assert torch.equal(x, copy)
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), rng)


@pytest.mark.parametrize("layer", ["10", "9", "8"])
def test_an_error_leaves_the_network_alone_too(layer: str) -> None:
    network = mixed_state(nn.Sequential(*list(awkward_network())[:8], nn.Flatten(), Bomb(), nn.ReLU()))
    backbone, before = backbone_of(network, layer), everything(network)
    message = "no feature map" if layer == "8" else "this network does not work"
    with pytest.raises(BackboneError, match=message):
        gradient_maps(backbone, picture(dtype=torch.float32))
    assert everything(network) == before
    with pytest.raises(OptionError, match="no channel 5"):
        gradient_maps(backbone_of(network, "7"), picture(dtype=torch.float32), [5])
    assert everything(network) == before


def test_an_iteration_that_is_given_up_leaves_no_hook() -> None:
    network = mixed_state(awkward_network())
    before = everything(network)
    iterator = iterate_gradient_maps(backbone_of(network, "7"), picture(dtype=torch.float32), chunk=1)
    next(iterator)
    assert everything(network) == before
    del iterator
    assert everything(network) == before


def test_a_network_that_turns_exceptions_into_its_own_still_stops_at_the_layer() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.conv(x).relu_()
            except Exception as error:
                raise ValueError("the convolution failed") from error

    network = seeded(Careful()).double()
    expected = network.conv.weight.detach().flatten(1).norm(dim=1)[:, None, None].expand(4, SIDE, SIDE)
    torch.testing.assert_close(gradient_maps(backbone_of(network, "conv"), picture()), expected)


# -- callers' modes and odd layers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("chunk", [1, 2])
def test_the_callers_gradient_mode_does_not_matter_and_is_kept(mode: type, chunk: int) -> None:
    backbone = backbone_of(awkward_network().double(), "7")
    expected, weights = gradient_maps(backbone, picture()), picture() + 0
    with mode():
        x = weights + 0  # under inference mode an inference tensor, which autograd does not take
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        pieces = []
        for _, maps in iterate_gradient_maps(backbone, x, chunk=chunk):
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == state
            pieces.append(maps)
        assert activation_maps(backbone, x).shape == (5, 8, 8)
    torch.testing.assert_close(torch.cat(pieces), expected)


class Constant(nn.Module):
    """Four channels that do not look at the picture."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.values = nn.Parameter(torch.ones(1, 4, 2, 2), requires_grad=kind == "parameter")

    def forward(self, x: Tensor) -> Tensor:
        return self.values + 0 if self.kind != "detached" else x.detach()[:, [0, 1, 2, 0], :2, :2]


@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("kind", ["parameter", "frozen", "detached"])
def test_a_layer_that_does_not_depend_on_the_picture_has_zero_maps(kind: str, chunk: int) -> None:
    backbone = backbone_of(nn.Sequential(Constant(kind)), "0")
    found = gradient_maps(backbone, picture(dtype=torch.float32), chunk=chunk)
    assert torch.equal(found, torch.zeros(4, SIDE, SIDE))


def test_a_channel_that_does_not_depend_on_the_picture_has_a_zero_map() -> None:
    network = seeded(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
    with torch.no_grad():
        network[0].weight[1] = 0
    found = gradient_maps(backbone_of(network, "0"), picture(dtype=torch.float32))
    assert torch.equal(found[1], torch.zeros(SIDE, SIDE))
    assert (found[[0, 2]] > 0).all()


def test_a_network_of_double_precision_says_its_grid() -> None:
    assert backbone_of(awkward_network().double(), "7").grid == (5, 8, 8)
    assert backbone_of(awkward_network().to(torch.bfloat16), "7").grid == (5, 8, 8)


def test_options_out_of_range_are_refused() -> None:
    backbone, x = backbone_of(awkward_network(), "7"), picture(dtype=torch.float32)
    with pytest.raises(OptionError, match=r"one of l2, l1, max, not 'mean'"):
        gradient_maps(backbone, x, reduction="mean")
    with pytest.raises(OptionError, match="at least 1, not 0"):
        gradient_maps(backbone, x, chunk=0)
    for wrong in (-1, 5):
        with pytest.raises(OptionError, match=f"no channel {wrong}; the layer has 5"):
            gradient_maps(backbone, x, [0, wrong])
        with pytest.raises(OptionError, match=f"no channel {wrong}"):
            activation_maps(backbone, x, [wrong])
