"""Racing: channels are compared on a growing random sample of the images, and dropped by a confidence bound.

The bound is one-sided, on a channel's cost over *these* N images, a finite population that is sampled without replacement:
the charges of the images that were looked at, plus what the guide predicts for the others times the ratio of the two in the
sample (the ratio estimator of survey sampling), with Student's quantile. The guide knows the charges of the first complete
channels in every image, so that the comparison is a paired one. A mean of plain differences was tried and lost winners more often
than δ allows: squared distances are skewed, and a channel that hits its part everywhere had all its spread from the prediction.

A channel is dropped for a part if its lower bound lies above the *exact* cost of a complete channel. So the winner is lost only if
its own bound fails at some look: the risk δ is shared by parts, ranks and looks, and the number of channels does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from partscope.search.exclusion import exclude, exclude_easy
from partscope.search.guide import Guide
from partscope.search.tally import SLACK, Tally

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Sizes of the sample at the looks: the first, the factor from one to the next, and the largest share of the images.
FIRST_LOOK, GROWTH, LAST_LOOK = 6, 1.6, 0.8

#: Below so many images in a sample, no channel is dropped.
FEWEST = 5

#: The first champions are chosen among this many channels per part, on this many images.
CANDIDATES, PLAY_OFF = 4, 16

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
    level = delta / max(1, int(tally.shown.sum()) * tally.top * len(sizes))
    # By the size of a sample; no quantile is small enough below the fewest.
    quantile = np.full(max(images + 1, FEWEST), np.inf)
    quantile[FEWEST:] = stats.t.ppf(1 - level, np.arange(FEWEST, images + 1) - 1)
    find_champions(tally, guide)
    exclude_easy(tally, guide, FIRST_LOOK)
    chosen = tally.known.copy()  # outside the population that is sampled from here on
    racing = tally.open()
    compared = 0
    for size in sizes:
        if not racing.any():
            break
        sample = np.zeros(images, dtype=bool)
        sample[order[:size]] = True
        tally.look(sample[:, None] & racing.any(axis=0))
        guide.learn()
        racing &= tally.open()
        compared += int(racing.sum())
        estimate, error, count = estimates(tally, guide, racing, tally.known & ~chosen)
        tally.finish(_challengers(tally, racing & (count >= EARLY), estimate + CAUTION * error))
        lower = np.where(count < FEWEST, -np.inf, estimate - np.minimum(quantile[count], 1e9) * error)
        racing &= tally.open() & (lower <= _limits(tally))
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


def estimates(
    tally: Tally, guide: Guide, pairs: BoolArray, drawn: BoolArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return estimated costs, their standard errors, and the sizes of the samples, each (P, K); 0 where not wanted.

    Parameters
    ----------
    pairs: (P, K) which are wanted.
    drawn: (N, K) the known cells that were drawn at random among those that are not known otherwise.
    """
    estimate, error = np.zeros(pairs.shape), np.zeros(pairs.shape)
    count = np.zeros(pairs.shape, dtype=np.int64)
    visible, images = tally.charges.visible, np.maximum(tally.charges.images, 1)
    for k in np.flatnonzero(pairs.any(axis=0)).tolist():
        expected = guide.charges(k)
        here = drawn[:, k, None] & visible
        there = ~tally.known[:, k, None] & visible
        n, rest = here.sum(axis=0), there.sum(axis=0)
        charge = np.where(here, tally.charges_of(k), 0.0)
        guessed = np.where(here, expected, 0.0).sum(axis=0)
        # Without a drawn image the guide's own level holds.
        ratio = np.where(guessed > 0, charge.sum(axis=0) / np.where(guessed > 0, guessed, 1.0), 1.0)
        residual = np.where(here, charge - ratio * expected, 0.0)
        variance = np.square(residual).sum(axis=0) / np.maximum(n - 1, 1)
        total = tally.sums[:, k] + ratio * np.where(there, expected, 0.0).sum(axis=0)
        # The mean over `rest` unknown cells, predicted from n others of the same population.
        spread = rest * np.sqrt(variance * (1 / np.maximum(n, 1) + 1 / np.maximum(rest, 1)))
        estimate[:, k] = np.where(pairs[:, k], total / images, 0.0)
        error[:, k] = np.where(pairs[:, k], spread / images, 0.0)
        count[:, k] = np.where(pairs[:, k], n, 0)
    return estimate, error, count


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
