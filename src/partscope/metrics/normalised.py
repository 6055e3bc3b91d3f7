"""Normalised localisation errors, their summaries, and skill (protocol, section 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def diagonal_error(predicted: ArrayLike, points: ArrayLike, diagonal: ArrayLike) -> FloatArray:
    """Return ‖ẑ − z‖ / √(w² + h²).

    Parameters
    ----------
    predicted, points: (N, P, 2) positions in pixels.
    diagonal: (N,) the scale in pixels, by default the diagonal of the ground-truth box.

    Returns
    -------
    (N, P) float64; NaN where a position or the scale is.
    """
    offset = np.asarray(predicted, dtype=np.float64) - np.asarray(points, dtype=np.float64)
    return np.asarray(
        np.hypot(offset[..., 0], offset[..., 1]) / np.asarray(diagonal, dtype=np.float64)[:, None]
    )


def axes_error(predicted: ArrayLike, points: ArrayLike, sides: ArrayLike) -> FloatArray:
    """Return √((dx/w)² + (dy/h)²) / √2, the definition of Part Transfer.

    Equal to :func:`diagonal_error` for square boxes only.

    Parameters
    ----------
    predicted, points: (N, P, 2) positions in pixels.
    sides: (N, 2) width and height of the ground-truth box in pixels.

    Returns
    -------
    (N, P) float64; NaN where a position or the scale is.
    """
    offset = np.asarray(predicted, dtype=np.float64) - np.asarray(points, dtype=np.float64)
    relative = offset / np.asarray(sides, dtype=np.float64)[:, None]
    return np.asarray(np.hypot(relative[..., 0], relative[..., 1]) / np.sqrt(2.0))


def mean(errors: FloatArray) -> float:
    """Return the mean over all pairs that are not NaN; NaN when there are none."""
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if known.size else float("nan")


def median(errors: FloatArray) -> float:
    """Return the median over all pairs that are not NaN; NaN when there are none."""
    known = errors[np.isfinite(errors)]
    return float(np.median(known)) if known.size else float("nan")


def part_means(errors: FloatArray) -> FloatArray:
    """Return `(P,)` means of `(N, P)` errors over the images in which each is not NaN; NaN when there are none."""
    known = np.isfinite(errors)
    count = known.sum(axis=0)
    total = np.where(known, errors, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def macro_mean(errors: FloatArray) -> float:
    """Return the mean over parts of the parts' means: every part weighs the same, however often it is visible."""
    return mean(part_means(errors))


def skill(error: float, prior: float) -> float:
    """Return 1 − error/prior error: 0 as good as the static prior, 1 perfect, negative worse; NaN for a prior of 0."""
    return 1.0 - error / prior if prior > 0 else float("nan")
