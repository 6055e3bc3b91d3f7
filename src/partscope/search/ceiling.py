"""The ceiling: how few gradient maps a search could do with that was told the answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.search.tally import SLACK, Tally

IntArray = NDArray[np.int64]


def fewest_maps(tally: Tally) -> int:
    """Return a number of gradient maps that no bounded search can fall below, whatever its order.

    The imagined search knows the winners and their costs from the start, and for every other channel the images that exclude
    it, each channel its own, the largest charges first. It computes the winners in all images, since somebody must show their
    costs, and of every other channel as many images as its sums need to exceed the limits of all parts. It shares the knowledge
    which cells have no centre.

    Where a charge is not known, the largest possible one stands for it: the distance to the farthest corner. After a search the
    number is therefore lower than with the whole table known (`tally.finish` of all channels), and holds all the same.

    Parameters
    ----------
    tally: after a search.
    """
    images = np.arange(len(tally.known))
    far = tally.charges.of(images, np.full((len(images), 2), np.nan))
    bounds, shown = tally.bounds(), tally.shown
    limits = tally.limits(bounds) * (1 + SLACK)
    winners = _winners(tally, bounds)
    fewest = 0
    for k in range(tally.known.shape[1]):
        live = ~tally.silent[:, k]
        if k in winners:
            fewest += int(live.sum())
            continue
        charge = np.where(tally.known[:, k, None], tally.charges_of(k), far)
        fewest += min(int(live.sum()), _fewest(tally, charge, live, limits, shown))
    return fewest


def _winners(tally: Tally, bounds: NDArray[np.float64]) -> set[int]:
    finished = np.flatnonzero(tally.complete)
    rows = bounds[tally.shown][:, finished]
    best = np.argsort(rows, axis=1, kind="stable")[:, : tally.top]
    return set(finished[best].ravel().tolist())


def _fewest(
    tally: Tally,
    charge: NDArray[np.float64],
    live: NDArray[np.bool_],
    limits: NDArray[np.float64],
    shown: NDArray[np.bool_],
) -> int:
    """Return how many images exclude one channel at the least: for each part its largest charges first."""
    count = tally.charges.images
    if tally.charges.rule == "median":
        # The middle one of the values, or one of the two, must be among those looked at or silent.
        silent = (tally.charges.visible & ~live[:, None]).sum(axis=0)
        needed = (count + 1) // 2 - silent
        return max(0, int(needed[shown].max(initial=0)))
    start = np.where(live[:, None], 0.0, charge).sum(axis=0)
    largest = np.sort(charge[live], axis=0)[::-1]
    sums = np.concatenate([start[None], start + np.cumsum(largest, axis=0)])
    exceeds = sums > limits * count
    needed = np.where(exceeds.any(axis=0), np.argmax(exceeds, axis=0), len(largest))
    return int(needed[shown].max(initial=0))
