"""Choose the linear detector's layers and input size by cross-validation on the training split; the test split is not read.

    python benchmarks/choose_linear.py CUB_FOLDER [--images 300] [--folds 5] [--deciding 2]

For every candidate the detector is fitted on all folds but one and measured on that one, each part by its own evidence.
Rows are written as they are finished; a second run continues.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partscope import load_dataset
from partscope.detectors import LinearDetector
from partscope.metrics import diagonal_error, exchanged_sides
from record import environment, write_json

#: Layers, those of them that are looked at around each cell, and the input size.
CANDIDATES: list[tuple[tuple[str, ...], tuple[str, ...], int]] = [
    (("blocks.4.2.bn2", "blocks.5.3.bn2", "blocks.5.3"), (), 320),
    (("blocks.4.2.bn2", "blocks.5.3"), ("blocks.5.3",), 320),
    (("blocks.4.2.bn2", "blocks.5.3.bn2", "blocks.5.3"), ("blocks.5.3",), 320),
    (("blocks.4.2.bn2", "blocks.5.3"), ("blocks.5.3",), 448),
]


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
    for layers, context, size in CANDIDATES:
        key = {"layers": list(layers), "context": list(context), "input_size": size}
        if any(all(row[name] == value for name, value in key.items()) for row in rows):
            continue
        start = time.perf_counter()
        errors, wrong, total, shrinkages = [], 0.0, 0, []
        for held in range(options.deciding):
            detector = LinearDetector(
                layers=list(layers), context=list(context), input_size=size, arrangement="none", flips=False
            ).fit(data[fold != held])
            test = data[fold == held]
            found = detector.predict(test)
            diagonal = np.linalg.norm(test.boxes[:, 2:], axis=1)
            errors.append(diagonal_error(found.points, test.points, diagonal))
            pairs = [(i, int(j)) for i, j in enumerate(test.mirror) if i < j]
            sides = exchanged_sides(found.points, test.points, pairs, diagonal)
            wrong, total = wrong + sides.wrong, total + sides.total
            shrinkages.append(detector.shrinkage_)
        error = np.concatenate(errors)
        per_part = dict(zip(data.parts, np.nanmean(error, axis=0).tolist(), strict=True))
        rows.append(
            {
                **key,
                "mean": float(np.nanmean(error)),
                "median": float(np.nanmedian(error)),
                "exchanged, both visible": wrong / total if total else None,
                "per part": per_part,
                "shrinkage": shrinkages,
                "seconds": time.perf_counter() - start,
            }
        )
        write_json(options.output, {**environment(options.folder, **settings), "rows": rows})
        print(key, rows[-1]["mean"], flush=True)


if __name__ == "__main__":
    main()
