"""Exclusion: a channel is looked at where it will probably be charged most, until its sums exceed the limits or it is complete."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.search.guide import Guide
from partscope.search.tally import Tally

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: In each round a channel is looked at in this share of the images that its exclusion probably needs. Small shares overshoot
#: less and visit each image more often.
SHARE = 0.5


def exclude(tally: Tally, guide: Guide, pairs: BoolArray | None = None) -> None:
    """Look at cells until no pair is undecided: its channel is complete, or its bound exceeds the part's limit.

    Parameters
    ----------
    tally: the state of the search, changed.
    guide: which images come first.
    pairs: (P, K) what is to be decided, everything by default.
    """
    guide.measure_images()
    guide.learn()
    while True:
        left = tally.open() if pairs is None else tally.open() & pairs
        if not left.any():
            return
        limits = tally.limits(tally.bounds())
        wanted = np.zeros_like(tally.known)
        for k in np.flatnonzero(left.any(axis=0)).tolist():
            images = _needed(tally, guide, k, left[:, k], limits)
            wanted[images[: int(np.ceil(SHARE * len(images)))], k] = True
        tally.look(wanted)


def exclude_easy(tally: Tally, guide: Guide, most: int) -> None:
    """Look once at each undecided channel for whose exclusion at most `most` images are expected to do."""
    left = tally.open()
    limits = tally.limits(tally.bounds())
    wanted = np.zeros_like(tally.known)
    for k in np.flatnonzero(left.any(axis=0)).tolist():
        images = _needed(tally, guide, k, left[:, k], limits)
        if len(images) <= most:
            wanted[images, k] = True
    tally.look(wanted)


def _needed(
    tally: Tally, guide: Guide, channel: int, parts: BoolArray, limits: FloatArray
) -> NDArray[np.int64]:
    """Return the images that will probably exclude a channel from its open parts, the most telling first; at least one."""
    unknown = np.flatnonzero(~tally.known[:, channel])
    gain, need = _gains(tally, guide, channel, limits)
    gain, need = gain[unknown][:, parts], need[parts]
    worth = np.minimum(gain / np.maximum(need, 1e-12), 1.0).sum(axis=1)
    order = np.argsort(-worth, kind="stable")
    reached = (np.cumsum(gain[order], axis=0) > need).all(axis=1)
    return unknown[order[: int(np.argmax(reached)) + 1 if reached.any() else len(order)]]


def _gains(tally: Tally, guide: Guide, channel: int, limits: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what an image probably adds, (N, P), and what is still needed to exclude the channel, (P,)."""
    expected, images = guide.charges(channel), tally.charges.images
    if tally.charges.rule != "median":
        return expected, limits * images - tally.sums[:, channel]
    # More than half of the values must exceed the limit.
    above = (
        np.where(tally.known[:, channel, None], tally.charges_of(channel) > limits, False)
        & tally.charges.visible
    )
    return (expected > limits) + 0.01 * expected, images // 2 + 0.5 - above.sum(axis=0)
