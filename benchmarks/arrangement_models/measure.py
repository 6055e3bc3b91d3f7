"""Cross-validation of one spatial model, and the figures of its row.

In each fold the model learns from the other folds. What it finds in the images of the fold is refined, and its doubt calibrated,
by the product's refinement (on poses alone, since the evidence is all that the models are given) and doubt, learned from what
was found, in the same way, in the other images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arrangement_models.evidence import Evidence
from partscope.arrangement.consensus import Consensus
from partscope.arrangement.decoding import Decoded, decode
from partscope.arrangement.doubt import fit_doubt
from partscope.arrangement.likelihood import calibrate, likelihood_ratios
from partscope.arrangement.refinement import fit_refinement
from partscope.arrangement.shapes import unit_of
from partscope.linear import decode as soft_maximum
from partscope.linear import presence
from partscope.metrics import bootstrap_interval, exchanged_sides, paired_bootstrap, wrong_sides

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


class SpatialModel(Protocol):
    """What is compared."""

    name: str

    def fit(self, train: Evidence) -> None:
        """Learn from training images."""

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return what the other parts say about each part of an image with likelihood ratios (P, h, w)."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Points (N, P, 2) in [0, 1] of the image, and visibilities (N, P)."""

    points: FloatArray
    visibility: FloatArray


def folds_of(images: int, folds: int) -> IntArray:
    """Return the fold (N,) of each image."""
    return np.asarray(np.random.default_rng(0).permutation(images) % folds)


def located(model: SpatialModel, ratios: FloatArray, size: FloatArray) -> Decoded:
    """Return what the model and the common decoding find in one image."""
    return decode(ratios, model.posterior(ratios, size), size)


def cross_validate(model: SpatialModel, data: Evidence, fold: IntArray) -> tuple[Answer, Answer]:
    """Return the model's answers for every image, without and with the refinement."""
    decoded: list[Decoded | None] = [None] * len(data)
    for index in np.unique(fold):
        train = data[fold != index]
        values = calibrate(train.maps, train.points, train.visible)
        model.fit(train)
        for image in np.flatnonzero(fold == index):
            decoded[image] = located(model, likelihood_ratios(data.maps[image], values), data.sizes[image])
    return finished([found for found in decoded if found is not None], data, fold)


def finished(decoded: Sequence[Decoded], data: Evidence, fold: IntArray) -> tuple[Answer, Answer]:
    """Return answers without and with the refinement, which leaves each image out; each fold gets its doubt from the others."""
    unit = (data.sizes / unit_of(data.sizes)[:, None])[:, None]
    size = np.array([found.size for found in decoded])[:, None, None]
    local = np.array([found.local for found in decoded])
    deviation = (data.points * unit - local) / size
    _, shifts, votes = fit_refinement(decoded, deviation, data.visible, data.mirror)
    error = np.linalg.norm(deviation - shifts, axis=2) * size[..., 0]
    visibility = np.zeros(data.visible.shape)
    for index in np.unique(fold):
        rest = fold != index
        others = [decoded[i] for i in np.flatnonzero(rest)]
        doubt = fit_doubt(others, data.visible[rest], error[rest], votes[rest], data.mirror)
        for image in np.flatnonzero(~rest):
            visibility[image] = doubt.visibility(decoded[image], votes[image])
    return Answer(local / unit, visibility), Answer((local + shifts * size) / unit, visibility)


def alone(data: Evidence, fold: IntArray) -> Answer:
    """Return each part's soft maximum, as a linear detector without an arrangement gives it."""
    points = soft_maximum(data.maps)
    visibility = np.concatenate(
        [presence(data.maps[i : i + 1], data.visible[fold != fold[i]].mean(axis=0)) for i in range(len(data))]
    )
    return Answer(points, visibility)


def prior(data: Evidence, fold: IntArray) -> Answer:
    """Return the static prior: the median place in the other folds' images, and how often the part is visible there."""
    points, visibility = np.empty(data.points.shape), np.empty(data.visible.shape)
    for index in np.unique(fold):
        points[fold == index] = np.nanmedian(data.points[fold != index], axis=0)
        visibility[fold == index] = data.visible[fold != index].mean(axis=0)
    return Answer(points, visibility)


def errors_of(answer: Answer, data: Evidence) -> FloatArray:
    """Return distances over the box diagonal (N, P); NaN where not visible."""
    points = np.clip(answer.points, 0.0, 1.0)
    gap = np.linalg.norm((points - data.points) * data.sizes[:, None], axis=2)
    return np.asarray(np.where(data.visible, gap / data.diagonals[:, None], np.nan))


def row(name: str, answer: Answer, data: Evidence) -> dict[str, Any]:
    """Return the figures of one answer, JSON-ready."""
    errors = errors_of(answer, data)
    pixels = np.clip(answer.points, 0.0, 1.0) * data.sizes[:, None]
    truth = data.points * data.sizes[:, None]
    both = exchanged_sides(pixels, truth, data.pairs, data.diagonals)
    one = wrong_sides(answer.visibility, data.visible, data.pairs)
    total = both.total + one.total
    per_part = dict(zip(data.parts, np.nanmean(errors, axis=0).tolist(), strict=True))
    return {
        "model": name,
        "mean": float(np.nanmean(errors)),
        "interval": list(bootstrap_interval(errors)),
        "median": float(np.nanmedian(errors)),
        "exchanged sides": (both.wrong + one.wrong) / total if total else None,
        "both visible": {"share": both.share, "wrong": both.wrong, "total": both.total},
        "one visible": {"share": one.share, "wrong": one.wrong, "total": one.total},
        "per part": per_part,
    }


def difference(first: FloatArray, second: FloatArray) -> dict[str, Any]:
    """Return the paired difference of two error arrays, first minus second, with its interval."""
    found = paired_bootstrap(first, second)
    return {"difference": found.difference, "interval": list(found.ci)}
