"""Racing: channels are compared on a growing random sample of the images, and dropped by a confidence bound.

The bound is one-sided, on a channel's cost over *these* N images, a finite population that is sampled without replacement
(:mod:`partscope.search.bounds`). The guide knows the charges of the first complete channels in every image, so that the comparison is a
paired one. A mean of plain differences was tried and lost winners more often than δ allows: squared distances are skewed, and a
channel that hits its part everywhere had all its spread from the prediction.

A channel is dropped for a part if its lower bound lies above the *exact* cost of a complete channel. So the winner is lost only if
its own bound fails at some look: the risk δ is shared by parts, ranks and looks, and the number of
channels does not matter. The looks in the middle, at which most channels are decided, have larger shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.search.bounds import CAP, estimates, lower_bounds
from partscope.search.exclusion import exclude, exclude_easy
from partscope.search.guide import Capped, Guide
from partscope.search.tally import SLACK, Tally

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Sizes of the sample at the looks: the first, the factor from one to the next, and the largest share of the images.
FIRST_LOOK, GROWTH, LAST_LOOK = 11, 1.3, 0.8

#: How much of the risk goes to a look falls off like a Gaussian in the logarithm of its size, around this many images.
MOST_DECIDED, WIDTH = 28, 0.8

#: In how many images a channel is looked at once before the race, if they probably exclude it.
EASY = 6

#: The first champions are chosen among this many channels per part, on this many images.
CANDIDATES, PLAY_OFF = 2, 12

#: A channel is completed early, to lower a limit, if its estimate lies this many standard errors below it, from so many images.
CAUTION, EARLY = 2.0, 20

#: The order in which images are sampled is drawn once, with this seed: it must not depend on what is searched.
SEED = 0


def looks(images: int) -> list[int]:
    """Return the sizes of the sample at which channels may be dropped, for N images."""
    sizes: list[int] = []
    size = float(FIRST_LOOK)
    while size <= LAST_LOOK * images:
        sizes.append(int(size))
        size *= GROWTH
    return sizes


def shares(sizes: list[int]) -> FloatArray:
    """Return the looks' shares of the risk; they add up to one, and depend on the sizes alone."""
    weight = np.exp(-0.5 * (np.log(np.maximum(sizes, 1) / MOST_DECIDED) / WIDTH) ** 2)
    share: FloatArray = weight / max(weight.sum(), 1e-300)
    return share


def sample_order(images: int, purpose: int = 0) -> IntArray:
    """Return the order in which N images are sampled, by position; those of different purposes are independent."""
    order: IntArray = np.random.default_rng((SEED, purpose)).permutation(images)
    return order


def race(tally: Tally, guide: Guide, delta: float) -> int:
    """Complete the channels that cannot be told from the best at the risk `delta`; all others are dropped.

    Afterwards the `top` best channels of every part are complete, but for a risk of `delta`.

    Parameters
    ----------
    tally: the state of the search, changed.
    guide: predictions.
    delta: the probability that one of the `top` best channels of any part is lost.

    Returns
    -------
    The number of comparisons that were made: pairs of a part and a channel, over all looks.
    """
    images = len(tally.known)
    order = sample_order(images)
    sizes = looks(images)
    levels = delta * shares(sizes) / max(1, int(tally.shown.sum()) * tally.top)
    find_champions(tally, guide)
    exclude_easy(tally, guide, EASY)
    chosen = tally.known.copy()  # outside the population that is sampled from here on
    racing = tally.open()
    compared = 0
    for size, level in zip(sizes, levels.tolist(), strict=True):
        if not racing.any():
            break
        sample = np.zeros(images, dtype=bool)
        sample[order[:size]] = True
        tally.look(sample[:, None] & racing.any(axis=0))
        guide.learn()
        racing &= tally.open()
        compared += int(racing.sum())
        drawn = tally.known & ~chosen
        estimate, error, count = estimates(tally, guide, racing, drawn)
        tally.finish(_challengers(tally, racing & (count >= EARLY), estimate + CAUTION * error))
        limits = _limits(tally)
        # A limit of zero cannot be beaten by less, and caps nothing.
        cap = np.where(limits > 0, CAP * limits, np.inf)[:, 0]
        lower = lower_bounds(tally, Capped(guide, cap), np.asarray(racing.any(axis=0)), drawn, level)
        racing &= tally.open() & (lower <= limits)
    if racing.any():
        guide.learn()
        tally.finish(_leaders(np.where(racing, guide.costs(), np.inf), tally.top))
        exclude(tally, guide, racing)
    return compared


def find_champions(tally: Tally, guide: Guide) -> None:
    """Complete for each part the channels that look best on a few images: they set the first limits.

    The images are drawn independently of the race's: on the images that they were chosen on, champions look better than they
    are, and what is compared with them worse.
    """
    shown = tally.shown[:, None]
    costs = np.where(shown, guide.costs(), np.inf)
    candidates = _leaders(costs, CANDIDATES * tally.top)
    some = np.zeros(len(tally.known), dtype=bool)
    some[sample_order(len(some), purpose=1)[:PLAY_OFF]] = True
    before = tally.known.copy()
    tally.look(some[:, None] & candidates)
    pairs = shown & candidates
    estimate, _, _ = estimates(tally, guide, pairs, tally.known & ~before)
    tally.finish(_leaders(np.where(pairs, estimate, np.inf), tally.top))
    guide.measure_images()
    guide.learn()


def _limits(tally: Tally) -> FloatArray:
    limits: FloatArray = tally.limits(tally.bounds())[:, None] * (1 + SLACK)
    return limits


def _leaders(costs: FloatArray, most: int) -> BoolArray:
    """(K,) channels among the `most` with the smallest finite costs of some part."""
    chosen = np.zeros(costs.shape[1], dtype=bool)
    for row in costs:
        best = np.argsort(row, kind="stable")[:most]
        chosen[best[np.isfinite(row[best])]] = True
    return chosen


def _challengers(tally: Tally, racing: BoolArray, cautious: FloatArray) -> BoolArray:
    """(K,) channels that are expected to beat the best known of some part: the best of each part, to lower the limit."""
    better = racing & (cautious < _limits(tally))
    return _leaders(np.where(better, cautious, np.inf), tally.top)
