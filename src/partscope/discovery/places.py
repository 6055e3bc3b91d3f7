"""Where named parts lie: a linear map from the places of all discovered parts to those of annotated ones.

Places are told relative to their own middle and spread in each image, so that neither a box nor the object's size is needed;
where the map knows nothing better, a named part lies at its mean place in this frame. The map is a ridge regression, in
closed form. Each marked image is learned from a second time as in a mirror: discovered parts have no sides of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.errors import DatasetError

#: The strengths that are tried, in units of the mean variance of a coordinate.
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

#: Without an image to leave out.
DEFAULT_STRENGTH = 3.0

#: Without an image to leave out; about what a handful of images give.
DEFAULT_DEVIATION = 0.5

#: Groups of images that are left out in turn to choose the strength.
FOLDS = 10

#: The least spread of the discovered parts, as a share of the image's diagonal.
LEAST_SPREAD = 0.01

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlaceMap:
    """Map from K discovered parts to P named ones.

    Parameters
    ----------
    weights: (P, 2K + 1, 2), the constant last; NaN for a part that no marked image shows.
    strength: of the ridge.
    deviation: (P,) standard deviation of a coordinate in images that were left out, in units of the discovered parts'
        spread; where there was nothing to leave out, `DEFAULT_DEVIATION`.
    """

    weights: FloatArray
    strength: float
    deviation: FloatArray

    @classmethod
    def fit(
        cls, centres: FloatArray, sizes: FloatArray, points: FloatArray, mirror: NDArray[np.intp]
    ) -> PlaceMap:
        """Learn from marked images.

        Parameters
        ----------
        centres: (N, K, 2) places of the discovered parts in pixels, all found.
        sizes: (N, 2) width and height of the images in pixels.
        points: (N, P, 2) places of the named parts in pixels, NaN where not visible.
        mirror: (P,) index of the part that each part becomes in a mirrored image.

        Raises
        ------
        DatasetError: shapes do not fit, there is no image, or a discovered place is not finite.
        """
        count, parts = len(centres), len(mirror)
        if not count or centres.ndim != 3 or points.shape != (count, parts, 2) or sizes.shape != (count, 2):
            raise DatasetError(
                "naming: centres (N, K, 2), sizes (N, 2) and points (N, P, 2) of at least one image are needed, not "
                f"{centres.shape}, {sizes.shape} and {points.shape}."
            )
        if not np.isfinite(centres).all():
            raise DatasetError("naming: every discovered part needs a place in every marked image.")
        relative, middle, spread = _frame(centres, sizes)
        target = (points - middle[:, None]) / spread[:, None, None]
        turn = np.array([-1.0, 1.0])
        design = _design(np.concatenate([relative, relative * turn]))
        target = np.concatenate([target, target[:, mirror] * turn])
        fold = np.tile(np.arange(count) % min(count, FOLDS), 2)
        strength, deviation = DEFAULT_STRENGTH, np.full(parts, np.nan)
        if count > 1:
            squares = np.stack([_held_out(design, target, fold, value) for value in STRENGTHS])
            judged = np.isfinite(squares[0]).any(axis=1)
            if judged.any():
                means = np.nanmean(np.sqrt(squares[:, judged]), axis=(1, 2))
                best = int(means.argmin())
                strength = STRENGTHS[best]
                deviation[judged] = np.sqrt(np.nanmean(squares[best, judged], axis=1) / 2)
        deviation = np.where(np.isfinite(deviation), deviation, DEFAULT_DEVIATION)
        return cls(_ridge(design, target, strength), strength, deviation)

    def apply(self, centres: FloatArray, sizes: FloatArray) -> FloatArray:
        """Return the places (N, P, 2) of the named parts in pixels, NaN for parts that no marked image shows.

        Parameters as of :meth:`fit`.
        """
        relative, middle, spread = _frame(centres, sizes)
        named = np.einsum("nd,pdc->npc", _design(relative), self.weights)
        return np.asarray(middle[:, None] + named * spread[:, None, None])

    def spread(self, centres: FloatArray, sizes: FloatArray) -> FloatArray:
        """Return the spread (N,) of the discovered parts in pixels, which the deviation is relative to."""
        return _frame(centres, sizes)[2]


def _frame(centres: FloatArray, sizes: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return places relative to their frame (N, K, 2), its middle (N, 2) and its spread (N,) in pixels."""
    middle = centres.mean(axis=1)
    offset = centres - middle[:, None]
    least = LEAST_SPREAD * np.linalg.norm(sizes, axis=1)
    spread = np.maximum(np.sqrt((offset**2).sum(axis=2).mean(axis=1)), least)
    return offset / spread[:, None, None], middle, spread


def _design(relative: FloatArray) -> FloatArray:
    return np.concatenate([relative.reshape(len(relative), -1), np.ones((len(relative), 1))], axis=1)


def _ridge(design: FloatArray, target: FloatArray, strength: float) -> FloatArray:
    """Return the weights (P, 2K + 1, 2) of a ridge regression for each part; the constant is not penalised."""
    weights = np.full((target.shape[1], design.shape[1], 2), np.nan)
    for part in range(target.shape[1]):
        seen = np.isfinite(target[:, part]).all(axis=1)
        if not seen.any():
            continue
        inputs, outputs = design[seen, :-1], target[seen, part]
        mean, typical = inputs.mean(axis=0), outputs.mean(axis=0)
        centred = inputs - mean
        products = centred.T @ centred
        level = max(float(np.trace(products)) / len(products), 1e-9)
        products[np.diag_indices_from(products)] += strength * level
        slope = np.linalg.solve(products, centred.T @ (outputs - typical))
        weights[part] = np.concatenate([slope, (typical - mean @ slope)[None]])
    return weights


def _held_out(design: FloatArray, target: FloatArray, fold: NDArray[np.intp], strength: float) -> FloatArray:
    """Return squared distances in groups of images that are left out in turn, (P, N); NaN where there is nothing to judge."""
    squares = np.full(target.shape[1::-1], np.nan)
    for out in np.unique(fold):
        weights = _ridge(design[fold != out], target[fold != out], strength)
        guess = np.einsum("nd,pdc->npc", design[fold == out], weights)
        squares[:, fold == out] = ((guess - target[fold == out]) ** 2).sum(axis=2).T
    return squares
