"""The choice of shrinkage: whole images are left out in turn, and the error of localisation in them decides.

Cells of one image resemble each other, so leaving out cells would reward too little shrinkage. The images left out also
give *held-out* evidence maps, made by discriminants that have not seen them: what a spatial model or a calibration learns
from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partscope.grids import FeatureGrids
from partscope.linear.discriminant import Discriminants, solve
from partscope.linear.evidence import decode
from partscope.linear.statistics import Statistics

#: The values that are tried, in units of the mean variance of a feature.
SHRINKAGES = (0.03, 0.1, 0.3, 1.0, 3.0)

#: Without images to leave out.
DEFAULT_SHRINKAGE = 0.3

#: Groups in which images are left out together.
FOLDS = 4

#: The groups whose error decides between the values; the others are only given held-out maps. Each value costs one
#: factorisation per group.
DECIDING = 1

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldImage:
    """An image whose features are kept so that it can be left out.

    Parameters
    ----------
    index: its position among the training images.
    fold: the group that it belongs to.
    maps: of each layer (K_l, h_l, w_l).
    points: (P, 2) `(x, y)` as shares of the region that the network saw.
    visible: (P,).
    unit: (2,) size of that region, divided by the length that errors are measured in.
    """

    index: int
    fold: int
    maps: list[Tensor]
    points: FloatArray
    visible: NDArray[np.bool_]
    unit: FloatArray

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the features take."""
        return sum(features.element_size() * features.nelement() for features in self.maps)


@dataclass(frozen=True, eq=False)
class ShrinkageChoice:
    """What leaving images out has shown.

    Parameters
    ----------
    shrinkage: the value of the smallest error.
    errors: mean error of each value that was tried; empty where there was nothing to choose from or by.
    evidence: (M, P, h, w) held-out maps of the kept images.
    indices: (M,) their positions among the training images.
    """

    shrinkage: float
    errors: dict[float, float]
    evidence: NDArray[np.float32]
    indices: NDArray[np.intp]


def compact(maps: Sequence[Tensor]) -> list[Tensor]:
    """Return maps in half precision, for keeping; a map that half precision cannot hold stays as it is."""
    kept = []
    for features in maps:
        half = features.half()
        kept.append(half if bool(torch.isfinite(half).all()) else features.clone())
    return kept


def choose_shrinkage(
    grids: FeatureGrids,
    statistics: Sequence[Statistics],
    held: Sequence[HeldImage],
    candidates: Sequence[float] = SHRINKAGES,
) -> ShrinkageChoice:
    """Choose the shrinkage with the smallest mean error in images left out, and make held-out maps.

    Parameters
    ----------
    statistics: those of each group of images; the discriminants for a group come from the sum of the others.
    held: the images whose features were kept. The error is the mean over their visible parts, in the groups that decide;
        where no kept image shows a part that the others show too, the first of `candidates` nearest to
        `DEFAULT_SHRINKAGE` is taken.
    candidates: the values to try; a single one is taken as it is.
    """
    parts = statistics[0].parts
    rows, columns = grids.grid
    chosen = min(candidates, key=lambda value: abs(np.log(value / DEFAULT_SHRINKAGE)))
    errors: dict[float, float] = {}
    evidence = np.zeros((len(held), parts, rows, columns), dtype=np.float32)
    usable = [fold for fold, part in enumerate(statistics) if part.images and len(statistics) > 1]
    usable = [fold for fold in usable if any(s.images for f, s in enumerate(statistics) if f != fold)]
    deciding = usable[:DECIDING] if len(candidates) > 1 else []
    without = {fold: reduce(add, (s for f, s in enumerate(statistics) if f != fold)) for fold in deciding}
    if deciding:
        totals = np.zeros((len(candidates), 2))
        for fold in deciding:
            solved = [solve(without[fold], value) for value in candidates]
            for image in held:
                if image.fold == fold:
                    totals += _errors(grids, solved, image, without[fold].shown > 0)
        if totals[0, 1] > 0:
            means = totals[:, 0] / totals[:, 1]
            errors = {value: float(mean) for value, mean in zip(candidates, means, strict=True)}
            chosen = min(errors, key=lambda value: errors[value])
    for fold in usable:
        rest = without.get(fold)
        if rest is None:
            rest = reduce(add, (s for f, s in enumerate(statistics) if f != fold))
        solved_once = solve(rest, chosen)
        for row, image in enumerate(held):
            if image.fold == fold:
                evidence[row] = evidence_maps(grids, image.maps, solved_once)
    indices = np.array([image.index for image in held], dtype=np.intp)
    if not usable:
        return ShrinkageChoice(chosen, errors, evidence[:0], indices[:0])
    return ShrinkageChoice(chosen, errors, evidence, indices)


def evidence_maps(
    grids: FeatureGrids, maps: Sequence[Tensor], discriminants: Discriminants
) -> NDArray[np.float32]:
    """Return the evidence of one image: (P, h, w) log-odds of part against background on the common grid."""
    values = grids.combine(maps, discriminants.weights) + discriminants.bias[:, None, None]
    return np.asarray(values, dtype=np.float32)


def _errors(
    grids: FeatureGrids, solved: Sequence[Discriminants], image: HeldImage, known: NDArray[np.bool_]
) -> FloatArray:
    """Return for each value the sum of the errors of the image's visible, known parts, and their number: (C, 2)."""
    weights = np.concatenate([discriminants.weights for discriminants in solved], axis=1)
    maps = grids.combine(image.maps, weights)
    maps = maps.reshape(len(solved), -1, *maps.shape[1:])
    take = image.visible & known
    distance = np.linalg.norm((decode(maps) - image.points) * image.unit, axis=2)[:, take]
    return np.stack([distance.sum(axis=1), np.full(len(solved), float(take.sum()))], axis=1)
