"""Gradient maps of many channels of one picture: ours against every other way that there is to compute them.

    python benchmarks/gradient_maps.py [--data CUB_FOLDER] [--threads 2] [--networks NAME ...]

Each network's result is written as it is finished; others that the file holds from before stay.

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
  for every channel; here there is one;
- torch-cam: its `GradCAM` on a layer that hands the picture on, `_backprop` per channel with the graph retained; again with one
  forward pass, where its public call would repeat it;
- zennit Gradient: the picture repeated, ones at one channel each as the attributed output.

The C library keeps freed memory (`partscope.reuse_freed_memory`, as the command line does), for all ways alike: without it each
large tensor begins with page faults, whoever asks for it.

How far a way could get: the floating-point operations of one channel's backward pass, as autograd computes it, and the rate of a
large matrix product on the same threads give the time that dense arithmetic takes at the processor's peak. `share of peak` is
that time over ours, `at the peak` the fastest library's time over it: what nobody can exceed who does the same arithmetic.

Ours visits only elements that can have a gradient, so `share of peak` may pass 1. How many there are depends on the picture:
`pictures` gives whole feature maps' time over ours on several training photographs.

The channels are runs of 16 that follow one another, at random places, as a pass over all channels meets them. AlexNet and
ResNet-50 have random weights here, since real ones cannot be committed, and leaky activations, in which no unit is off: what
is gained there does not come from zeros that real weights might not have (the zeros beside a pooling's maxima any weights
have). What it would be with ReLU stands in a row of its own that nothing is claimed from. Three summaries: the fastest library's
time over ours, which is what the must is about; the same among those whose public interface does it; and the fastest of all
ways, loops by hand included.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import alexnet, resnet50

from gradient_ways import CHUNKED, LIBRARIES, PUBLIC, WHOLE, UpTo
from partscope import Backbone, Preprocessing, get_backbone, load_dataset, load_image, reuse_freed_memory
from partscope.maps import gradient_maps
from partscope.synthetic import synthesize_birds
from partscope.views import view
from record import environment, write_json
from timing import bounds, interleaved, machine_load, print_table, ratio, seconds

NETWORKS = ("squeezenet1_1", "efficientnet_lite0", "alexnet", "resnet50")
RANDOM = {"alexnet": (alexnet, "features.12"), "resnet50": (resnet50, "layer4")}
MUST = 2.0  # the fastest library's time over ours
RUN = 16  # channels in a row: a pass over all channels takes them in order
OWN = ("fastest", "ways", "others")
TOLERANCE = 1e-4  # of a map's largest value


def make_backbone(name: str, leaky: bool = True) -> Backbone:
    if name not in RANDOM:
        return get_backbone(name)
    make, layer = RANDOM[name]
    torch.manual_seed(0)
    network = make(weights=None).eval().requires_grad_(False)
    if leaky:
        for module in list(network.modules()):
            for child, activation in list(module.named_children()):
                if isinstance(activation, nn.ReLU):
                    setattr(module, child, nn.LeakyReLU(inplace=activation.inplace))
    preprocessing = Preprocessing(input_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return Backbone(
        network, layer, preprocessing, f"torchvision:{name}, random weights{', leaky' if leaky else ''}"
    )


def spread_pictures(data: Path | None, count: int) -> list[Image.Image]:
    """Training photographs of a folder in the CUB layout, spread over its classes; drawn birds without one."""
    if data is None:
        return [Image.fromarray(bird.image) for bird in synthesize_birds(count)]
    training = load_dataset("cub", data).train
    spread = range(0, len(training), max(1, len(training) // count))
    return [load_image(training[i].image) for i in spread][:count]


def runs(channels: int, count: int) -> list[int]:
    """About `count` channels of a layer in runs of those that follow one another."""
    starts = np.random.default_rng(0).permutation(range(0, channels, RUN))[: max(1, count // RUN)]
    return [k for start in sorted(starts.tolist()) for k in range(start, min(start + RUN, channels))][:count]


def measure(
    name: str, picture: Image.Image, count: int, sizes: list[int], pilot: int, repeats: int
) -> list[dict[str, Any]]:
    """One row per way for one network."""
    backbone = make_backbone(name)
    network = UpTo(backbone)
    image = view(backbone.preprocessing, picture, "image").inputs.unsqueeze(0)
    channels = runs(backbone.channels, count)
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
    calls["peak"] = matrix_product
    times = interleaved(calls, repeats)
    arithmetic = operations(network, image, channels[0]) * len(channels)
    ideal = [second * arithmetic / PRODUCT_OPERATIONS for second in times["peak"]]
    share = ratio(ideal, times["ours"])
    del calls["peak"]
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
            "channels": f"{len(channels)} of {backbone.channels}",
            "way": way,
            "chunk": min(tried[way], key=tried[way].__getitem__) if way in tried else None,
            "time over ours": measured,
            "time over the peak's": ratio(times[way], ideal)["median"],
            "ours, share of peak": share["median"],
            "largest difference": float(f"{difference:.1g}"),
            "chunks tried, time over ours": tried.get(way),
        })  # fmt: skip
    return rows


def with_zeros(name: str, picture: Image.Image, count: int, repeats: int) -> list[dict[str, Any]]:
    """The loop over ours for a network of random weights with ReLU, whose zeros nothing is claimed from."""
    if name not in RANDOM:
        return []
    backbone = make_backbone(name, leaky=False)
    image = view(backbone.preprocessing, picture, "image").inputs
    channels = runs(backbone.channels, count)
    loop = partial(WHOLE["loop"], UpTo(backbone), image.unsqueeze(0), channels)
    calls = {"loop": loop, "ours": partial(gradient_maps, backbone, image, channels)}
    for call in calls.values():
        call()
    times = interleaved(calls, repeats)
    measured = ratio(times["loop"], times["ours"])
    name = f"{backbone.name}, with zeros that nothing is claimed from: loop over ours"
    return [{"name": name, "ratio": measured["median"], "range": bounds(measured)}]


def over_pictures(name: str, pictures: list[Image.Image], count: int) -> list[dict[str, Any]]:
    """Whole feature maps' time over ours on one picture after the other, for a network of real weights."""
    if name in RANDOM or not pictures:
        return []
    backbone = make_backbone(name)
    channels = runs(backbone.channels, count)
    ratios = []
    for picture in pictures:
        image = view(backbone.preprocessing, picture, "image").inputs
        calls = {
            "whole": partial(gradient_maps, backbone, image, channels, engine="linearised"),
            "ours": partial(gradient_maps, backbone, image, channels),
        }
        times = interleaved(calls, 2)
        ratios.append(min(times["whole"]) / min(times["ours"]))
    return [{
        "name": f"{backbone.name}, whole feature maps over ours, {len(pictures)} pictures",
        "ratio": round(float(np.median(ratios)), 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "each": [round(value, 2) for value in ratios],
    }]  # fmt: skip


#: Side of the matrix product whose rate counts as the processor's peak, and its operations.
PRODUCT_SIDE = 2048
PRODUCT_OPERATIONS = 2 * PRODUCT_SIDE**3


def matrix_product() -> Tensor:
    square = torch.ones(PRODUCT_SIDE, PRODUCT_SIDE)
    return square @ square


def operations(network: UpTo, image: Tensor, channel: int) -> int:
    """Floating-point operations of one channel's backward pass: convolutions and matrix products, as autograd runs them."""
    image = image.clone().requires_grad_(True)
    total = network.sums(image)[0, channel]
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(total, image)
    return int(counter.get_total_flops())


def fastest(rows: list[dict[str, Any]], network: str) -> dict[str, Any]:
    """For one network the fastest library, with what it must take over ours, as its users call it, and the fastest way of all."""
    own = [row for row in rows if row["network"] == network]
    public = min((row for row in own if row["way"] in PUBLIC), key=lambda row: row["ratio"])
    library = min((row for row in own if row["way"] in LIBRARIES), key=lambda row: row["ratio"])
    overall = min(own, key=lambda row: row["ratio"])
    return {
        "library": {
            "name": f"{network}: fastest library / ours",
            "ratio": library["ratio"],
            "range": library["range"],
            "must": MUST,
            "met": library["ratio"] >= MUST,
            "way": library["way"],
            "share of peak": library["ours, share of peak"],
            "at the peak": library["time over the peak's"],
        },
        "public": {
            "name": f"{network}: fastest library through its public interface / ours",
            "ratio": public["ratio"],
            "range": public["range"],
            "way": public["way"],
        },
        "of all": {
            "name": network,
            "way": overall["way"],
            "ratio": overall["ratio"],
            "range": overall["range"],
        },
    }


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
    parser.add_argument("--channels", type=int, default=128, help="random channels of each network")
    parser.add_argument("--chunks", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--pilot", type=int, default=16, help="channels with which chunk sizes are tried")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--pictures", type=int, default=8, help="training photographs for the row of that name"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "gradient_maps.json")
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    reuse_freed_memory()
    # vmap and captum tell that they fall back to a loop, or set requires_grad: known, and part of what is measured.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch|captum")
    load = machine_load()
    pictures = spread_pictures(settings.data, max(1, settings.pictures))
    picture = pictures[0]
    earlier = json.loads(settings.json.read_text("utf-8")) if settings.json.exists() else {}
    measured: dict[str, dict[str, Any]] = earlier.get("measured", {})
    for name in settings.networks:
        count = settings.channels
        rows = measure(name, picture, count, settings.chunks, settings.pilot, settings.repeats)
        facts = environment(
            settings.data,
            picture="a drawn bird" if settings.data is None else "the first training photograph",
            captum=version("captum"),
            grad_cam=version("grad-cam"),
            torchcam=version("torchcam"),
            zennit=version("zennit"),
            numba=version("numba"),
            dtype="float32",
            repeats=settings.repeats,
            load=[load, machine_load()],
        )
        others = [
            *with_zeros(name, picture, count // 2, settings.repeats),
            *over_pictures(name, pictures[: settings.pictures], count // 2),
        ]
        measured[name] = {
            **facts,
            "fastest": fastest(rows, rows[0]["network"]),
            "ways": rows,
            "others": others,
        }
        write_json(settings.json, document(measured))  # each network is kept as it is finished
        print(
            "{name}: {ratio} {range} by {way} (must {must}); ours at {share of peak} of the processor's peak, where the ratio "
            "would be {at the peak}".format(**measured[name]["fastest"]["library"]),
            flush=True,
        )
        print_table(
            rows,
            ["network", "input size", "channels", "way", "chunk", "time over ours", "largest difference"],
        )
    return document(measured)


def document(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All networks that have been measured, in one run or several; what is at the top is the last one's environment."""
    known = {name: measured[name] for name in NETWORKS if name in measured}
    facts = {key: value for key, value in list(measured.values())[-1].items() if key not in OWN}
    summary = [one["fastest"] for one in known.values()]
    return {
        **facts,
        "fastest": summary,
        "rows": [
            *(row[kind] for kind in ("library", "public") for row in summary),
            *(row for one in known.values() for row in [*one["ways"], *one["others"]]),
        ],
        "measured": known,
    }


if __name__ == "__main__":
    main()
