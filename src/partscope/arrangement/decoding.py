"""From what the other parts expect and the part's own evidence to a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.arrangement.consensus import Consensus
from partscope.arrangement.shapes import unit_of

FloatArray = NDArray[np.float64]

#: Exponent of a part's own likelihood ratio beside the other parts' expectation: neighbouring cells see the same pixels,
#: so their ratios are no independent witnesses.
OWN_WEIGHT = 0.7
#: Standard deviation, in object sizes, of the window in which the evidence alone sets the final point.
WINDOW = 0.2


@dataclass(frozen=True, eq=False)
class Decoded:
    """Points of one image; lengths are relative to √(W·H).

    Parameters
    ----------
    middle: (P, 2) the point with the smallest expected distance under the posterior.
    local: (P, 2) mean of the evidence in a window around `middle`.
    spread: (P,) expected distance between the part and `middle` under the posterior.
    share: (P,) visible share of the arrangements; support: (P,) log ratio of the part's map where it is expected.
    strength: (P,) log of the map's mean ratio: evidence for the part anywhere.
    size: the object's size.
    """

    middle: FloatArray
    local: FloatArray
    spread: FloatArray
    share: FloatArray
    support: FloatArray
    strength: FloatArray
    size: float


def decode(ratios: FloatArray, found: Consensus, size: FloatArray) -> Decoded:
    """Turn ratios (P, h, w) and the arrangements' consensus into points.

    The point of a distribution that has the smallest expected Euclidean distance is its geometric median (Weiszfeld's
    iteration), not its mean, which falls between two peaks.
    """
    parts, rows, columns = ratios.shape
    y, x = np.mgrid[0:rows, 0:columns]
    unit = size / unit_of(size)
    places = np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows], axis=1) * unit
    cell = 0.25 * unit.prod() / (rows * columns)
    flat, expected = ratios.reshape(parts, -1), found.expected.reshape(parts, -1)
    own = flat**OWN_WEIGHT
    posterior = expected * own
    posterior /= posterior.sum(axis=1, keepdims=True)
    middle = posterior @ places
    for _ in range(6):
        weight = posterior / np.sqrt(_squared(places, middle) + cell)
        middle = weight @ places / weight.sum(axis=1, keepdims=True)
    squared = _squared(places, middle)
    spread = (posterior * np.sqrt(squared)).sum(axis=1)
    window = own * np.exp(-0.5 * squared / ((WINDOW * found.size) ** 2 + cell))
    total = window.sum(axis=1, keepdims=True)
    local = np.where(total > 0, window @ places / np.where(total > 0, total, 1.0), middle)
    return Decoded(
        middle=middle,
        local=local,
        spread=spread,
        share=found.share,
        support=np.log((expected * flat).sum(axis=1)),
        strength=np.log(flat.mean(axis=1)),
        size=found.size,
    )


def _squared(places: FloatArray, points: FloatArray) -> FloatArray:
    """Return squared distances (P, C) between points (P, 2) and places (C, 2)."""
    cross = points @ places.T
    squared = (points**2).sum(axis=1)[:, None] + (places**2).sum(axis=1) - 2 * cross
    return np.asarray(np.maximum(squared, 0.0))
