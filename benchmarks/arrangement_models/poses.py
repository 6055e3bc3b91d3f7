"""Mixtures of poses: groups of similar training arrangements with Gaussian deviations, for the star and the tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arrangement_models.evidence import Evidence
from partscope.arrangement.model import SCALES
from partscope.arrangement.shapes import Shapes, make_shapes

FloatArray = NDArray[np.float64]

#: Weight, in arrangements, of all poses' variance in that of one pose.
PULL = 5.0
#: The least standard deviation, in object sizes.
LEAST = 0.02


@dataclass(frozen=True, eq=False)
class Poses:
    """M poses of P parts.

    Parameters
    ----------
    shapes: the training arrangements and their groups, which are the poses.
    weight: (M,) share of the arrangements.
    mean: (M, P, 2) offsets from the object's place in object sizes; spread: (M, P, 2) their standard deviations.
    visible: (M, P) share of the arrangements that show the part, never 0 or 1.
    pair_mean, pair_spread: (M, P, P, 2) of the second part's offset less the first's.
    """

    shapes: Shapes
    weight: FloatArray
    mean: FloatArray
    spread: FloatArray
    visible: FloatArray
    pair_mean: FloatArray
    pair_spread: FloatArray


def make_poses(train: Evidence, count: int) -> Poses:
    """Group the training arrangements and their mirror images into at most `count` poses."""
    shapes = make_shapes(train.points, train.visible, train.sizes, train.mirror, count, SCALES)
    members = np.eye(shapes.group.max() + 1)[shapes.group].T  # (M, E)
    mean, spread = _gaussians(members, shapes.offsets, shapes.visible)
    parts = shapes.offsets.shape[1]
    gap = shapes.offsets[:, None] - shapes.offsets[:, :, None]  # (E, first, second, 2)
    both = shapes.visible[:, None] * shapes.visible[:, :, None]
    flat = _gaussians(members, gap.reshape(len(gap), -1, 2), both.reshape(len(gap), -1))
    pair_mean, pair_spread = (values.reshape(-1, parts, parts, 2) for values in flat)
    shown = (members @ shapes.visible + shapes.visible.mean(axis=0)) / (members.sum(axis=1)[:, None] + 1)
    weight = members.mean(axis=1)
    return Poses(shapes, weight, mean, spread, np.clip(shown, 0.01, 0.99), pair_mean, pair_spread)


def _gaussians(members: FloatArray, values: FloatArray, shown: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return means and standard deviations (M, Q, 2) of values (E, Q, 2) where shown (E, Q), drawn towards all poses'."""
    count = members @ shown
    total = np.einsum("me,eq,eqd->mqd", members, shown, values)
    everywhere = total.sum(axis=0) / np.maximum(count.sum(axis=0), 1)[:, None]
    mean = (total + everywhere) / (count + 1)[..., None]
    squared = np.einsum("me,eq,eqd->mqd", members, shown, values**2)
    square = np.maximum(squared - 2 * mean * total + mean**2 * count[..., None], 0.0)
    common = square.sum(axis=0) / np.maximum(count.sum(axis=0), 1)[:, None]
    return mean, np.sqrt((square + PULL * common) / (count + PULL)[..., None] + LEAST**2)


def posterior_size(weight: FloatArray, sizes: FloatArray) -> float:
    """Return the geometric mean of the sizes (S,) under weights (..., S)."""
    shares = weight.reshape(-1, len(sizes)).sum(axis=0)
    return float(np.exp(shares @ np.log(sizes) / shares.sum()))


def normalised(expected: FloatArray) -> FloatArray:
    """Return maps (P, h, w) that sum to 1; nothing becomes impossible."""
    cells = expected[0].size
    total = expected.sum(axis=(1, 2), keepdims=True)
    shares = np.where(total > 0, expected / np.where(total > 0, total, 1.0), 1 / cells)
    return np.asarray(shares * (1 - 1e-6) + 1e-6 / cells)
