"""The consensus of exemplars, as partscope has it, and no model at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from arrangement_models.evidence import Evidence
from arrangement_models.poses import normalised
from partscope.arrangement import consensus as search
from partscope.arrangement import decoding
from partscope.arrangement.consensus import Consensus, consensus
from partscope.arrangement.model import GROUPS, SCALES
from partscope.arrangement.shapes import Shapes, make_shapes, unit_of

FloatArray = NDArray[np.float64]


#: Deviations of a part from a single arrangement, and weights of its own evidence, that are compared.
SPREADS, OWN_WEIGHTS = (0.07, 0.1, 0.14), (0.5, 0.7, 1.0)


@contextmanager
def constants(spread: float, own: float) -> Iterator[None]:
    """Replace two numbers of the product while the block lasts."""
    before = search.FINE_SPREAD, decoding.OWN_WEIGHT
    search.FINE_SPREAD, decoding.OWN_WEIGHT = spread, own
    try:
        yield
    finally:
        search.FINE_SPREAD, decoding.OWN_WEIGHT = before


class Exemplars:
    """Every training arrangement and its mirror image is a hypothesis."""

    name = "consensus of exemplars"

    def __init__(self) -> None:
        self._shapes: Shapes

    def fit(self, train: Evidence) -> None:
        """Learn from training images."""
        self._shapes = make_shapes(train.points, train.visible, train.sizes, train.mirror, GROUPS, SCALES)

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return what the other parts say about each part."""
        return consensus(ratios, size, self._shapes)


class Alone:
    """No model: the other parts say nothing."""

    name = "each part alone"

    def __init__(self) -> None:
        self._share: FloatArray
        self._size: float

    def fit(self, train: Evidence) -> None:
        """Learn how often parts are visible, and the size of objects."""
        rate = train.visible.mean(axis=0)
        self._share = (rate + rate[train.mirror]) / 2
        place = train.points * (train.sizes / unit_of(train.sizes)[:, None])[:, None]
        seen = train.visible.sum(axis=1) > 1
        extent = np.nanmax(place[seen], axis=1) - np.nanmin(place[seen], axis=1)
        self._size = float(np.exp(np.log(np.hypot(*extent.T)).mean()))

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return even expectations."""
        return Consensus(self._share, normalised(np.ones_like(ratios)), self._size)
