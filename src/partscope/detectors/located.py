"""`Located`: what a method finds in one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Located(NamedTuple):
    """What a method finds in one image; a method returns as many of the last two as it has.

    Parameters
    ----------
    points: (P, 2) pixels; found, visible: (P,) bool; score: (P,) in [0, 1].
    expected_error: (P,) pixels, NaN where unknown.
    box: (4,) predicted `(x, y, width, height)` in pixels, inside the image; None where there is none.
    """

    points: NDArray[np.float64]
    found: NDArray[np.bool_]
    score: NDArray[np.float64]
    visible: NDArray[np.bool_]
    expected_error: NDArray[np.float64] | None = None
    box: NDArray[np.float64] | None = None


def stacked(rows: Sequence[NDArray[np.float64] | None], width: int) -> NDArray[np.float64] | None:
    """Return rows (width,) as one array, NaN for those that are None; None if all are."""
    if all(row is None for row in rows):
        return None
    return np.array([np.full(width, np.nan) if row is None else row for row in rows])
