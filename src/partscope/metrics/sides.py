"""Exchanged sides: does a method tell left from right? (protocol, section 5, definitions a and b)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Two predicted points closer than this share of the box diagonal do not tell the sides apart.
SAME_PLACE = 0.01


@dataclass(frozen=True)
class SideCount:
    """How often the sides of a left/right pair were mistaken.

    Parameters
    ----------
    wrong: mistaken cases; an undecided case counts one half.
    total: cases that could be judged.
    left_out: cases that could not, because the method did not find both parts.
    """

    wrong: float
    total: int
    left_out: int = 0

    @property
    def share(self) -> float:
        """`wrong / total`; NaN without a case."""
        return self.wrong / self.total if self.total else float("nan")

    def __add__(self, other: SideCount) -> SideCount:
        """Count the cases of both, for instance those of definitions (a) and (b)."""
        return SideCount(self.wrong + other.wrong, self.total + other.total, self.left_out + other.left_out)


def exchanged_sides(
    predicted: FloatArray, points: FloatArray, pairs: Sequence[tuple[int, int]], diagonal: FloatArray
) -> SideCount:
    """Definition (a): where both sides are visible, is the swapped assignment nearer?

    A case is exchanged if ‖l̂ − r‖ + ‖r̂ − l‖ < ‖l̂ − l‖ + ‖r̂ − r‖. A tie counts half, and so do two predicted points
    less than 1 % of the diagonal apart: a method that puts both eyes on one spot has not chosen a side.

    Parameters
    ----------
    predicted: (N, P, 2) pixels, NaN where not found.
    points: (N, P, 2) pixels, NaN where not visible.
    pairs: indices of the left and the right part of each pair.
    diagonal: (N,) box diagonals in pixels.
    """
    wrong, total, left_out = 0.0, 0, 0
    for left, right in pairs:
        both = np.isfinite(points[:, [left, right]]).all(axis=(1, 2))
        found = np.isfinite(predicted[:, [left, right]]).all(axis=(1, 2))
        left_out += int((both & ~found).sum())
        take = both & found
        guess, truth = predicted[take], points[take]
        straight = _distance(guess[:, left], truth[:, left]) + _distance(guess[:, right], truth[:, right])
        swapped = _distance(guess[:, left], truth[:, right]) + _distance(guess[:, right], truth[:, left])
        together = _distance(guess[:, left], guess[:, right]) < SAME_PLACE * diagonal[take]
        undecided = together | (straight == swapped)
        wrong += float(np.where(undecided, 0.5, swapped < straight).sum())
        total += int(take.sum())
    return SideCount(wrong, total, left_out)


def wrong_sides(visibility: FloatArray, visible: BoolArray, pairs: Sequence[tuple[int, int]]) -> SideCount:
    """Definition (b): where exactly one side is visible, does the other side get the higher visibility?

    Equal visibilities count half.

    Parameters
    ----------
    visibility: (N, P) how strongly the method believes in each part; only its order within a pair matters.
    visible: (N, P) visibility in the ground truth.
    pairs: indices of the left and the right part of each pair.
    """
    wrong, total = 0.0, 0
    for left, right in pairs:
        one = visible[:, left] ^ visible[:, right]
        lead = np.where(visible[one, left], 1.0, -1.0) * (visibility[one, left] - visibility[one, right])
        wrong += float(np.where(lead == 0, 0.5, lead < 0).sum())
        total += int(one.sum())
    return SideCount(wrong, total)


def _distance(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.hypot(a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]))
