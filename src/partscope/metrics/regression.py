"""The regression protocol of the part-discovery literature (protocol, section 5).

Parts that were discovered without names cannot be compared with annotated ones directly. A linear map from the
discovered centres to the annotated parts is fitted on training images, and its error on test images is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import DatasetError
from partscope.metrics.normalised import mean, part_means

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RegressionError:
    """Result of the regression protocol.

    Parameters
    ----------
    error: mean of 100·√((dx/w)² + (dy/h)²) over all judged pairs, w and h of the ground-truth box.
    per_part: (P,) the same for each annotated part; NaN for a part without a judged pair.
    pairs: judged (test image, part) pairs.
    left_out: visible test pairs of parts that are never visible in the training images.
    """

    error: float
    per_part: FloatArray
    pairs: int
    left_out: int


@dataclass(frozen=True, eq=False)
class LinearPartMap:
    """Linear map from box-relative centres of K discovered parts, plus a constant, to P annotated parts.

    Parameters
    ----------
    weights: (P, 2K + 1, 2), the constant last; NaN for a part that is never visible in training.
    typical: (K, 2) mean box-relative centres in training, taken for a centre that was not found.
    """

    weights: FloatArray
    typical: FloatArray

    @classmethod
    def fit(cls, centres: ArrayLike, boxes: ArrayLike, points: ArrayLike) -> LinearPartMap:
        """Fit the map by least squares, for each part over the images in which it is visible.

        With fewer images than coefficients the solution of smallest norm is taken. A centre that was not found is
        replaced by the mean of that centre over the training images (the box's middle if it was never found).

        Parameters
        ----------
        centres: (N, K, 2) discovered centres in pixels, NaN where not found.
        boxes: (N, 4) `(x, y, width, height)` in pixels.
        points: (N, P, 2) annotated positions in pixels, NaN where not visible.

        Raises
        ------
        DatasetError: shapes do not fit or an image has no box.
        """
        found, box, truth = _arrays(centres, boxes, points)
        relative = _to_box(found, box)
        known = np.isfinite(relative)
        count = known.sum(axis=0)
        total = np.where(known, relative, 0.0).sum(axis=0)
        typical = np.where(count > 0, total / np.maximum(count, 1), 0.5)
        design = _design(relative, typical)
        target = _to_box(truth, box)
        weights = np.full((truth.shape[1], design.shape[1], 2), np.nan)
        for part in range(truth.shape[1]):
            seen = np.isfinite(target[:, part]).all(axis=1)
            if seen.any():
                weights[part] = np.linalg.lstsq(design[seen], target[seen, part], rcond=None)[0]
        return cls(weights, typical)

    def predict(self, centres: ArrayLike, boxes: ArrayLike) -> FloatArray:
        """Return (N, P, 2) positions in pixels; NaN for parts that are never visible in training."""
        points = np.empty((len(np.asarray(centres)), len(self.weights), 2))
        found, box, _ = _arrays(centres, boxes, points)
        if found.shape[1] != len(self.typical):
            raise DatasetError(
                f"regression protocol: the map was fitted on {len(self.typical)} discovered parts, not {found.shape[1]}."
            )
        relative = np.einsum("nd,pdc->npc", _design(_to_box(found, box), self.typical), self.weights)
        return np.asarray(box[:, None, :2] + relative * box[:, None, 2:])


def regression_error(predicted: ArrayLike, boxes: ArrayLike, points: ArrayLike) -> RegressionError:
    """Return 100·√((dx/w)² + (dy/h)²) over the visible pairs.

    The norm is per axis of the box and not divided by √2, as the part-discovery literature reports it; it is √2·100
    times :func:`partscope.metrics.axes_error`.
    """
    guess, box, truth = _arrays(predicted, boxes, points)
    visible = np.isfinite(truth).all(axis=2)
    offset = (guess - truth) / box[:, None, 2:]
    errors = 100.0 * np.hypot(offset[..., 0], offset[..., 1])
    judged = np.isfinite(errors)
    return RegressionError(
        mean(errors), part_means(errors), int(judged.sum()), int((visible & ~judged).sum())
    )


def _arrays(
    centres: ArrayLike, boxes: ArrayLike, points: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    first, box, last = (np.asarray(array, dtype=np.float64) for array in (centres, boxes, points))
    count = len(first)
    if first.ndim != 3 or first.shape[2] != 2 or box.shape != (count, 4) or last.shape[::2] != (count, 2):
        raise DatasetError(
            "regression protocol: centres (N, K, 2), boxes (N, 4) and points (N, P, 2) are needed, "
            f"not {first.shape}, {box.shape} and {last.shape}."
        )
    if not np.isfinite(box).all():
        row = int(np.flatnonzero(~np.isfinite(box).all(axis=1))[0])
        raise DatasetError(f"regression protocol: image {row} has no box; leave it out.")
    return first, box, last


def _to_box(points: FloatArray, boxes: FloatArray) -> FloatArray:
    return np.asarray((points - boxes[:, None, :2]) / boxes[:, None, 2:])


def _design(relative: FloatArray, typical: FloatArray) -> FloatArray:
    filled = np.where(np.isfinite(relative), relative, typical)
    return np.concatenate([filled.reshape(len(filled), -1), np.ones((len(filled), 1))], axis=1)
