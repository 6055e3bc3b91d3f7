"""captum's view of a channel's gradient: the same numbers as its own method, and a method that it takes."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from networks import SIDE, backbone_of, picture, seeded
from partscope.backbones import Backbone
from partscope.errors import MissingExtraError, OptionError
from partscope.maps import gradient_maps

captum_attr = pytest.importorskip("captum.attr", reason="captum is an extra of its own")

from partscope.captum import ChannelGradient  # noqa: E402

K = 7


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    layers = [
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, K, 3),
        nn.ReLU(),
    ]
    return seeded(nn.Sequential(*layers)).eval()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def backbone(network: nn.Sequential) -> Backbone:
    return backbone_of(network, "5")


def images(count: int) -> Tensor:
    return torch.stack([picture(seed, dtype=torch.float32) for seed in range(count)])


def of_captum(network: nn.Sequential, image: Tensor, channel: int) -> Tensor:
    every = slice(None)
    inputs = image.clone().requires_grad_(True)
    return captum_attr.NeuronGradient(network, network[5]).attribute(inputs, (channel, every, every)).detach()


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("engine", ["auto", "linearised", "autograd"])
def test_one_image_and_every_channel_equal_neuron_gradient(
    network: nn.Sequential, backbone: Backbone, engine: str
) -> None:
    image = images(1)
    found = ChannelGradient(backbone).attribute(image, target=list(range(K)), engine=engine)
    close(found, torch.cat([of_captum(network, image, k) for k in range(K)]))
    assert not found.requires_grad
    assert not image.requires_grad


@pytest.mark.parametrize("target", [2, torch.tensor(2), [4, 0, 6], torch.tensor([4, 0, 6])])
def test_one_channel_for_all_images_or_one_for_each(
    network: nn.Sequential, backbone: Backbone, target: int | list[int] | Tensor
) -> None:
    batch = images(3)
    each = torch.as_tensor(target).expand(3).tolist()
    expected = [of_captum(network, batch[i : i + 1], k) for i, k in enumerate(each)]
    close(ChannelGradient(backbone).attribute(batch, target=target), torch.cat(expected))


def test_reduced_it_is_the_gradient_map(backbone: Backbone) -> None:
    for reduction in ("l2", "l1", "max"):
        found = ChannelGradient(backbone).attribute(images(1), [1, 5], reduction)
        torch.testing.assert_close(found, gradient_maps(backbone, images(1)[0], [1, 5], reduction=reduction))
        assert found.shape == (2, SIDE, SIDE)


def test_captum_takes_it_as_a_method(network: nn.Sequential, backbone: Backbone) -> None:
    """Its noise tunnel without noise gives the gradient itself, with squares the squared one."""
    method = ChannelGradient(backbone)
    assert isinstance(method, captum_attr.Attribution)
    batch, target = images(2), torch.tensor([3, 1])
    expected = torch.cat([of_captum(network, batch[i : i + 1], int(k)) for i, k in enumerate(target)])
    tunnel = captum_attr.NoiseTunnel(method)
    close(tunnel.attribute(batch, nt_type="smoothgrad", nt_samples=2, stdevs=0.0, target=target), expected)
    squares = tunnel.attribute(batch, nt_type="smoothgrad_sq", nt_samples=2, stdevs=0.0, target=target)
    close(squares, expected.square())


def test_no_image_gives_no_gradient(backbone: Backbone) -> None:
    assert ChannelGradient(backbone).attribute(images(2)[:0], 1).shape == (0, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("count", "target", "message"),
    [
        (1, K, f"no channel {K}"),
        (1, -1, "no channel -1"),
        (3, [1, 2], "2 channels in target for 3 images"),
        (1, "1", "number of a channel"),
        (1, 1.5, "number of a channel"),
        (1, True, "number of a channel"),
        (1, [], "number of a channel"),
        (1, None, "number of a channel"),
        (1, (1, 2.0), "number of a channel"),
    ],
)
def test_bad_targets_are_one_sentence(backbone: Backbone, count: int, target: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ChannelGradient(backbone).attribute(images(count), target)  # type: ignore[arg-type]


def test_other_bad_input_is_one_sentence(backbone: Backbone) -> None:
    method = ChannelGradient(backbone)
    with pytest.raises(OptionError, match=r"not of shape \(3, 16, 16\)"):
        method.attribute(images(1)[0], 1)
    with pytest.raises(OptionError, match="not tuple"):
        method.attribute((images(1),), 1)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="None or one of l2, l1, max, not 'l3'"):
        method.attribute(images(1), 1, reduction="l3")
    with pytest.raises(OptionError, match="engine must be one of"):
        method.attribute(images(1), 1, engine="warp")


def test_without_captum_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.delitem(sys.modules, "partscope.captum")
    with pytest.raises(MissingExtraError, match=r"package captum.*pip install 'partscope\[captum\]'"):
        import partscope.captum  # noqa: F401
