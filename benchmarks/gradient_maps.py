"""Gradient maps of many channels of one picture: ours against every other way that there is to compute them.

    python benchmarks/gradient_maps.py [--data CUB_FOLDER] [--threads 2]

All ways see the same network up to the same layer, with frozen parameters and in the same memory format, and end with the same
maps, the Euclidean norm over the colours; the largest difference is reported. Those that take several channels at a time
are tried with several chunk sizes first, and run with their best one. The ways:

- loop: one forward pass, `torch.autograd.grad` per channel, the graph retained;
- is_grads_batched: one forward pass, `torch.autograd.grad` on a batch of cotangents;
- vmap: `torch.func.vjp` once, `torch.func.vmap` of it over cotangents;
- replicas: the picture repeated, one forward and one backward pass per chunk;
- captum NeuronGradient: `attribute(inputs, (channel, all, all))`, its way to the gradient of a sum of neurons;
- captum Saliency: the picture repeated, the channel as target of a function that returns every channel's sum;
- pytorch-grad-cam: its `ActivationsAndGradients`, and `backward` per channel. Its own `forward` would repeat the forward pass
  for every channel; here there is one.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import NeuronGradient, Saliency
from PIL import Image
from pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients
from torch import Tensor, nn
from torchvision.models import alexnet

from partscope import Backbone, Preprocessing, get_backbone, load_dataset, load_image
from partscope.maps import REDUCTIONS, gradient_maps
from partscope.synthetic import synthesize_birds
from partscope.views import view
from record import environment, write_json
from timing import bounds, interleaved, machine_load, print_table, ratio, seconds

NETWORKS = ("squeezenet1_1", "efficientnet_lite0", "alexnet")
TOLERANCE = 1e-4  # of a map's largest value
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


WHOLE = {"loop": by_loop, "captum NeuronGradient": by_neuron_gradient, "pytorch-grad-cam": by_grad_cam}
CHUNKED = {
    "is_grads_batched": by_batched_gradients,
    "vmap": by_vmap,
    "replicas": by_replicas,
    "captum Saliency": by_saliency,
}


def make_backbone(name: str) -> Backbone:
    if name != "alexnet":
        return get_backbone(name)
    torch.manual_seed(0)
    network = alexnet(weights=None).eval().requires_grad_(False)
    preprocessing = Preprocessing(input_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return Backbone(network, "features.12", preprocessing, "torchvision:alexnet, random weights")


def measure(
    name: str, picture: Image.Image, count: int, sizes: list[int], pilot: int, repeats: int
) -> list[dict[str, Any]]:
    """One row per way for one network."""
    backbone = make_backbone(name)
    network = UpTo(backbone)
    image = view(backbone.preprocessing, picture, "image").inputs.unsqueeze(0)
    order = np.random.default_rng(0).permutation(backbone.channels)[:count]
    channels = np.sort(order).tolist()
    few = channels[:pilot]

    tried: dict[str, dict[int, float]] = {}
    calls: dict[str, Callable[[], Tensor]] = {"ours": lambda: gradient_maps(backbone, image[0], channels)}
    calls |= {way: partial(function, network, image, channels) for way, function in WHOLE.items()}
    base = partial(gradient_maps, backbone, image[0], few)
    base()
    for way, chunked in CHUNKED.items():
        tried[way] = {}
        for size in sizes:
            call = partial(chunked, network, image, few, size)
            call()
            tried[way][size] = round(
                min(seconds(call) for _ in range(2)) / min(seconds(base) for _ in range(2)), 2
            )
        best = min(tried[way], key=tried[way].__getitem__)
        calls[way] = partial(chunked, network, image, channels, best)

    maps = {way: call() for way, call in calls.items()}
    times = interleaved(calls, repeats)
    rows = []
    for way in calls:
        if way == "ours":
            continue
        difference = relative_difference(maps[way], maps["ours"])
        if difference > TOLERANCE:
            raise SystemExit(
                f"{name}: {way} gives other maps than ours, by {difference:.1g} of their maximum."
            )
        measured = ratio(times[way], times["ours"])
        rows.append({
            "name": f"{backbone.name}, {way} over ours",
            "ratio": measured["median"],
            "range": bounds(measured),
            "network": backbone.name,
            "layer": backbone.layer,
            "input size": backbone.input_size,
            "channels": f"{len(channels)} random of {backbone.channels}",
            "way": way,
            "chunk": min(tried[way], key=tried[way].__getitem__) if way in tried else None,
            "time over ours": measured,
            "largest difference": float(f"{difference:.1g}"),
            "chunks tried, time over ours": tried.get(way),
        })  # fmt: skip
    return rows


def relative_difference(maps: Tensor, reference: Tensor) -> float:
    """Largest difference of two stacks of maps, relative to each map's maximum."""
    scale = reference.flatten(1).amax(dim=1)
    difference = (maps - reference).abs().flatten(1).amax(dim=1)
    return float(torch.where(difference > 0, difference / scale, 0).max())


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder in the CUB layout; a drawn bird without it")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--channels", type=int, default=64, help="random channels of each network")
    parser.add_argument("--chunks", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--pilot", type=int, default=16, help="channels with which chunk sizes are tried")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "gradient_maps.json")
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    # vmap and captum tell that they fall back to a loop, or set requires_grad: known, and part of what is measured.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch|captum")
    load = machine_load()
    if settings.data is None:
        picture = Image.fromarray(next(iter(synthesize_birds(1))).image)
    else:
        picture = load_image(load_dataset("cub", settings.data).train[0].image)
    rows = [
        row
        for name in settings.networks
        for row in measure(
            name, picture, settings.channels, settings.chunks, settings.pilot, settings.repeats
        )
    ]
    facts = environment(
        settings.data,
        picture="a drawn bird" if settings.data is None else "the first training photograph",
        captum=version("captum"),
        grad_cam=version("grad-cam"),
        dtype="float32",
        repeats=settings.repeats,
        load=[load, machine_load()],
    )
    fastest = {}
    for row in rows:
        least = fastest.setdefault(row["network"], row)
        if row["time over ours"]["median"] < least["time over ours"]["median"]:
            fastest[row["network"]] = row
    summary = {
        name: {"way": row["way"], "time over ours": row["time over ours"]} for name, row in fastest.items()
    }
    result = {**facts, "fastest other way": summary, "rows": rows}
    write_json(settings.json, result)
    print_table(
        rows, ["network", "input size", "channels", "way", "chunk", "time over ours", "largest difference"]
    )
    return result


if __name__ == "__main__":
    main()
