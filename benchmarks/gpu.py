"""A graphics card: images per second, share of the card's peak, chunk sizes, and what precision does to centres.

    python benchmarks/gpu.py [--device auto] [--networks efficientnet_lite0 squeezenet1_1] [--images 64]

For each network and precision: images per second from files to centres, of all channels by gradients, of 15 channels by gradients,
of 15 and of all channels by activations; floating-point operations of the passes over the peak of a large matrix product that is
measured at the same precision; the chunk that the tuner settled on; and how far centres move against float32 on the same device,
in pixels of the picture. Pictures are drawn birds, written as files. Without a graphics card it says so; `--device cpu --images 2`
runs the same on a processor, which is how it is tested.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from partscope import get_backbone, load_dataset
from partscope.backbones.core import Backbone
from partscope.backbones.devices import PRECISIONS, choose_device, computing
from partscope.channel_centres import CentreSpec
from partscope.chunking import device_clock
from partscope.dataset import PartDataset
from partscope.errors import OptionError
from partscope.maps import _TUNERS
from partscope.scan import scan
from partscope.synthetic import write_synthetic_birds
from record import environment, write_json

PARTS = 15


def peak_flops(device: torch.device, precision: str, size: int, repeats: int = 10) -> float:
    """Floating-point operations a second of a matrix product at a precision: the best of some repeats."""
    now = device_clock(device)
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    best = 0.0
    with computing(device, precision), torch.inference_mode():
        if precision == "bfloat16":
            a, b = a.bfloat16(), b.bfloat16()
        for _ in range(repeats):
            start = now()
            torch.mm(a, b)
            best = max(best, 2 * size**3 / (now() - start))
    return best


def pass_flops(backbone: Backbone) -> int:
    """Floating-point operations of one forward pass to the layer, by PyTorch's own count."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone.activations(backbone.blank_input())
    return int(counter.get_total_flops())


def images_per_second(
    backbone: Backbone, data: PartDataset, spec: CentreSpec, channels: Sequence[int] | None
) -> tuple[float, np.ndarray]:
    """Speed from files to centres, after a first image that loads kernels and tunes chunks; and the centres."""
    now = device_clock(backbone.device)
    scan(data[:1], backbone, [spec], channels=channels)
    start = now()
    found = scan(data, backbone, [spec], channels=channels, on_error="raise")
    return len(data) / (now() - start), found.of(spec)


def displacement(here: np.ndarray, there: np.ndarray) -> dict[str, float]:
    """How far centres lie from each other, in image pixels."""
    distance = np.linalg.norm(here.astype(float) - there, axis=-1)
    known = distance[np.isfinite(distance)]
    if not known.size:
        return {"median": 0.0, "99 %": 0.0, "largest": 0.0, "centres": 0}
    low, high = np.quantile(known, [0.5, 0.99])
    return {
        "median": round(float(low), 4),
        "99 %": round(float(high), 4),
        "largest": round(float(known.max()), 4),
        "centres": int(known.size),
    }


def measure(
    name: str, device: torch.device, data: PartDataset, most: int | None, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    first = get_backbone(name, device=str(device))
    rows = []
    kept: dict[str, np.ndarray] = {}
    everything = list(range(first.channels if most is None else min(most, first.channels)))
    few = np.linspace(0, first.channels - 1, min(PARTS, first.channels)).astype(int).tolist()
    gradient = CentreSpec(quantile=first.cut)
    activation = CentreSpec("centroid", quantile=0.0, maps="activation")
    flops = pass_flops(first)
    ways: dict[str, tuple[CentreSpec, list[int]]] = {
        f"gradients, {len(everything)} channels": (gradient, everything),
        f"gradients, {len(few)} channels": (gradient, few),
        f"activations, {len(everything)} channels": (activation, everything),
        f"activations, {len(few)} channels": (activation, few),
    }
    for precision in PRECISIONS:
        if precision == "tf32" and device.type != "cuda":
            continue
        backbone = replace(first, precision=precision)
        peak = peak_flops(device, precision, 8192 if device.type == "cuda" else 512)
        for way, (spec, channels) in ways.items():
            speed, centres = images_per_second(backbone, data, spec, channels)
            kept.setdefault(way, centres)
            # A backward pass of a channel to the input is about as much as a forward pass.
            work = flops * (1 + len(channels) * (spec.maps == "gradient"))
            tuner = _TUNERS.get(backbone)
            rows.append(
                {
                    "network": name,
                    "precision": precision,
                    "way": way,
                    "images per second": float(f"{speed:.4g}"),
                    "share of peak": float(f"{work * speed / peak:.3g}"),
                    "peak TFLOP/s": round(peak / 1e12, 3),
                    "chunk": tuner.size if tuner is not None and spec.maps == "gradient" else None,
                    "moved against float32, px": displacement(centres, kept[way]),
                }
            )
            say(str(rows[-1]))
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--networks", nargs="+", default=["efficientnet_lite0", "squeezenet1_1"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--channels", type=int, help="of 'all channels', for a trial")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    if device.type == "cpu" and options.device == "auto":
        raise OptionError(
            "there is no graphics card here, so there is nothing to measure; run this where PyTorch finds one, or try it with "
            "--device cpu --images 2 --channels 4."
        )
    facts = environment(images=options.images)
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else facts["machine"]["processor"]
    facts["machine"]["device"] = f"{device.type}: {named}"
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic_birds(Path(folder) / "birds", options.images, min(8, options.images))
        data = load_dataset("cub", Path(folder) / "birds")
        start = time.perf_counter()
        rows = [
            row
            for name in options.networks
            for row in measure(name, device, data, options.channels, lambda text: print(text, flush=True))
        ]
    result = {**facts, "data set": "drawn birds", "seconds": round(time.perf_counter() - start), "rows": rows}
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    try:
        main()
    except OptionError as error:
        sys.exit(str(error))
