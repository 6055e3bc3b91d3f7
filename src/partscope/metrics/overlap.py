"""Overlap of predicted boxes with marked ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import DatasetError

FloatArray = NDArray[np.float64]


def box_overlap(predicted: ArrayLike, boxes: ArrayLike) -> FloatArray:
    """Return the intersection over union (N,) of predicted and marked boxes.

    Parameters
    ----------
    predicted: (N, 4) `(x, y, width, height)`; a NaN row, no box predicted, overlaps by 0.
    boxes: (N, 4); a NaN row, no box marked, gives NaN.

    Raises
    ------
    DatasetError: shapes are not (N, 4) both.
    """
    first, second = np.asarray(predicted, dtype=np.float64), np.asarray(boxes, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 4:
        raise DatasetError(
            f"overlap: predicted and marked boxes must both be (N, 4), not {first.shape} and {second.shape}."
        )
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=1)
    union = first[:, 2:].prod(axis=1) + second[:, 2:].prod(axis=1) - common
    shared = common / np.where(union > 0, union, np.nan)
    shared = np.where(np.isnan(first).any(axis=1), 0.0, shared)
    return np.asarray(np.where(np.isnan(second).any(axis=1), np.nan, shared))
