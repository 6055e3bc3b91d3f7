"""Derived parts: one part made of several, such as the head of the paper's Fig. 2."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset
from partscope.errors import DatasetError, nearest_names
from partscope.predictions import PartPredictions

FloatArray = NDArray[np.float64]

#: The parts whose mean is the head of a bird (protocol, section 5).
HEAD_PARTS = ("crown", "forehead", "beak", "nape", "throat")


def mean_of_parts(points: FloatArray, members: Sequence[int]) -> FloatArray:
    """Return `(N, 2)` means of the finite ones among the parts `members` of `(N, P, 2)` points; NaN without any."""
    chosen = points[:, list(members)]
    known = np.asarray(np.isfinite(chosen).all(axis=2))
    count = known.sum(axis=1)[:, None]
    total = np.where(known[..., None], chosen, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def with_mean_part(
    dataset: PartDataset, name: str = "head", members: Sequence[str] = HEAD_PARTS
) -> PartDataset:
    """Return the data set with one more part, the mean of the visible ones of `members`.

    It is visible where at least one of them is. Members that the data set does not have are an error, so that a
    "head" is never quietly made of something else.

    Raises
    ------
    DatasetError: `name` exists already, or a member does not.
    """
    take = _members(dataset.parts, name, members, dataset.name)
    extra = mean_of_parts(dataset.points, take)
    seen = np.asarray(np.isfinite(extra).all(axis=1))
    samples = tuple(
        dataclasses.replace(
            sample, points=np.vstack([sample.points, extra[i]]), visible=np.append(sample.visible, seen[i])
        )
        for i, sample in enumerate(dataset.samples)
    )
    pairs = dataset.pairs
    if pairs is None:
        pairs = tuple(
            (dataset.parts[i], dataset.parts[j]) for i, j in enumerate(dataset.mirror.tolist()) if i < j
        )
    # The pairs are named, because the extra part's own name must not make a new one.
    return PartDataset((*dataset.parts, name), samples, dataset.name, pairs, dataset.skipped, dataset.notes)


def predictions_with_mean_part(
    predictions: PartPredictions, name: str = "head", members: Sequence[str] = HEAD_PARTS
) -> PartPredictions:
    """Return the predictions with one more part, the mean of the found ones of `members`.

    Its score is the mean score of those, and it is believed visible where one of them is.

    Raises
    ------
    DatasetError: `name` exists already, or a member does not.
    """
    take = _members(predictions.parts, name, members, "predictions")
    found = predictions.found[:, take]
    points = mean_of_parts(np.where(predictions.found[..., None], predictions.points, np.nan), take)
    any_found = found.any(axis=1)
    score = np.where(found, predictions.score[:, take], 0.0).sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    visible = predictions.visible[:, take].any(axis=1)
    return PartPredictions(
        (*predictions.parts, name),
        predictions.ids,
        np.concatenate([predictions.points, points[:, None]], axis=1),
        np.column_stack([predictions.found, any_found]),
        np.column_stack([predictions.score, score]),
        np.column_stack([predictions.visible, visible]),
        predictions.failures,
        None
        if predictions.expected_error is None
        else np.column_stack([predictions.expected_error, np.full(len(predictions), np.nan)]),
        predictions.boxes,
    )


def _members(parts: Sequence[str], name: str, members: Sequence[str], what: str) -> list[int]:
    if name in parts:
        raise DatasetError(f"{what}: there is a part {name!r} already; give the derived part another name.")
    if not members:
        raise DatasetError(f"{what}: the derived part {name!r} needs at least one part to be made of.")
    for member in members:
        if member not in parts:
            raise DatasetError(
                f"{what}: {name!r} is made of {member!r}, which is not a part; nearest names: "
                f"{nearest_names(member, parts)}."
            )
    return [list(parts).index(member) for member in members]
