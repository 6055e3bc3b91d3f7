"""What locating 15 parts costs over one bare forward pass, end to end: from JPEG files to points.

    python benchmarks/locate_cost.py [--data CUB_FOLDER] [--images 20] [--repeats 7]

The bare pass opens and decodes the file, warps it to the network's input and runs the network as far as the detector's last layer.
The two ways take turns on every image, A B A B; a ratio is that of the times summed over the images, its median over the repeats.
Without --data on drawn birds.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from partscope import load_dataset
from partscope.backbones.core import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, LinearDetector, PartDetector
from partscope.errors import PartscopeWarning
from partscope.images import load_image
from partscope.synthetic import write_synthetic_birds
from record import environment, write_json
from timing import interleaved, machine_load, ratio

MUST, MOONSHOT = 1.5, 1.1
DETECTORS: dict[str, Callable[[], PartDetector]] = {
    "linear": LinearDetector,
    "linear, no arrangement": lambda: LinearDetector(arrangement="none"),
    "channel, activations, efficientnet_lite0": lambda: ChannelDetector(maps="activation"),
    "channel, activations, squeezenet1_1": lambda: ChannelDetector("squeezenet1_1", maps="activation"),
}


def bare_pass(detector: PartDetector, images: Sequence[Path]) -> None:
    """Decode, warp, and run the network as far as the detector looks at it, and nothing else."""
    backbone: Backbone = detector.backbone_
    if isinstance(detector, LinearDetector):
        # The last layer that the detector looks at, which is the last one that its pass reaches.
        backbone = Backbone(
            backbone.network,
            detector.grids_._measured[1],
            backbone.preprocessing,
            channels_last=backbone.channels_last,
        )
    for image in images:
        inputs = backbone.preprocessing(load_image(image))
        with torch.inference_mode():
            backbone.activations(inputs[None])


def measure(detector: PartDetector, images: Sequence[Path], repeats: int) -> dict[str, Any]:
    """Alternate the two ways image by image, so that what else the machine does falls on both."""
    totals: dict[str, list[float]] = {"bare": [0.0] * repeats, "locate": [0.0] * repeats}
    for image in images:
        calls: dict[str, Callable[[], object]] = {
            "bare": lambda image=image: bare_pass(detector, [image]),
            "locate": lambda image=image: detector.predict([image]),
        }
        for call in calls.values():
            call()
        for name, times in interleaved(calls, repeats).items():
            totals[name] = [total + one for total, one in zip(totals[name], times, strict=True)]
    found = ratio(totals["locate"], totals["bare"])
    return {
        "ratio": found["median"],
        "range": [found["min"], found["max"]],
        "must": MUST,
        "moonshot": MOONSHOT,
        "met": found["median"] <= MUST,
        "moonshot met": found["median"] <= MOONSHOT,
    }


def dataset(folder: Path | None, temporary: Path, train: int) -> PartDataset:
    if folder is None:
        write_synthetic_birds(temporary / "birds", train * 2 + 40, random_state=0)
        folder = temporary / "birds"
    return load_dataset("cub", folder)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--detectors", nargs="+", choices=sorted(DETECTORS), default=list(DETECTORS))
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "locate_cost.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    load = machine_load()
    rows = []
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", PartscopeWarning)
        data = dataset(options.data, Path(temporary), options.train)
        train = data.train.limit(options.train)
        images = [sample.image for sample in data.test.limit(options.images)]
        for name in options.detectors:
            detector = DETECTORS[name]().fit(train)
            row = measure(detector, images, options.repeats)
            rows.append({"name": f"locate / bare forward pass: {name}", "parts": len(data.parts), **row})
            print(rows[-1], flush=True)
        facts = environment(options.data, images=len(images), train=len(train), repeats=options.repeats)
    result = {**facts, "load": [load, machine_load()], "rows": rows}
    if options.data is None:
        result["data set"] = "drawn birds"
    write_json(options.json, result)
    met = sum(row["met"] for row in rows)
    print(f"locate_cost: {met} of {len(rows)} met")
    return result


if __name__ == "__main__":
    main()
