"""Data sets and predictions to evaluate, without pictures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from partscope.dataset import PartDataset, Sample
from partscope.predictions import PartPredictions

PARTS = ("beak", "left wing", "right wing", "tail")
NOWHERE = (math.nan, math.nan)
DRAWS = 100


def make_dataset(
    seed: int, images: int = 12, boxes: bool = True, parts=PARTS, factor: float = 1.0
) -> PartDataset:
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(images):
        width, height = rng.integers(50, 300, 2) * factor
        x, y = rng.uniform(0, 0.4, 2)
        box = tuple((np.array([x, y, 0.5, 0.4]) * [width, height, width, height]).tolist())
        places = np.array(box[:2]) + rng.uniform(0, 1, (len(parts), 2)) * box[2:]
        visible = rng.random(len(parts)) < 0.7
        visible[:2] |= not visible.any()
        places[~visible] = math.nan
        samples.append(
            Sample(
                f"{i:03}",
                Path(f"{i}.jpg"),
                (int(width), int(height)),
                places,
                visible,
                box if boxes else None,
            )
        )
    return PartDataset(tuple(parts), tuple(samples))


def predict(dataset: PartDataset, seed: int, noise: float = 20.0, found: float = 1.0) -> PartPredictions:
    rng = np.random.default_rng(seed)
    shape = (len(dataset), len(dataset.parts))
    truth = np.where(dataset.visible[..., None], dataset.points, rng.uniform(0, 50, (*shape, 2)))
    kept = rng.random(shape) < found
    points = np.where(kept[..., None], truth + rng.normal(0, noise, (*shape, 2)), math.nan)
    score = np.where(kept, rng.random(shape), 0)
    return PartPredictions(dataset.parts, dataset.ids, points, kept, score, kept)


def single(points, box=None, size=(100, 100), parts=PARTS) -> PartDataset:
    points = np.array(points, dtype=float)
    return PartDataset(
        parts, (Sample("only", Path("only"), size, points, np.isfinite(points).all(axis=1), box),)
    )
