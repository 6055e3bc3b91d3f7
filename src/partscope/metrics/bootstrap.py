"""Percentile bootstrap over images: intervals of a mean error and of the difference of two methods.

Images are resampled, not pairs: the parts of one bird are right or wrong together, and an interval that ignored this
would be too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.errors import DatasetError, OptionError

FloatArray = NDArray[np.float64]

DRAWS = 2000
# Draws that are held in memory at once: 128 rows of 6,000 images are 6 MB.
_BLOCK = 128


@dataclass(frozen=True)
class PairedDifference:
    """The difference of two methods' mean errors on the same pairs, first minus second.

    Parameters
    ----------
    difference: mean of the first minus mean of the second; positive where the second has the smaller error.
    ci: (low, high) of the percentile interval.
    positive: share of the draws in which the difference is above zero.
    images, pairs: how many images and (image, part) pairs both methods have.
    """

    difference: float
    ci: tuple[float, float]
    positive: float
    images: int
    pairs: int


def resampled_means(values: FloatArray, draws: int = DRAWS, random_state: int = 0) -> FloatArray:
    """Return the mean over all pairs of each column group, for each bootstrap draw of the images.

    Parameters
    ----------
    values: (N, M, Q): N images, M quantities, Q pairs per image and quantity; NaN where there is no pair.
    draws: how often N images are drawn with replacement.
    random_state: seed; the same seed and N give the same draws, so that quantities can be compared.

    Returns
    -------
    (draws, M) float64: sum over the drawn images and their pairs, divided by the number of pairs. NaN for a draw
    without a single pair.

    Raises
    ------
    OptionError: `draws` is not positive.
    """
    if draws < 1:
        raise OptionError(f"the number of bootstrap draws must be positive, not {draws}.")
    known = np.isfinite(values)
    sums = np.where(known, values, 0.0).sum(axis=2)
    counts = known.sum(axis=2).astype(np.float64)
    pieces = []
    for weights in _weights(len(values), draws, random_state):
        total = weights @ counts
        pieces.append(np.where(total > 0, (weights @ sums) / np.maximum(total, 1.0), np.nan))
    return np.concatenate(pieces)


def _weights(images: int, draws: int, random_state: int) -> Iterator[FloatArray]:
    """Yield blocks of (draws, N): how often each image was drawn."""
    rng = np.random.default_rng(random_state)
    for start in range(0, draws, _BLOCK):
        rows = min(_BLOCK, draws - start)
        drawn = rng.integers(0, max(images, 1), size=(rows, images))
        drawn += images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)


def percentile_interval(means: FloatArray, level: float = 0.95) -> FloatArray:
    """Return the (2, ...) percentile interval of bootstrap draws along the first axis, ignoring NaN draws."""
    if not 0 < level < 1:
        raise OptionError(f"the level of an interval lies between 0 and 1, not {level}.")
    columns = means.reshape(len(means), -1)
    result = np.full((2, columns.shape[1]), np.nan)
    for m in range(columns.shape[1]):
        known = columns[np.isfinite(columns[:, m]), m]
        if known.size:
            result[:, m] = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return result.reshape(2, *means.shape[1:])


def bootstrap_interval(
    errors: FloatArray, level: float = 0.95, draws: int = DRAWS, random_state: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean of `(N, P)` errors over all pairs that are not NaN."""
    low, high = percentile_interval(
        resampled_means(errors[:, None], draws, random_state)[:, 0], level
    ).tolist()
    return low, high


def total_and_parts(errors: FloatArray) -> FloatArray:
    """Return `(N, 1 + P, P)` quantities for :func:`resampled_means`: all pairs first, then each part's alone."""
    images, parts = errors.shape
    values = np.full((images, 1 + parts, parts), np.nan)
    values[:, 0] = errors
    values[:, np.arange(1, parts + 1), 0] = errors
    return values


def paired_bootstrap(
    first: FloatArray,
    second: FloatArray,
    level: float = 0.95,
    draws: int = DRAWS,
    random_state: int = 0,
) -> PairedDifference:
    """Return the difference of two methods' mean errors, with the interval of a paired bootstrap over images.

    Parameters
    ----------
    first, second: (N, P) errors of the same images and parts; pairs that are NaN in either are left out of both.

    Raises
    ------
    DatasetError: shapes differ, or there is no pair that both have.
    """
    return paired_bootstrap_parts(first, second, level, draws, random_state)[0]


def paired_bootstrap_parts(
    first: FloatArray,
    second: FloatArray,
    level: float = 0.95,
    draws: int = DRAWS,
    random_state: int = 0,
) -> tuple[PairedDifference, list[PairedDifference | None]]:
    """Return :func:`paired_bootstrap` over all pairs and for each part, None for one without a pair, on the same draws."""
    if first.shape != second.shape:
        raise DatasetError(
            f"two methods are compared on the same images and parts, not on {first.shape} and {second.shape} errors."
        )
    gap = first - second
    gap = gap[np.isfinite(gap).any(axis=1)]
    if not gap.size:
        raise DatasetError(
            "the two methods have no (image, part) pair in common, so there is nothing to compare."
        )
    values = total_and_parts(gap)
    known = np.isfinite(values)
    pairs = known.sum(axis=(0, 2))
    differences = np.where(known, values, 0.0).sum(axis=(0, 2)) / np.maximum(pairs, 1)
    images = known.any(axis=2).sum(axis=0)
    means = resampled_means(values, draws, random_state)
    intervals = percentile_interval(means, level)

    def column(m: int) -> PairedDifference:
        drawn = means[np.isfinite(means[:, m]), m]
        low, high = intervals[:, m].tolist()
        share = float((drawn > 0).mean()) if drawn.size else float("nan")
        return PairedDifference(float(differences[m]), (low, high), share, int(images[m]), int(pairs[m]))

    return column(0), [column(m) if pairs[m] else None for m in range(1, len(pairs))]
