"""Ways to compute the gradient maps of many channels: by hand with PyTorch, and with libraries.

Each takes a network that ends at the layer, one image and channels, and returns (K, S, S), the Euclidean norm over the colours;
those in `CHUNKED` take several channels at a time as well.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from captum.attr import NeuronGradient, Saliency
from pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients
from torch import Tensor, nn
from torchcam.methods import GradCAM
from zennit.attribution import Gradient

from partscope import Backbone
from partscope.maps import REDUCTIONS

reduce = REDUCTIONS["l2"]


class UpTo(nn.Module):
    """A backbone as a network of its own that ends at the layer, for libraries that want a module and one of its layers."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.layer = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.backbone.activations(inputs))

    def sums(self, inputs: Tensor) -> Tensor:
        return self(inputs).sum(dim=(2, 3))


def cotangents(activations: Tensor, channels: list[int]) -> Tensor:
    ones = activations.new_zeros(len(channels), *activations.shape)
    for row, channel in enumerate(channels):
        ones[row, :, channel] = 1
    return ones


def chunks(channels: list[int], size: int) -> list[list[int]]:
    return [channels[i : i + size] for i in range(0, len(channels), size)]


def by_loop(network: UpTo, image: Tensor, channels: list[int]) -> Tensor:
    image = image.clone().requires_grad_(True)
    sums = network.sums(image)[0]
    return torch.cat([reduce(torch.autograd.grad(sums[k], image, retain_graph=True)[0]) for k in channels])


def by_batched_gradients(network: UpTo, image: Tensor, channels: list[int], size: int) -> Tensor:
    image = image.clone().requires_grad_(True)
    activations = network(image)
    maps = []
    for part in chunks(channels, size):
        (gradients,) = torch.autograd.grad(
            activations, image, cotangents(activations, part), retain_graph=True, is_grads_batched=True
        )
        maps.append(reduce(gradients[:, 0]))
    return torch.cat(maps)


def by_vmap(network: UpTo, image: Tensor, channels: list[int], size: int) -> Tensor:
    activations, pull_back = torch.func.vjp(network, image)
    maps = [
        reduce(torch.func.vmap(pull_back)(cotangents(activations, part))[0][:, 0])
        for part in chunks(channels, size)
    ]
    return torch.cat(maps)


def by_replicas(network: UpTo, image: Tensor, channels: list[int], size: int) -> Tensor:
    maps = []
    for part in chunks(channels, size):
        images = image.repeat(len(part), 1, 1, 1).requires_grad_(True)
        total = network.sums(images)[range(len(part)), part].sum()
        maps.append(reduce(torch.autograd.grad(total, images)[0]))
    return torch.cat(maps)


def by_neuron_gradient(network: UpTo, image: Tensor, channels: list[int]) -> Tensor:
    method = NeuronGradient(network, network.layer)
    every = slice(None)
    image = image.clone().requires_grad_(True)
    return torch.cat([reduce(method.attribute(image, (k, every, every)).detach()) for k in channels])


def by_saliency(network: UpTo, image: Tensor, channels: list[int], size: int) -> Tensor:
    method = Saliency(network.sums)
    maps = []
    for part in chunks(channels, size):
        images = image.repeat(len(part), 1, 1, 1).requires_grad_(True)
        maps.append(reduce(method.attribute(images, target=part, abs=False).detach()))
    return torch.cat(maps)


def by_grad_cam(network: UpTo, image: Tensor, channels: list[int]) -> Tensor:
    image = image.clone().requires_grad_(True)
    kept = ActivationsAndGradients(network, [network.layer], None)
    output = kept(image)
    maps = []
    for k in channels:
        image.grad = None
        output[0, k].sum().backward(retain_graph=True)
        maps.append(reduce(image.grad))
    kept.release()
    return torch.cat(maps)


def by_torchcam(network: UpTo, image: Tensor, channels: list[int]) -> Tensor:
    model = nn.Sequential(nn.Identity(), network)
    extractor = GradCAM(model, "0")
    sums = model(image.clone().requires_grad_(True)).sum(dim=(2, 3))
    maps = []
    for k in channels:
        extractor._backprop(sums, k, retain_graph=True)
        maps.append(reduce(extractor.hook_g[0]))
    extractor.remove_hooks()
    return torch.cat(maps)


def by_zennit(network: UpTo, image: Tensor, channels: list[int], size: int) -> Tensor:
    attributor = Gradient(network)
    maps = []
    for part in chunks(channels, size):
        images = image.repeat(len(part), 1, 1, 1).requires_grad_(True)

        def wanted(output: Tensor, part: list[int] = part) -> Tensor:
            ones = torch.zeros_like(output)
            ones[range(len(part)), part] = 1
            return ones

        maps.append(reduce(attributor(images, wanted)[1]))
    return torch.cat(maps)


WHOLE: dict[str, Callable[..., Tensor]] = {
    "loop": by_loop,
    "captum NeuronGradient": by_neuron_gradient,
    "pytorch-grad-cam": by_grad_cam,
    "torch-cam": by_torchcam,
}
CHUNKED: dict[str, Callable[..., Tensor]] = {
    "is_grads_batched": by_batched_gradients,
    "vmap": by_vmap,
    "replicas": by_replicas,
    "captum Saliency": by_saliency,
    "zennit Gradient": by_zennit,
}
#: Those that a library does; the others are PyTorch by hand.
LIBRARIES = ("captum NeuronGradient", "captum Saliency", "pytorch-grad-cam", "torch-cam", "zennit Gradient")
#: Those of them whose public interface gives input gradients of many channels; the others' inner parts are used, with one forward
#: pass, which flatters them.
PUBLIC = ("captum NeuronGradient", "captum Saliency", "zennit Gradient")
