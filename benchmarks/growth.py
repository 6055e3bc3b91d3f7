"""How time and memory of a scan grow with images, channels and input size, and what its steps cost.

    python benchmarks/growth.py [--network efficientnet_lite0] [--repeats 3] [--threads 1]

Drawn birds as JPEG files; gradient maps and the mixture, the costliest scan there is. Three things come out:

- `time`: for each axis, the time at every value over that at the smallest, all in one run, taking turns; and a straight line
  through them (least squares): how much is there before the first image, channel or pixel, and how well a line fits.
- `memory`: the largest resident set of a process of its own at the two ends of each axis.
- `steps`: opening and warping a picture, what is done once for its gradients (the forward pass, reading its graph, listing the elements),
  a channel's gradient, a channel's centre, each in bare forward passes, at the network's own input size and at the one at which the
  axes are measured. The second and the third are of the line through 16 and 128 channels. The model of costs that
  `docs/speed.md` writes down is made of these; `model` holds it against the measured growth with channels, which it was not fitted to.
- `bytes`: what an image takes in the table of 15 located parts.

Workers are `workers.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import partscope
from partscope import Backbone, get_backbone, load_dataset, load_image, reuse_freed_memory
from partscope.centres import find_centres
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.detectors import PriorDetector
from partscope.maps import gradient_maps
from partscope.scan import scan
from partscope.synthetic import write_synthetic_birds
from record import environment, write_json
from resident import peak_mebibytes, peak_of
from timing import interleaved, machine_load, print_table

RESULTS = Path(__file__).parent / "results" / "growth.json"
AXES: dict[str, list[int]] = {
    "images": [8, 16, 32, 64],
    "channels": [16, 32, 64, 128],
    "input size": [128, 192, 256, 320],
}
#: What the other axes are kept at while one grows.
FIXED = {"images": 8, "channels": 16, "input size": 160}
#: Ends of the axes for memory: ten times and more.
ENDS = {"images": (8, 80), "channels": (16, 256), "input size": (128, 320)}
SAME = 0.05


def scan_once(data: PartDataset, network: str, images: int, channels: int, size: int) -> None:
    """One scan, without a folder."""
    backbone = get_backbone(network, input_size=size)
    spec = CentreSpec(quantile=backbone.cut)
    scan(data[np.arange(images)], backbone, [spec], channels=range(channels), on_error="raise")


def line(values: Sequence[float], times: Sequence[float]) -> dict[str, float]:
    """Least squares through (value, time): the share of the largest time that is there at zero, and R²."""
    x, y = np.asarray(values, dtype=float), np.asarray(times, dtype=float)
    slope, start = np.polyfit(x, y, 1)
    rest = y - (start + slope * x)
    return {
        "slope": float(slope),
        "at zero, share of the last": round(float(start / y[-1]), 3),
        "R²": round(1 - float((rest**2).sum() / ((y - y.mean()) ** 2).sum()), 4),
    }


def growth(axis: str, data: PartDataset, network: str, repeats: int) -> dict[str, Any]:
    """The times of one axis over its smallest value, in repeats that take turns."""
    values = AXES[axis]
    calls: dict[str, Callable[[], object]] = {}
    for value in values:
        setting = {**FIXED, axis: value}
        calls[str(value)] = partial(
            scan_once, data, network, setting["images"], setting["channels"], setting["input size"]
        )
    calls[str(values[0])]()
    times = interleaved(calls, repeats)
    over = {
        value: [t / first for t, first in zip(times[str(value)], times[str(values[0])], strict=True)]
        for value in values
    }
    medians = [round(statistics.median(over[value]), 3) for value in values]
    # The work grows with the number of pixels, not with the side.
    grows = [value**2 if axis == "input size" else value for value in values]
    return {
        "axis": axis,
        "values": values,
        "time over the first": medians,
        "range": [[round(min(over[value]), 3), round(max(over[value]), 3)] for value in values],
        "line": line([g / grows[0] for g in grows], medians),
    }


def peak_memory(data: Path, network: str, setting: Mapping[str, int]) -> float:
    """Largest resident set, in MiB, of a process that runs one scan."""
    words = [str(setting[name]) for name in FIXED]
    return peak_of(__file__, "--network", network, "--scan", str(data), *words)


def report_memory(data: Path, network: str, setting: Sequence[int]) -> None:
    """What the process of `peak_memory` does."""
    torch.set_num_threads(1)
    reuse_freed_memory()
    dataset = load_dataset("cub", data)
    images, channels, size = setting
    with tempfile.TemporaryDirectory() as folder:
        backbone = get_backbone(network, input_size=size)
        spec = CentreSpec(quantile=backbone.cut)
        scan(dataset[np.arange(images)], backbone, [spec], channels=range(channels), folder=folder)
    print(peak_mebibytes())


def memory(data: Path, network: str) -> list[dict[str, Any]]:
    """One entry per axis: the peak at both ends."""
    found = []
    for axis, ends in ENDS.items():
        peaks = [peak_memory(data, network, {**FIXED, axis: value}) for value in ends]
        found.append({
            "axis": axis,
            "values": list(ends),
            "MiB": [round(peak) for peak in peaks],
            "ratio": round(peaks[1] / peaks[0], 3),
        })  # fmt: skip
        print(found[-1], flush=True)
    return found


def steps(
    backbone: Backbone, data: PartDataset, repeats: int, channels: int = 128, pictures: int = 4
) -> dict[str, Any]:
    """The steps of an image, each over the bare forward pass of the same repeat."""
    spec, some = CentreSpec(quantile=backbone.cut), max(1, channels // 8)
    paths = [sample.image for sample in data[np.arange(min(pictures, len(data)))]]
    inputs = [backbone.preprocessing(load_image(path)) for path in paths]
    maps = [gradient_maps(backbone, one, range(channels)) for one in inputs]

    def forward() -> None:
        with torch.inference_mode():
            for one in inputs:
                backbone.activations(one[None])

    def few(count: int) -> None:
        for one in inputs:
            gradient_maps(backbone, one, range(count))

    calls: dict[str, Callable[[], object]] = {
        "forward": forward,
        "open and warp": lambda: [backbone.preprocessing(load_image(path)) for path in paths],
        "some": partial(few, some),
        "all": partial(few, channels),
        "centres": lambda: [find_centres(one, spec.centre, **spec.options) for one in maps],
    }
    for call in calls.values():
        call()
    times = interleaved(calls, repeats)

    def over(numerators: Sequence[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(numerators, times["forward"], strict=True)), 3)

    pairs = list(zip(times["all"], times["some"], strict=True))
    return {
        "input size": backbone.input_size,
        "layer": backbone.layer,
        "channels of the layer": backbone.channels,
        "open and warp": over(times["open and warp"]),
        "what is done once": over([max(0.0, a - (a - s) / (1 - some / channels)) for a, s in pairs]),
        "a channel's gradient": over([(a - s) / (channels - some) for a, s in pairs]),
        "a channel's centre": over([t / channels for t in times["centres"]]),
        "forward passes a second, this machine, now": round(
            len(inputs) / statistics.median(times["forward"]), 1
        ),
    }


def modelled(costs: Mapping[str, Any], channels: int) -> float:
    """Forward passes that one image costs with so many channels, by its steps."""
    each = costs["a channel's gradient"] + costs["a channel's centre"]
    return float(costs["open and warp"] + costs["what is done once"] + channels * each)


def bytes_per_image(data: PartDataset) -> float:
    """Bytes of the CSV table of located parts, per image."""
    predictions = PriorDetector().fit(data).predict(data)
    return round(len(predictions.to_pandas().to_csv(index=False)) / len(data), 1)


def rows_of(
    times: Sequence[Mapping[str, Any]], memories: Sequence[Mapping[str, Any]], network: str
) -> list[dict[str, Any]]:
    """Rows for the table of all benchmarks; the memory of more images is the one that must not grow."""
    rows: list[dict[str, Any]] = []
    for one in times:
        first, last = one["values"][0], one["values"][-1]
        rows.append({
            "name": f"{network}, time of a scan, {one['axis']} {last} over {first}",
            "ratio": one["time over the first"][-1],
            "range": one["range"][-1],
        })  # fmt: skip
    for one in memories:
        first, last = one["values"]
        row = {
            "name": f"{network}, peak memory of a scan, {one['axis']} {last} over {first}",
            "ratio": one["ratio"],
        }
        if one["axis"] == "images":
            row |= {"must": f"within {SAME:.0%} of 1", "met": abs(one["ratio"] - 1) <= SAME}
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any] | None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="efficientnet_lite0")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", choices=["steps"], help="measure the steps anew, and keep what the file has of the rest"
    )
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--scan", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.scan:
        report_memory(Path(options.scan[0]), options.network, [int(word) for word in options.scan[1:]])
        return None
    torch.set_num_threads(options.threads)
    partscope.reuse_freed_memory()
    load = machine_load()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "birds"
        write_synthetic_birds(place, images=2 * max(ENDS["images"][1], AXES["images"][-1]), classes=2)
        data = load_dataset("cub", place)
        data = data if len(data) >= ENDS["images"][1] else data.train
        sizes = (None, FIXED["input size"])
        costs = [
            steps(get_backbone(options.network, input_size=size), data, options.repeats) for size in sizes
        ]
        bytes_each = bytes_per_image(data)
        if options.only == "steps":
            earlier = json.loads(options.json.read_text("utf-8"))
            times, memories = earlier["time"], earlier["memory"]
        else:
            times = [growth(axis, data, options.network, options.repeats) for axis in AXES]
            memories = memory(place, options.network)
    result = {
        **environment(None, network=options.network, repeats=options.repeats, fixed=FIXED),
        "load": [load, machine_load()],
        "rows": rows_of(times, memories, options.network),
        "time": times,
        "memory": memories,
        "steps": costs,
        "model": [
            round(modelled(costs[-1], count) / modelled(costs[-1], AXES["channels"][0]), 3)
            for count in AXES["channels"]
        ],
        "bytes of located parts per image": bytes_each,
    }
    result["data set"] = "drawn birds"
    write_json(options.json, result)
    print_table(result["rows"], ["name", "ratio", "must", "met"])
    print_table(costs, list(costs[0]))
    return result


if __name__ == "__main__":
    main()
