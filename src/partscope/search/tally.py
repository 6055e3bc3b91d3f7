"""The state of a search: which cells are known, and what they say about every channel's cost for every part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.search.cells import Cells
from partscope.search.charges import Charges

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Sums are added up in the order of the search, costs in the order of the images: they may differ in the last digits, and no
#: channel is dropped for these. (A float64 sum of n terms is off by less than n·1.2e-16 of itself.)
SLACK = 1e-9


class Tally:
    """What is known of all channels, and what it cost.

    Parameters
    ----------
    cells: where centres come from.
    charges: of the same N images.
    silent: (N, K) cells that are known to have no centre; they are never looked at.
    top: the costs of how many channels per part are wanted.

    Attributes
    ----------
    centres: (N, K, 2) float32, NaN where a cell is not known or has no centre.
    known: (N, K).
    sums: (P, K) of the known cells' charges.
    maps: cells looked at. forwards: visits to images, each of which costs one forward pass.
    """

    def __init__(self, cells: Cells, charges: Charges, silent: BoolArray, top: int = 1) -> None:
        self._cells = cells
        self.charges = charges
        self.top = top
        images, channels = cells.shape
        self.centres: NDArray[np.float32] = np.full((images, channels, 2), np.nan, dtype=np.float32)
        self.silent: BoolArray = np.array(silent, dtype=bool)
        self.known: BoolArray = self.silent.copy()
        # A silent cell is charged what any missing centre is, whatever the channel.
        far = charges.of(np.arange(images), np.full((images, 2), np.nan))
        self.sums: FloatArray = far.T @ self.known
        self.maps = 0
        self.forwards = 0

    def look(self, wanted: BoolArray) -> None:
        """Look at cells, (N, K) bool; those that are known already cost nothing."""
        images, channels = np.nonzero(wanted & ~self.known)
        if not len(images):
            return
        found = self._cells.look(images, channels)
        self.centres[images, channels] = found
        self.known[images, channels] = True
        np.add.at(self.sums.T, channels, self.charges.of(images, found))
        self.maps += len(images)
        self.forwards += len(np.unique(images))

    def finish(self, channels: BoolArray) -> None:
        """Look at everything that is not known of some channels, (K,) bool."""
        self.look(np.broadcast_to(channels, self.known.shape))

    def charges_of(self, channel: int) -> FloatArray:
        """Return one channel's charges in all images, (N, P); meaningless where the cell is not known."""
        return self.charges.of(np.arange(len(self.known)), self.centres[:, channel])

    @property
    def complete(self) -> BoolArray:
        """(K,) channels that are known in every image."""
        return np.asarray(self.known.all(axis=0))

    @property
    def shown(self) -> BoolArray:
        """(P,) parts that some image shows."""
        return self.charges.images > 0

    def bounds(self) -> FloatArray:
        """(P, K) lower bounds of the costs, exact for a complete channel: the rule's value with 0 for unknown cells.

        NaN for a part that is never visible.
        """
        images, shown = self.charges.images, self.shown
        value = np.full(self.sums.shape, np.nan)
        if self.charges.rule != "median":
            value[shown] = self.sums[shown] / images[shown, None]
            return value
        for k in range(self.known.shape[1]):
            charge = np.where(self.known[:, k, None], self.charges_of(k), 0.0)
            for p in np.flatnonzero(shown).tolist():
                value[p, k] = np.median(charge[self.charges.visible[:, p], p])
        return value

    def limits(self, bounds: FloatArray) -> FloatArray:
        """(P,) the cost that a channel must not exceed to be among the `top` best: that of the worst of the best known."""
        finished = bounds[:, self.complete]
        if finished.shape[1] < self.top:
            return np.full(len(bounds), np.inf)
        limits: FloatArray = np.sort(finished, axis=1)[:, self.top - 1]
        return limits

    def open(self) -> BoolArray:
        """(P, K) pairs that are undecided: the channel is not complete, and its bound does not exceed the part's limit.

        A channel that reaches the limit exactly stays: the lower number wins a tie.
        """
        bounds = self.bounds()
        limits = self.limits(bounds)
        within = bounds <= (limits * (1 + SLACK))[:, None]
        return within & ~self.complete & self.shown[:, None]
