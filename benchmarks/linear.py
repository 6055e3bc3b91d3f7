"""Measure the linear detector on the test split, learned from the training split: accuracy, exchanged sides, visibility, costs.

    python benchmarks/linear.py CUB_FOLDER [--train N] [--test N] [--json FILE]

Rows: the static prior, the linear detector alone and with the arrangement, in the whole image ("Full") and in the box.
Classes never seen in fit: five groups of classes of the training split are left out in turn, beside five groups of images.
Costs: one thread; ratios to one forward pass of the same network, as far as the last layer used and to its end, batch of one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partscope import load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.images import load_image
from partscope.metrics import diagonal_error
from record import environment, write_json
from timing import interleaved, machine_load, ratio, seconds

GROUPS = 5


def accuracy(detector: PartDetector, test: PartDataset) -> dict[str, Any]:
    """The detector's row: every figure of an evaluation, confidence included."""
    return detector.evaluate(test).row()


def held_out_error(data: PartDataset, groups: np.ndarray, arrangement: str) -> float:
    """Mean error over all images, each located by a detector that its group was left out of."""
    errors = np.full(data.visible.shape, np.nan)
    diagonal = np.linalg.norm(data.boxes[:, 2:], axis=1)
    for group in np.unique(groups):
        out = np.flatnonzero(groups == group)
        detector = LinearDetector(arrangement=arrangement).fit(data[np.flatnonzero(groups != group)])
        found = detector.predict(data[out])
        errors[out] = diagonal_error(found.points, data[out].points, diagonal[out])
    return float(np.nanmean(errors))


def unseen_classes(data: PartDataset, arrangement: str) -> dict[str, Any]:
    """Error with whole classes left out beside that with as many images of all classes left out."""
    rng = np.random.default_rng(0)
    names = sorted({label or "" for label in data.labels})
    group_of = dict(zip(names, rng.permutation(len(names)) % GROUPS, strict=True))
    classes = held_out_error(data, np.array([group_of[label or ""] for label in data.labels]), arrangement)
    images = held_out_error(data, rng.permutation(len(data)) % GROUPS, arrangement)
    return {"classes left out": classes, "images left out": images, "ratio": classes / images}


def costs(train: PartDataset, arrangement: str, repeats: int) -> dict[str, Any]:
    """Seconds of fit and predict, and their ratios to forward passes of the same network on the same images."""
    detector = LinearDetector(arrangement=arrangement).fit(train)
    backbone, grids = detector.backbone_, detector.grids_
    pictures = [backbone.preprocessing(load_image(sample.image))[None] for sample in train]
    if backbone.channels_last:
        pictures = [picture.contiguous(memory_format=torch.channels_last) for picture in pictures]

    def whole(count: int) -> None:
        with torch.inference_mode():
            for picture in pictures[:count]:
                backbone.network(picture)

    def used(count: int) -> None:
        for picture in pictures[:count]:
            grids(picture)

    few = train[: min(20, len(train))]
    times = interleaved(
        {
            "fit": lambda: LinearDetector(arrangement=arrangement).fit(train),
            "passes of fit": lambda: whole(len(train)),
            "passes of fit, to the last layer used": lambda: used(len(train)),
        },
        repeats,
    )
    asked = interleaved(
        {
            "predict": lambda: detector.predict(few),
            "passes of predict": lambda: whole(len(few)),
            "passes of predict, to the last layer used": lambda: used(len(few)),
            "reading and warping": lambda: [
                backbone.preprocessing(load_image(sample.image)) for sample in few
            ],
        },
        max(repeats, 3),
    )
    return {
        "images": len(train),
        "input_size": backbone.input_size,
        "fit / passes": ratio(times["fit"], times["passes of fit"]),
        "fit / passes to the last layer used": ratio(
            times["fit"], times["passes of fit, to the last layer used"]
        ),
        "predict / pass": ratio(asked["predict"], asked["passes of predict"]),
        "predict / pass to the last layer used": ratio(
            asked["predict"], asked["passes of predict, to the last layer used"]
        ),
        "seconds": {**times, **asked},
        "load": machine_load(),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, help="training images drawn; all by default")
    parser.add_argument("--test", type=int, help="test images drawn; all by default")
    parser.add_argument("--cost-images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=(), choices=("accuracy", "classes", "costs"))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "linear.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.folder)
    train, test = data.train.limit(options.train), data.test.limit(options.test)
    result = environment(options.folder, train=len(train), test=len(test))
    if "accuracy" not in options.skip:
        rows = []
        for region in ("image", "crop"):
            prior = PartDetector("prior", region="image" if region == "image" else "box").fit(train)
            rows.append(accuracy(prior, test))
            for arrangement in ("none", "exemplars"):
                detector = LinearDetector(region=region, arrangement=arrangement)
                took = seconds(lambda detector=detector: detector.fit(train))  # type: ignore[misc]
                rows.append({**accuracy(detector, test), "arrangement": arrangement})
                rows[-1] |= {"shrinkage": detector.shrinkage_, "seconds of fit": took}
                print(region, arrangement, rows[-1]["error"]["diagonal"]["mean"], flush=True)
        result["rows"] = rows
    if "classes" not in options.skip:
        result["unseen classes"] = unseen_classes(train, "exemplars")
    if "costs" not in options.skip:
        result["costs"] = {
            arrangement: costs(train.limit(options.cost_images), arrangement, options.repeats)
            for arrangement in ("none", "exemplars")
        }
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
