"""Choose the linear detector's layers and input size by cross-validation on the training split; the test split is not read.

    python benchmarks/choose_linear.py CUB_FOLDER [--images 300] [--folds 5] [--deciding 2]

For every candidate the detector is fitted on all folds but one and measured on that one, each part by its own evidence and with
the arrangement, beside the static prior on the same images. Rows are written as they are finished; a second run continues.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memo import Memo, memo_detector, without_arrangement
from partscope import load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import PartDetector
from partscope.metrics import bootstrap_interval, diagonal_error, exchanged_sides, wrong_sides
from record import environment, write_json

FloatArray = NDArray[np.float64]

#: Layers, those of them that are looked at around each cell, at which distance, the input size, and further options. One thing at
#: a time is changed from the first row, the detector's defaults.
LAYERS = ("blocks.4.2.bn2", "blocks.5.3")
WIDE = ("blocks.4.2.bn2", "blocks.5.3.bn2", "blocks.5.3")
CANDIDATES: list[dict[str, Any]] = [
    {"layers": LAYERS, "context": ("blocks.5.3",), "reach": 0.2, "input_size": 448},
    {"layers": LAYERS, "context": ("blocks.5.3",), "reach": 0.2, "input_size": 320},
    {"layers": LAYERS, "context": ("blocks.5.3",), "reach": 0.12, "input_size": 448},
    {"layers": LAYERS, "context": (), "reach": 0.2, "input_size": 448},
    {"layers": WIDE, "context": ("blocks.5.3",), "reach": 0.2, "input_size": 448},
    {"layers": LAYERS, "context": ("blocks.5.3",), "reach": 0.2, "input_size": 448, "flips": False},
    {"layers": LAYERS, "context": ("blocks.5.3",), "reach": 0.2, "input_size": 448, "flips": True},
    {"layers": LAYERS, "context": ("blocks.5.3",), "reach": 0.2, "input_size": 224},
]


def measured(detector: PartDetector, test: PartDataset) -> tuple[FloatArray, dict[str, float]]:
    """Errors (N, P) over the diagonal, and wrong and judged sides by both definitions."""
    found = detector.predict(test)
    errors = diagonal_error(found.points, test.points, np.linalg.norm(test.boxes[:, 2:], axis=1))
    pairs = [(i, int(j)) for i, j in enumerate(test.mirror) if i < j]
    diagonal = np.linalg.norm(test.boxes[:, 2:], axis=1)
    sides = exchanged_sides(found.points, test.points, pairs, diagonal)
    seen = wrong_sides(found.score, test.visible, pairs)
    return errors, {"wrong": sides.wrong + seen.wrong, "total": sides.total + seen.total}


def summary(rows: list[tuple[FloatArray, dict[str, float]]], parts: Sequence[str]) -> dict[str, Any]:
    """Mean with its interval over images, median, parts, and exchanged sides, over all folds measured."""
    errors = np.concatenate([one for one, _ in rows])
    wrong, total = (sum(sides[name] for _, sides in rows) for name in ("wrong", "total"))
    return {
        "mean": float(np.nanmean(errors)),
        "ci95": list(bootstrap_interval(errors, random_state=0)),
        "median": float(np.nanmedian(errors)),
        "exchanged sides": wrong / total if total else None,
        "per part": dict(zip(parts, np.nanmean(errors, axis=0).tolist(), strict=True)),
    }


def main() -> None:
    """Measure every candidate that the result file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--deciding", type=int, default=2, help="folds that are measured")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "settings_linear.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset("cub", options.folder).train.limit(options.images)
    fold = np.random.default_rng(0).permutation(len(data)) % options.folds
    settings = {"images": len(data), "folds": options.folds, "deciding": options.deciding}
    rows: list[dict[str, Any]] = []
    if options.output.exists():
        stored = json.loads(options.output.read_text("utf-8"))
        rows = stored["rows"] if all(stored.get(key) == value for key, value in settings.items()) else []
    for chosen in CANDIDATES:
        key = json.loads(json.dumps(chosen))
        if any(row["options"] == key for row in rows):
            continue
        start = time.perf_counter()
        Remembering = memo_detector(Memo(half=True))
        kinds: dict[str, list[tuple[FloatArray, dict[str, float]]]] = {
            "prior": [],
            "none": [],
            "exemplars": [],
        }
        shrinkages = []
        for held in range(options.deciding):
            train, test = data[np.flatnonzero(fold != held)], data[np.flatnonzero(fold == held)]
            detector = Remembering(**chosen).fit(train)
            kinds["prior"].append(measured(PartDetector("prior").fit(train), test))
            kinds["none"].append(measured(without_arrangement(detector), test))
            kinds["exemplars"].append(measured(detector, test))
            shrinkages.append(detector.shrinkage_)
        figures = {name: summary(found, data.parts) for name, found in kinds.items()}
        seconds = time.perf_counter() - start
        rows.append({"options": key, **figures, "shrinkage": shrinkages, "seconds": seconds})
        write_json(options.output, {**environment(options.folder, **settings), "rows": rows})
        print(key, {name: round(found["mean"], 4) for name, found in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
