"""Measure what the linear detector knows about its own errors, and the box that it predicts, on the test split.

    python benchmarks/doubt.py CUB_FOLDER [--train 200] [--test N] [--folds 3] [--skip passes] [--json FILE]

The detector searches the whole image, as fitted by default on N training images. Beside it: the base rates for visibility,
no order and the best order for the error of the surest parts, the median box of the training images for the predicted box.
Two passes (a second look at the crop of the predicted box) are measured by cross-validation on the training images alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from partscope import load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.evaluation import Evaluation
from partscope.figures import figure_reliability, figure_risk_coverage, save_figure
from partscope.metrics import box_overlap, diagonal_error, reliability, risk_coverage, visibility_auc
from partscope.predictions import PartPredictions
from record import environment, write_json

FloatArray = NDArray[np.float64]
#: Groups of equally many parts or images, from the surest to the most doubtful.
GROUPS = 10
OVERLAPS = (0.5, 0.75)


def median_boxes(train: PartDataset, sizes: FloatArray) -> FloatArray:
    """Boxes (N, 4) with the median sides of the training boxes relative to their images: the static prior of the box."""
    relative = train.boxes / np.tile(train.sizes, 2)
    sides = np.nanmedian(np.concatenate([relative[:, :2], relative[:, :2] + relative[:, 2:]], axis=1), axis=0)
    pixels = sides * np.tile(sizes, 2)
    return np.concatenate([pixels[:, :2], pixels[:, 2:] - pixels[:, :2]], axis=1)


def overlaps(boxes: FloatArray, data: PartDataset) -> dict[str, Any]:
    """Mean intersection over union with the marked boxes, and the shares above each limit."""
    overlap = box_overlap(boxes, data.boxes)
    shares = {f"{least:g}": float(np.nanmean(overlap >= least)) for least in OVERLAPS}
    return {"mean_iou": float(np.nanmean(overlap)), "share": shares}


def in_groups(expected: FloatArray, actual: FloatArray) -> list[dict[str, float]]:
    """Mean expected and actual number in groups of equal size by the expected one."""
    order = np.argsort(expected, kind="stable")
    return [
        {"expected": float(expected[group].mean()), "actual": float(actual[group].mean())}
        for group in np.array_split(order, GROUPS)
        if len(group)
    ]


def expected_errors(result: Evaluation, found: PartPredictions) -> dict[str, Any]:
    """Expected against actual errors, of parts and of images."""
    assert result.expected_error is not None
    pairs = np.isfinite(result.errors) & np.isfinite(result.expected_error)
    expected, actual = result.expected_error[pairs], result.errors[pairs]
    row = {name: i for i, name in enumerate(found.ids)}
    doubt = found.doubt[[row[name] for name in result.ids]]
    known = np.isfinite(doubt)
    images = np.nanmean(result.errors, axis=1)
    by_score = risk_coverage(result.errors, 1 - result.score)
    return {
        "parts": {
            "spearman": float(spearmanr(expected, actual).statistic),
            "tenths": in_groups(expected, actual),
            "area by the score instead": by_score.area,
        },
        "images": {
            "spearman": float(spearmanr(doubt[known], images[known]).statistic),
            "tenths": in_groups(doubt[known], images[known]),
        },
    }


def intervals(result: Evaluation, draws: int = 200) -> dict[str, Any]:
    """95 % percentile intervals over images of the macro AUC, the calibration error and the predicted box's overlap."""
    rng = np.random.default_rng(0)
    judged = result.visibility_auc.per_part
    values = []
    for _ in range(draws):
        rows = rng.integers(0, len(result.ids), len(result.ids))
        auc = visibility_auc(result.score[rows], result.visible[rows])
        # A part that is judged in all images may fall below the limit in a draw; none is added.
        kept = [auc.per_part[p] for p in judged if p in auc.per_part] or [np.nan]
        bins = reliability(result.score[rows], result.visible[rows])
        assert result.overlap is not None
        values.append(
            (np.mean(kept), bins.expected_calibration_error, float(np.nanmean(result.overlap[rows])))
        )
    columns = np.array(values, dtype=np.float64).T
    names = ("visibility, macro", "ece", "mean_iou")
    return {
        name: None if np.isnan(column).any() else np.percentile(column, [2.5, 97.5]).tolist()
        for name, column in zip(names, columns, strict=True)
    }


def with_boxes(data: PartDataset, boxes: FloatArray) -> PartDataset:
    """The data set with other boxes."""
    rows = zip(data, boxes.tolist(), strict=True)
    return dataclasses.replace(
        data, samples=tuple(dataclasses.replace(sample, box=tuple(box)) for sample, box in rows)
    )


def two_passes(train: PartDataset, folds: int) -> dict[str, Any]:
    """Errors without the box, with it, and in a second look at the predicted box; every image is left out once."""
    fold = np.random.default_rng(0).permutation(len(train)) % folds
    diagonal = np.linalg.norm(train.boxes[:, 2:], axis=1)
    names = (
        "without the box",
        "with the box",
        "predicted box",
        "mean of both passes",
        "surer of both passes",
    )
    errors = {name: np.full(train.visible.shape, np.nan) for name in names}
    predicted, prior = np.full((len(train), 4), np.nan), np.full((len(train), 4), np.nan)
    for index in range(folds):
        out, rest = np.flatnonzero(fold == index), train[np.flatnonzero(fold != index)]
        held = train[out]
        whole = LinearDetector().fit(rest).predict(held)
        assert whole.boxes is not None
        assert whole.expected_error is not None
        predicted[out], prior[out] = whole.boxes, median_boxes(rest, held.sizes)
        # Where no box was predicted the second look is at the whole image.
        boxes = np.where(
            np.isnan(whole.boxes),
            np.concatenate([np.zeros_like(held.sizes), held.sizes], axis=1),
            whole.boxes,
        )
        crop = LinearDetector(region="crop").fit(rest)
        again = crop.predict(with_boxes(held, boxes))
        assert again.expected_error is not None
        surer = np.where(
            (again.expected_error <= whole.expected_error)[..., None], again.points, whole.points
        )
        points = (
            whole.points,
            crop.predict(held).points,
            again.points,
            (whole.points + again.points) / 2,
            surer,
        )
        for name, place in zip(names, points, strict=True):
            errors[name][out] = diagonal_error(place, held.points, diagonal[out])
    return {
        "folds": folds,
        "error": {name: float(np.nanmean(values)) for name, values in errors.items()},
        "predicted box, left out": overlaps(predicted, train),
        "median box, left out": overlaps(prior, train),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, draw, and write the result file."""
    root = Path(__file__).parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=200, help="training images drawn")
    parser.add_argument("--test", type=int, help="test images drawn; all by default")
    parser.add_argument("--folds", type=int, default=3, help="of the cross-validation of two passes")
    parser.add_argument("--skip", nargs="*", default=(), choices=("passes",))
    parser.add_argument("--json", type=Path, default=root / "results" / "doubt.json")
    parser.add_argument("--figures", type=Path, default=root.parent / "docs" / "figures")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.folder)
    train, test = data.train.limit(options.train), data.test.limit(options.test)
    detector = LinearDetector().fit(train)
    found = detector.predict(test)
    result = detector.evaluate(test, predictions=found)
    prior = PartDetector("prior").fit(train)
    assert detector.arrangement_ is not None
    assert detector.arrangement_.box is not None
    assert result.risk_coverage is not None
    document = {
        **environment(options.folder, train=len(train), test=len(test)),
        "rows": [result.row(), prior.evaluate(test).row()],
        "ci95": intervals(result),
        "expected error": expected_errors(result, found),
        "box": {
            "predicted": result.row()["box"],
            "median of the training images": overlaps(median_boxes(train, test.sizes), test),
            "predicted, training images left out": detector.arrangement_.box.overlap,
        },
    }
    options.figures.mkdir(parents=True, exist_ok=True)
    save_figure(
        figure_reliability(
            {
                "linear": result.reliability,
                "base rates": prior.evaluate(test).reliability,
            }
        ),
        options.figures / "doubt-reliability.png",
    )
    save_figure(figure_risk_coverage({"linear": result.risk_coverage}), options.figures / "doubt-kept.png")
    write_json(options.json, document)
    print(document["rows"][0]["kept"]["shares"], document["box"], sep="\n", flush=True)
    if "passes" not in options.skip:
        document["two passes"] = two_passes(train, options.folds)
        write_json(options.json, document)
        print(document["two passes"])
    return document


if __name__ == "__main__":
    main()
