"""The object's bounding box from the parts that were found, in closed form.

A ridge regression predicts the four sides, relative to the arrangement's centre in object sizes, from the place and the
visible share of every part and from the rectangle around the parts that are likelier visible than not. Iterated
reweighting makes it minimise distances instead of their squares: of an object that was not found at all nothing can be
learned about boxes. Training images count twice, as they are and mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Ridge strengths that are compared by leaving images out, by the overlap of the boxes.
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 1000.0)
#: Groups of images that are left out in turn; with fewer images that have a box none is predicted.
FOLDS = 4
#: Distance, in object sizes, below which reweighting stops to favour the nearer; rounds of reweighting.
FLOOR, ROUNDS = 0.05, 3
_FLIP = np.array([-1.0, 1.0])


@dataclass(frozen=True, eq=False)
class BoxModel:
    """Predicts the sides `(left, top, right, bottom)` of the object's box.

    Parameters
    ----------
    weights: (D + 1, 4) coefficients; the last row is the constant.
    overlap: mean intersection over union with the marked boxes in images that were left out.
    """

    weights: FloatArray
    overlap: float

    def __call__(self, points: FloatArray, share: FloatArray, size: float) -> FloatArray:
        """Return the four sides in the unit of `points`.

        Parameters
        ----------
        points: (P, 2) the parts that were found.
        share: (P,) how surely each is visible, in [0, 1].
        size: the object's size in the unit of `points`.
        """
        row, centre = _features(points[None], share[None], np.array([size]))
        sides = row[0] @ self.weights[:-1] + self.weights[-1]
        return np.asarray(sides * size + np.tile(centre[0], 2))


def fit_boxes(
    points: FloatArray, share: FloatArray, size: FloatArray, sides: FloatArray, mirror: NDArray[np.intp]
) -> BoxModel | None:
    """Fit the box model, or return None where too few images have a box.

    Parameters
    ----------
    points: (N, P, 2) the parts that were found in training images whose own arrangement was left out.
    share: (N, P); size: (N,) as for :class:`BoxModel`.
    sides: (N, 4) marked boxes as `(left, top, right, bottom)` in the unit of `points`, NaN rows where there is none.
    mirror: (P,) the part that each part becomes in a mirrored image.
    """
    used = np.isfinite(sides).all(axis=1)
    if used.sum() < FOLDS:
        return None
    points, share, size, sides = points[used], share[used], size[used], sides[used]
    straight, centre = _features(points, share, size)
    target = (sides - np.tile(centre, 2)) / size[:, None]
    flipped, _ = _features(points[:, mirror] * _FLIP, share[:, mirror], size)
    features = np.concatenate([straight, flipped])
    targets = np.concatenate([target, _mirrored(target)])
    fold = np.arange(len(points)) % FOLDS
    both = np.tile(fold, 2)
    overlap = np.zeros(len(STRENGTHS))
    for index in range(FOLDS):
        test = fold == index
        fitted = _solve(features[both != index], targets[both != index], STRENGTHS)
        for row, weights in enumerate(fitted):
            overlap[row] += _overlap(straight[test] @ weights[:-1] + weights[-1], target[test]).sum()
    best = int(overlap.argmax())
    weights = _solve(features, targets, STRENGTHS[best : best + 1])[0]
    return BoxModel(weights, float(overlap[best] / len(points)))


def _features(points: FloatArray, share: FloatArray, size: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return features (N, 3·P + 4) and the centres (N, 2) that places are relative to."""
    centre = points.mean(axis=1)
    place = (points - centre[:, None]) / size[:, None, None]
    seen = share > 0.5
    seen = np.where(seen.any(axis=1, keepdims=True), seen, True)[..., None]
    low = np.where(seen, place, np.inf).min(axis=1)
    high = np.where(seen, place, -np.inf).max(axis=1)
    rows = np.concatenate([place.reshape(len(place), -1), share - 0.5, low, high], axis=1)
    return rows, centre


def _mirrored(sides: FloatArray) -> FloatArray:
    return np.asarray(sides[:, [2, 1, 0, 3]] * np.tile(_FLIP, 2))


def _solve(features: FloatArray, target: FloatArray, strengths: Sequence[float]) -> list[FloatArray]:
    """Return (D + 1, 4) coefficients for every strength; the constant is not penalised."""
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-3
    rows = np.concatenate([(features - centre) / spread, np.ones((len(features), 1))], axis=1)
    ridge = np.eye(rows.shape[1])
    ridge[-1, -1] = 1e-9
    weight = np.ones(len(rows))
    result = []
    for turn in range(ROUNDS + 1):
        weighted = rows * weight[:, None]
        gram, right = weighted.T @ rows, weighted.T @ target
        if turn == ROUNDS:
            break
        # The weights come from the middle strength: they say which images are mistakes, and that hardly depends on it.
        middle = strengths[len(strengths) // 2] * weight.mean()
        residual = target - rows @ np.linalg.solve(gram + middle * ridge, right)
        weight = 1 / np.sqrt((residual**2).sum(axis=1) + FLOOR**2)
    for strength in strengths:
        fitted = np.linalg.solve(gram + strength * weight.mean() * ridge, right)
        slopes = fitted[:-1] / spread[:, None]
        result.append(np.concatenate([slopes, fitted[-1:] - (centre @ slopes)[None]]))
    return result


def _overlap(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the intersection over union (N,) of rectangles given by their sides (N, 4)."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=1)
    areas = [np.clip(sides[:, 2:] - sides[:, :2], 0.0, None).prod(axis=1) for sides in (first, second)]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-12))
