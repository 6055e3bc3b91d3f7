"""Measure the linear detector on the test split, learned from the training split: accuracy, sides, visibility, costs.

    python benchmarks/linear.py CUB_FOLDER [--train N] [--test N] [--json FILE]

Rows: the static prior, the linear detector alone and with the arrangement, in the whole image ("Full") and in the box.
Costs: one thread, freed memory kept as by the command line; ratios to one forward pass of the same network at the same input and batch size (to its end, and as far as
the last layer used), and at the network's native input of 224 pixels; all in one run, in turn. Classes never seen in fit have
a script of their own, `unseen_classes.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from finished import code_hash
from memo import Memo, memo_detector, without_arrangement
from partscope import get_backbone, load_dataset
from partscope.allocator import reuse_freed_memory
from partscope.backbones import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.grids import FeatureGrids
from partscope.images import load_image
from record import environment, write_json
from timing import interleaved, machine_load, ratio

#: Side of the input that EfficientNet-Lite0 and SqueezeNet were trained with.
NATIVE_SIZE = 224
#: Options of the detector: its defaults.
OPTIONS: dict[str, Any] = {}


def accuracy(detector: PartDetector, test: PartDataset) -> dict[str, Any]:
    """The detector's row: every figure of an evaluation, confidence included."""
    return detector.evaluate(test).row()


def watched(sizes: list[int]) -> type[LinearDetector]:
    """A linear detector that notes how many pictures each of its passes gets; a blank input, for shapes, does not count."""

    def note(network: nn.Module, inputs: tuple[Tensor]) -> None:
        if bool(inputs[0].any()):
            sizes.append(len(inputs[0]))

    class Watched(LinearDetector):
        def _make_grids(self, backbone: Backbone) -> FeatureGrids:
            backbone.network.register_forward_pre_hook(note)
            return super()._make_grids(backbone)

    return Watched


def passes(
    backbone: Backbone, data: PartDataset, batch: int, run: Callable[[Tensor], object]
) -> Callable[[], None]:
    """One view of every image, read and warped beforehand, through `run` in batches."""
    ready = torch.stack([backbone.preprocessing(load_image(sample.image)) for sample in data]).split(batch)
    order = torch.channels_last if backbone.channels_last else torch.contiguous_format
    inputs = [one.contiguous(memory_format=order) for one in ready]

    def call() -> None:
        with torch.inference_mode():
            for one in inputs:
                run(one)

    return call


def costs(train: PartDataset, asked: PartDataset, options: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Seconds of fit and predict, and their ratios to forward passes of the same network on the same images.

    A forward pass is one view of an image through the whole network, in batches as large as the detector makes them. Fit and
    predict include reading and warping the images; fit includes the spatial model, the calibration and the choice of
    shrinkage. Processor time does not count what other processes do meanwhile.
    """
    sizes: list[int] = []
    detector = watched(sizes)(**options).fit(train)
    of_fit, sizes[:] = list(sizes), []
    detector.predict(asked)
    of_predict = list(sizes)
    backbone, grids = detector.backbone_, detector.grids_
    native = get_backbone(backbone.name, input_size=NATIVE_SIZE)
    result: dict[str, Any] = {
        "images": {"fit": len(train), "predict": len(asked)},
        "input size": backbone.input_size,
        "layers": list(grids.layers),
    }
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: LinearDetector(**options).fit(train),
        "predict": lambda: detector.predict(asked),
        "reading and warping": lambda: [backbone.preprocessing(load_image(one.image)) for one in asked],
    }
    for what, data, seen in (("fit", train, of_fit), ("predict", asked, of_predict)):
        batch = max(seen)
        result[f"views per image, {what}"] = sum(seen) / len(data)
        result[f"batch size, {what}"] = batch
        calls[f"{what}: passes"] = passes(backbone, data, batch, backbone.network)
        calls[f"{what}: passes to the last layer used"] = passes(backbone, data, batch, grids)
        calls[f"{what}: passes at {NATIVE_SIZE} px"] = passes(native, data, batch, native.network)
    processor: dict[str, list[float]] = {name: [] for name in calls}

    def counted(name: str, call: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            start = time.process_time()
            call()
            processor[name].append(time.process_time() - start)

        return run

    times = interleaved({name: counted(name, call) for name, call in calls.items()}, repeats)
    for clock, measured in (("", times), ("processor time, ", processor)):
        for name in times:
            what, _, against = name.partition(": ")
            if against:
                result[f"{clock}{what} / {against}"] = ratio(measured[what], measured[name])
    return {**result, "seconds": times, "seconds of processor time": processor, "load": machine_load()}


def earlier(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The rows and costs of an interrupted run with the same code and images."""
    if not path.exists():
        return {}
    stored: dict[str, Any] = json.loads(path.read_text("utf-8"))
    same = all(stored.get(key) == facts[key] for key in ("code", "train", "test", "data set"))
    return {key: stored[key] for key in ("rows", "costs") if key in stored} if same else {}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what an earlier run has not finished, and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, help="training images drawn; all by default")
    parser.add_argument("--test", type=int, help="test images drawn; all by default")
    parser.add_argument("--cost-images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=(), choices=("accuracy", "costs"))
    parser.add_argument("--cache", type=Path, help="where feature grids are kept; in memory by default")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "linear.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    reuse_freed_memory()  # as the command line does, for both sides of every ratio
    data = load_dataset("cub", options.folder)
    train, test = data.train.limit(options.train), data.test.limit(options.test)
    result = environment(options.folder, train=len(train), test=len(test), code=code_hash()[:12])
    result = {**result, "rows": [], "costs": {}, **earlier(options.json, result)}
    Remembering = memo_detector(Memo(options.cache))
    for region in ("image", "crop") if "accuracy" not in options.skip else ():
        names = [(row["region"], row.get("arrangement")) for row in result["rows"]]
        if (region, "exemplars") in names:
            continue
        prior = PartDetector("prior", region="image" if region == "image" else "box").fit(train)
        detector = Remembering(region=region, arrangement="exemplars", **OPTIONS).fit(train)
        rows = [accuracy(prior, test)]
        for arrangement, one in (("none", without_arrangement(detector)), ("exemplars", detector)):
            rows.append({**accuracy(one, test), "arrangement": arrangement, "shrinkage": one.shrinkage_})
            print(region, arrangement, rows[-1]["error"]["diagonal"]["mean"], flush=True)
        result["rows"] += rows
        write_json(options.json, result)
    few = train.limit(options.cost_images)
    for arrangement in ("exemplars", "none") if "costs" not in options.skip else ():
        if arrangement not in result["costs"]:
            chosen = {**OPTIONS, "arrangement": arrangement}
            result["costs"][arrangement] = costs(few, test.limit(20), chosen, options.repeats)
            write_json(options.json, result)
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
