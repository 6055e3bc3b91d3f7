from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from networks import SIDE, backbone_of, picture, seeded
from partscope.backward import Linearised, linearise
from partscope.backward.arranging import HandedOn
from partscope.backward.elementwise import Scale, is_dense
from partscope.backward.pieces import Piece
from partscope.backward.recording import read_recording
from partscope.backward.rules import RULES, Asked
from partscope.errors import OptionError
from partscope.maps import gradient_maps


def recorded(network: nn.Module, side: int = SIDE, colours: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, colours, side, side, generator=generator, dtype=torch.float64).requires_grad_(True)
    return network.eval().double()(image.clone()), image


def by_autograd(output: Tensor, image: Tensor, channels: list[int]) -> Tensor:
    sums = output.sum(dim=(0, 2, 3))
    return torch.cat([torch.autograd.grad(sums[k], image, retain_graph=True)[0] for k in channels])


def assert_equal_to_autograd(output: Tensor, image: Tensor, channels: list[int] | None = None) -> Linearised:
    channels = list(range(output.shape[1])) if channels is None else channels
    network = linearise(output, image)
    assert network is not None
    expected = by_autograd(output, image, channels)
    assert expected.abs().max() > 0
    for _ in range(2):  # a second run must not see what the first has left
        torch.testing.assert_close(network.gradients(channels), expected, rtol=1e-9, atol=1e-12)
    return network


# -- convolutions ------------------------------------------------------------------------------------------------------
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_convolution_equals_autograd(data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    inside, outside = (data.draw(st.integers(1, 3)) * groups for _ in range(2))
    kernel, stride, padding, dilation = (
        (data.draw(st.integers(low, high)), data.draw(st.integers(low, high)))
        for low, high in ((1, 6), (1, 4), (0, 4), (1, 2))
    )
    side = data.draw(st.integers(6, 17))
    assume(all(side + 2 * p >= d * (k - 1) + 1 for k, p, d in zip(kernel, padding, dilation, strict=True)))
    first = nn.Conv2d(3, inside, 1)
    network = nn.Sequential(first, nn.Conv2d(inside, outside, kernel, stride, padding, dilation, groups))
    assert_equal_to_autograd(*recorded(seeded(network), side))
    # The convolution that sees the colours has ways of its own.
    direct = seeded(nn.Sequential(nn.Conv2d(3, 2, kernel, stride, padding, dilation), nn.ReLU()))
    output, image = recorded(direct, side)
    torch.testing.assert_close(
        linearise(output, image).gradients([1, 0]), by_autograd(output, image, [1, 0]), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("side", range(11, 20))
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (7, 2), (11, 4), (5, 3), (2, 2), (4, 4)])
def test_pixels_that_no_output_sees_have_zero_gradient(kernel: int, stride: int, side: int) -> None:
    assert_equal_to_autograd(*recorded(seeded(nn.Conv2d(3, 4, kernel, stride)), side))


def test_a_few_channels_of_a_wide_layer_cost_their_own_arithmetic_alone() -> None:
    network = seeded(
        nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU())
    )
    output, image = recorded(network)
    widths: list[int] = []
    original = functional.conv2d

    def counted(gradient: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        widths.append(gradient.shape[1])
        return original(gradient, *args, **kwargs)

    linear = linearise(output, image)
    assert linear is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "conv2d", counted)
        found = linear.gradients([40, 42, 41])
    assert widths[0] == 3
    torch.testing.assert_close(found, by_autograd(output, image, [40, 42, 41]), rtol=1e-9, atol=1e-12)


# -- every other operation -----------------------------------------------------------------------------------------------
class Applied(nn.Module):
    """A convolution, a function of its output, and a convolution again."""

    def __init__(self, function: Callable[[Tensor], Tensor], width: int = 6, out: int = 6) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(out, 4, 3, padding=1)
        self.function = function
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.function(self.before(x)))


NORM = seeded(nn.BatchNorm2d(6)).eval().double()
BARE_NORM = nn.BatchNorm2d(6, affine=False).eval().double()
LAYER_NORM = seeded(nn.LayerNorm(6)).double()
LINEAR = seeded(nn.Linear(6, 6)).double()
GATE = seeded(nn.Conv2d(6, 6, 1)).double()
PRELU = seeded(nn.PReLU(6)).double()
UP = seeded(nn.ConvTranspose2d(6, 6, 2, 2)).double()
for module in (NORM, LAYER_NORM, LINEAR, GATE, PRELU, UP):
    module.requires_grad_(False)

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu in place": lambda x: x.clone().relu_(),
    "relu6": functional.relu6,
    "leaky": lambda x: functional.leaky_relu(x, 0.1),
    "elu": functional.elu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "softplus": functional.softplus,
    "threshold": lambda x: functional.threshold(x, 0.1, 0.0),
    "clamp": lambda x: x.clamp(-0.3, 0.4),
    "power": lambda x: x**3,
    "exponential": torch.exp,
    "absolute": torch.abs,
    "negative": torch.neg,
    "quotient": lambda x: x / (1 + x**2),
    "difference": lambda x: x - 0.5 * x.flip(3),
    "prelu": PRELU,
    "norm": NORM,
    "bare norm": BARE_NORM,
    "norm before relu": lambda x: torch.relu(NORM(x)),
    "relu before norm": lambda x: NORM(torch.relu(x)),
    "norm used twice": lambda x: (lambda y: y + torch.relu(GATE(y)))(NORM(x)),
    "residual": lambda x: torch.relu(x + GATE(torch.relu(x))),
    "sum with itself": lambda x: x + x,
    "sum with a weight": lambda x: torch.add(x, x.tanh(), alpha=0.5),
    "sum with a constant": lambda x: x + 1,
    "repeated sum": lambda x: x + x.mean(dim=(2, 3), keepdim=True),
    "gate": lambda x: x * torch.sigmoid(GATE(x.mean(dim=(2, 3), keepdim=True))),
    "pooled gate": lambda x: x * torch.sigmoid(GATE(functional.adaptive_avg_pool2d(x, 1))),
    "channel gate": lambda x: x * x.mean(dim=1, keepdim=True),
    "joined": lambda x: torch.cat([x[:, :2], GATE(x)[:, 2:]], dim=1),
    "joined with a constant": lambda x: torch.cat([x[:, :5], torch.ones_like(x[:, :1])], dim=1),
    "joined rows": lambda x: torch.cat([x[:, :, :5], torch.relu(x[:, :, 5:])], dim=2),
    "split": lambda x: torch.cat(x.split(2, dim=1)[::-1], dim=1),
    "chunk of which one part is used": lambda x: x.chunk(2, dim=1)[1].repeat(1, 2, 1, 1),
    "shuffled": lambda x: x.view(1, 2, 3, *x.shape[2:]).transpose(1, 2).reshape(x.shape),
    "largest": lambda x: functional.max_pool2d(x, 3, 2),
    "largest, padded, ceil": lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "largest, dilated": lambda x: functional.max_pool2d(x, 2, 1, 0, 2),
    "mean of windows": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "mean of windows, ceil": lambda x: functional.avg_pool2d(x, 3, 2, 1, True, False),
    "adaptive": lambda x: functional.adaptive_avg_pool2d(x, 5),
    "padded": lambda x: functional.pad(x, (1, 2, 0, 3)),
    "reflected": lambda x: functional.pad(x, (1, 2, 1, 3), mode="reflect"),
    "channels last": lambda x: LINEAR(functional.gelu(LAYER_NORM(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2),
    "enlarged": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "enlarged, nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "transposed convolution": UP,
    "softmax": lambda x: x.flatten(2).softmax(-1).view_as(x),
    "attention": lambda x: (
        functional.scaled_dot_product_attention(*[x.flatten(2).transpose(1, 2)] * 3)
        .transpose(1, 2)
        .reshape(x.shape)
    ),
    "clone": lambda x: x.clone(memory_format=torch.channels_last),
    "local response norm": lambda x: functional.local_response_norm(x, 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_operation_equals_autograd(name: str) -> None:
    output, image = recorded(Applied(FUNCTIONS[name]))
    assert_equal_to_autograd(output, image)
    assert_equal_to_autograd(output, image, [3, 0, 3])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_operation_may_be_the_layer_itself(name: str) -> None:
    network = Applied(FUNCTIONS[name])
    output, image = recorded(nn.Sequential(network.before, Module(network.function)))
    assert_equal_to_autograd(output, image, [2, 5])


class Module(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_every_rule_is_tried_here() -> None:
    seen = set()
    for function in FUNCTIONS.values():
        recording = read_recording(*recorded(Applied(function)))
        assert recording is not None
        seen |= {node.name().rsplit("::", 1)[-1] for node in recording.nodes}
    same = {"Backward1", "Backward0"}  # overloads of one function
    untried = {
        name for name in RULES if not any(name[:-9] == other[:-9] for other in seen if other[-9:] in same)
    }
    rare = {
        "SeluBackward0",
        "CeluBackward0",
        "LogSigmoidBackward0",
        "LogBackward0",
        "SqrtBackward0",
        "ReciprocalBackward0",
    }
    rare |= {
        "CudnnBatchNormBackward0",
        "BatchNormBackward0",
        "ClampMinBackward0",
        "ClampMaxBackward0",
        "AliasBackward0",
    }
    rare |= {
        "ContiguousBackward0",
        "ToCopyBackward0",
        "ReshapeAliasBackward0",
        "SqueezeBackward1",
        "UnsqueezeBackward0",
    }
    assert untried <= rare, untried - rare


@pytest.mark.parametrize(
    "function", [functional.selu, functional.celu, functional.logsigmoid, lambda x: (x**2 + 1).log(),
                 lambda x: (x**2 + 1).sqrt(), lambda x: (x**2 + 1).reciprocal(), lambda x: x.clamp_min(0.1),
                 lambda x: x.clamp_max(0.1), lambda x: x.unsqueeze(1).relu().squeeze(1), lambda x: x.to(torch.float32).double()]
)  # fmt: skip
def test_rare_operations_equal_autograd(function: Callable[[Tensor], Tensor]) -> None:
    assert_equal_to_autograd(*recorded(Applied(function)))


def test_operations_without_a_rule_ask_the_node() -> None:
    output, image = recorded(Applied(FUNCTIONS["softmax"]))
    network = linearise(output, image)
    assert network is not None
    assert any(isinstance(step.operation, Asked) for step in network._steps)


@pytest.mark.parametrize("window", [2, 3])
def test_masks_are_applied_before_a_max_pooling_where_maps_are_small(window: int) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(window, 2), nn.Conv2d(6, 4, 3), nn.Hardswish()
    )
    linear = assert_equal_to_autograd(*recorded(seeded(network), 15))
    kinds = [type(step.operation).__name__ for step in linear._steps]
    assert kinds[:5] == ["Scale", "Convolution", "Scale", "Pooled", "Convolution"]
    mask, after = linear._steps[2].operation, linear._steps[1].operation
    assert isinstance(mask, Scale)
    assert mask.factors[0].shape == (1, 6, *after.size)


def test_a_mask_before_an_average_stays_where_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 4, 3))
    linear = assert_equal_to_autograd(*recorded(seeded(network), 15))
    kinds = [type(step.operation).__name__ for step in linear._steps]
    assert kinds[:4] == ["Convolution", "Pooled", "Scale", "Convolution"]


def test_a_masked_slice_lies_densely_in_memory() -> None:
    joined = torch.randn(2, 1, 8, 5, 5).squeeze(1).contiguous(memory_format=torch.channels_last).unsqueeze(1)
    before = joined.clone()
    (piece,) = Scale([torch.rand(1, 3, 5, 5)])([Piece(joined[:, :, 2:5])])
    assert piece is not None
    assert is_dense(piece.values)
    torch.testing.assert_close(joined, before, rtol=0, atol=0)
    (whole,) = Scale([torch.rand(1, 8, 5, 5)])([Piece(joined)])
    assert whole is not None
    assert whole.values.data_ptr() == joined.data_ptr()


def test_scales_disappear_into_convolutions_and_masks() -> None:
    norm = seeded(nn.BatchNorm2d(5)).requires_grad_(False)
    output, image = recorded(nn.Sequential(seeded(nn.Conv2d(3, 5, 3)), norm, nn.ReLU(), nn.Conv2d(5, 4, 3)))
    network = assert_equal_to_autograd(output, image)
    names = [
        type(step.operation).__name__ for step in network._steps if not isinstance(step.operation, HandedOn)
    ]
    assert names == ["Convolution", "Scale", "Convolution"]


class Gated(nn.Module):
    """A squeeze-and-excitation block whose gate is worked out by linear layers, on a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3)
        self.gate = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 6), nn.Sigmoid())
        seeded(self)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.before(x))
        return self.after(x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None])


def test_scales_of_vectors_are_not_feature_maps() -> None:
    assert_equal_to_autograd(*recorded(Gated()))


def test_convolutions_over_other_batches_are_asked_themselves() -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.each, self.after = (
                nn.Conv2d(3, 6, 1),
                nn.Conv2d(3, 3, 3, padding=1),
                nn.Conv2d(6, 4, 1),
            )
            seeded(self)

        def forward(self, x: Tensor) -> Tensor:
            halves = self.before(x).reshape(2, 3, *x.shape[2:])
            return self.after(functional.max_pool2d(self.each(halves), 2).reshape(1, 6, x.shape[2] // 2, -1))

    assert_equal_to_autograd(*recorded(Halves()))


def test_a_setting_that_is_given_once_holds_for_both_axes() -> None:
    weight = torch.randn(6, 6, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_equal_to_autograd(
        *recorded(Applied(lambda x: functional.conv2d(x, weight, stride=[2], padding=[1])))
    )


# -- whole networks -----------------------------------------------------------------------------------------------------------
def networks() -> dict[str, tuple[Callable[[], nn.Module], str]]:
    import timm
    from torchvision import models

    return {
        "squeezenet": (lambda: models.squeezenet1_1(weights=None), "features.12"),
        "resnet18": (lambda: models.resnet18(weights=None), "layer4"),
        "alexnet": (lambda: models.alexnet(weights=None), "features.12"),
        "mobilenet_v3": (lambda: models.mobilenet_v3_small(weights=None), "features.8"),
        "shufflenet": (lambda: models.shufflenet_v2_x0_5(weights=None), "stage3"),
        "efficientnet_lite0": (lambda: timm.create_model("tf_efficientnet_lite0"), "blocks.6.0.bn2"),
        "convnext": (lambda: timm.create_model("convnext_atto"), "stages.2"),
    }


@pytest.mark.parametrize(
    "name",
    ["squeezenet", "resnet18", "alexnet", "mobilenet_v3", "shufflenet", "efficientnet_lite0", "convnext"],
)
def test_networks_of_the_libraries_equal_autograd_in_single_precision(name: str) -> None:
    make, layer = networks()[name]
    torch.manual_seed(0)
    network = make().eval().requires_grad_(False)
    backbone = backbone_of(network, layer, 96)
    inputs = picture(side=96, dtype=torch.float32)
    channels = [0, 5, 6, 7, 11]
    fast = gradient_maps(backbone, inputs, channels, engine="linearised")
    slow = gradient_maps(backbone, inputs, channels, engine="autograd")
    scale = slow.flatten(1).amax(dim=1)
    assert (scale > 0).any()
    error = (fast - slow).abs().flatten(1).amax(dim=1)
    assert (error <= 1e-4 * scale).all()


# -- what cannot be read -------------------------------------------------------------------------------------------------
class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 3


def test_a_backward_pass_written_in_python_is_left_to_autograd() -> None:
    network = Applied(Doubled.apply).double()
    output, image = recorded(network)
    with pytest.raises(NotImplementedError, match="Doubled"):
        linearise(output, image)
    backbone = backbone_of(network, "after")
    plain = gradient_maps(backbone, picture(), engine="autograd")
    torch.testing.assert_close(gradient_maps(backbone, picture()), plain, rtol=0, atol=0)
    with pytest.raises(OptionError, match="Doubled"):
        gradient_maps(backbone, picture(), engine="linearised")


def test_modules_with_backward_hooks_are_left_to_autograd() -> None:
    network = Applied(torch.relu).double()
    network.before.register_full_backward_hook(lambda module, given, received: (given[0] * 2,))
    backbone = backbone_of(network, "after")
    plain = gradient_maps(backbone, picture(), engine="autograd")
    torch.testing.assert_close(gradient_maps(backbone, picture()), plain, rtol=0, atol=0)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(OptionError, match="'fast'"):
        gradient_maps(backbone_of(Applied(torch.relu).double(), "after"), picture(), engine="fast")


def test_an_output_that_does_not_depend_on_the_image_has_no_recording() -> None:
    image = torch.randn(1, 3, 4, 4, requires_grad=True)
    other = torch.randn(1, 3, 4, 4, requires_grad=True)
    assert linearise(other * 2, image) is None
    assert linearise(torch.ones(1, 2, 3, 3), image) is None
