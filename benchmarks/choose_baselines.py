"""Choose the settings of the two systems beside Table 2 on training images, by cross-validation.

    python benchmarks/choose_baselines.py CUB_FOLDER [--images 250] [--skip pooling]

Part Transfer's histograms are compared at the marked parts, which is what it learns from (every training image is its own
nearest neighbour). The part model of DPD-style pooling is fitted to all the images, whose classes it does not look at, and
judged by the classes told from the network's features of its regions. Accuracy is that of a linear SVM on held-out
training images, without mirror images, with C chosen as everywhere. Nothing of the test split is read. Rows are written as
they are finished; a second run continues.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from partscope import load_dataset
from partscope.classification.appearance import (
    PART_TRANSFER_SCALE,
    AppearanceHistograms,
    appearance_embedder,
)
from partscope.classification.deformable import DeformableParts
from partscope.classification.linear import fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.classification.pooling import PooledRegions
from partscope.dataset import PartDataset
from record import environment, write_json

#: Settings of AppearanceHistograms; the others are 4, 6 and 6 bins of L*, a* and b*.
HISTOGRAMS: list[dict[str, int]] = [
    {"cell": 16, "colour_cells": 1},
    {"cell": 16, "colour_cells": 2},
    {"cell": 16, "colour_cells": 4},
    {"cell": 8, "colour_cells": 1},
    {"cell": 16, "colour_cells": 1, "green_red": 8, "blue_yellow": 8},
]
#: Settings of DeformableParts.
MODELS: list[dict[str, int]] = [
    {"components": 3, "parts": 8},
    {"components": 1, "parts": 8},
]


def features_of(system: str, settings: dict[str, int], cache: Path) -> PartFeatures:
    """The system's features with these settings; without settings, the box alone."""
    if system == "Part Transfer":
        embedder = appearance_embedder(AppearanceHistograms(**settings))
        return PartFeatures(
            source="ground_truth", region="crop", scale=PART_TRANSFER_SCALE, backbone=embedder
        )
    if not settings:
        return PartFeatures(source="none", region="crop", cache=cache)
    return PooledRegions(DeformableParts(**settings), cache=cache)


def row_for(system: str, settings: dict[str, int], data: PartDataset, cache: Path) -> dict[str, Any]:
    features = features_of(system, settings, cache).fit(data)
    table = features.transform(data)
    model = fit_linear(table, data.labels, classifier="svm")
    best = max(model.tried, key=lambda one: one.right)
    return {
        "system": system,
        "settings": settings,
        "features": int(table.shape[1]),
        "held-out accuracy": round(best.right / best.images, 4),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--skip", choices=["transfer", "pooling"], action="append", default=[])
    parser.add_argument(
        "--cache", type=Path, help="file for the network's features; by default beside the result"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    out = options.json or Path(__file__).parent / "results" / "settings_baselines.json"
    cache = options.cache or out.with_suffix(".cache")
    torch.set_num_threads(1)
    data = load_dataset("cub", options.data).train.limit(options.images)
    plan = [("Part Transfer", settings) for settings in HISTOGRAMS if "transfer" not in options.skip]
    plan += [("DPD-style pooling", settings) for settings in [{}, *MODELS] if "pooling" not in options.skip]
    facts = environment(options.data, images=len(data), seed=0)
    result: dict[str, Any] = {
        **facts,
        "rows": json.loads(out.read_text("utf-8"))["rows"] if out.exists() else [],
    }
    known = [(row["system"], row["settings"]) for row in result["rows"]]
    for system, settings in plan:
        if (system, settings) not in known:
            result["rows"].append(row_for(system, settings, data, cache))
            print(result["rows"][-1], flush=True)
            write_json(out, result)
    return result


if __name__ == "__main__":
    main()
