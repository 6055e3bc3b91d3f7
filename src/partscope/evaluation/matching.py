"""Matching predictions with annotations: images by id, parts by name; nothing is left out silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from partscope.dataset import PartDataset, Skipped
from partscope.errors import DatasetError, nearest_names
from partscope.predictions import PartPredictions


class ForImages(Protocol):
    """Predictions of any kind: what they were made for, and the images that could not be read."""

    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def failures(self) -> tuple[Skipped, ...]: ...
    def __len__(self) -> int: ...


def common_parts(predictions: PartPredictions, dataset: PartDataset) -> tuple[tuple[str, ...], list[str]]:
    _refuse_twice("part", predictions.parts)
    parts = tuple(name for name in dataset.parts if name in predictions.parts)
    if not parts:
        near = nearest_names(predictions.parts[0], dataset.parts) if predictions.parts else "none"
        raise DatasetError(
            f"{dataset.name}: no part is both predicted ({', '.join(predictions.parts) or 'none'}) and annotated; parts "
            f"match by name, and the nearest annotated ones are {near}."
        )
    notes = []
    for what, names in (
        ("annotated but not predicted", [name for name in dataset.parts if name not in parts]),
        ("predicted but not annotated", [name for name in predictions.parts if name not in parts]),
    ):
        if names:
            notes.append(f"parts {what}, counted nowhere: {', '.join(names)}")
    return parts, notes


def common_images(predictions: ForImages, dataset: PartDataset) -> tuple[list[int], list[int], list[str]]:
    """Return the rows in the data set and in the predictions of the images that both have, and notes on the others."""
    _refuse_twice("image", predictions.ids)
    row_of = {name: i for i, name in enumerate(predictions.ids)}
    rows = [i for i, name in enumerate(dataset.ids) if name in row_of]
    if not rows:
        examples = [names[0] if names else "none" for names in (predictions.ids, dataset.ids)]
        raise DatasetError(
            f"{dataset.name}: no predicted image is in the data set; images match by id, and the first ids are "
            f"{examples[0]!r} in the predictions and {examples[1]!r} in the data set."
        )
    notes = []
    failed = {failure.id for failure in predictions.failures}
    if failed:
        notes.append(f"images that could not be read, left out: {len(predictions.failures)}")
    silent = [name for name in dataset.ids if name not in row_of and name not in failed]
    if silent:
        notes.append(f"images without a prediction, left out: {len(silent)} (the first: {silent[0]})")
    if len(rows) < len(predictions):
        notes.append(
            f"predicted images that are not in the data set, left out: {len(predictions) - len(rows)}"
        )
    return rows, [row_of[dataset.samples[i].id] for i in rows], notes


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise DatasetError(
            f"predictions: the {what} {twice!r} occurs more than once; which one counts is not clear."
        )
