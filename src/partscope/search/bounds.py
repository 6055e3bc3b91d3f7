"""One-sided confidence bounds for a race: what an unfinished channel costs at least, but for a stated risk.

Three things make them tight for samples of ten to fifty images:

- *Capped charges.* Squared distances are skewed: a few images decide a mean. A charge counts at most `CAP` times the limit that the
  channel must exceed. The capped mean is not above the mean, so that a lower bound of it is one of the cost, and it varies far less.
- *The ratio estimator* of survey sampling (Cochran, *Sampling Techniques*, chapter 6): the known charges, plus the guide's prediction for
  the other images times the ratio of charges to predictions in the sample.
- *Moderated variances* (Smyth, *Linear models and empirical Bayes methods …*, 2004): the relative variance of a channel is estimated
  from its own sample and from those of all other channels, weighted as their scatter says, with as many more degrees of freedom. With six
  images Student's quantile for a small risk is twice the normal one, and most of that is doubt about the variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from partscope.search.guide import Capped, Guide
from partscope.search.tally import Tally

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: A charge counts at most this many times the limit. For costs two to five times the limit, where most channels lie, the number of
#: images that a bound needs hardly depends on it between 3 and 6 (chosen on recorded scans of training images).
CAP = 4.0

#: Below so many images in a sample, there is no bound.
FEWEST = 5


def lower_bounds(
    tally: Tally, guide: Capped, channels: BoolArray, drawn: BoolArray, level: float
) -> FloatArray:
    """Return a lower bound of the costs, (P, K), that fails with probability `level` each; -inf where there is none.

    Parameters
    ----------
    tally: what is known.
    guide: predictions of capped charges.
    channels: (K,) for which bounds are wanted.
    drawn: (N, K) the known cells that were drawn at random among those that are not known otherwise.
    level: of each bound alone.
    """
    pairs = np.broadcast_to(channels, (len(guide.cap), len(channels)))
    estimate, error, count = estimates(tally, guide, pairs, drawn)
    enough = (count >= FEWEST) & (estimate > 0)
    error, freedom = moderated(estimate, error, count, enough)
    quantile = stats.t.ppf(1 - level, np.maximum(freedom, 1.0))
    lower: FloatArray = np.where(enough, estimate - np.minimum(quantile, 1e9) * error, -np.inf)
    return lower


def estimates(
    tally: Tally, guide: Guide | Capped, pairs: BoolArray, drawn: BoolArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return estimated costs, their standard errors, and the sizes of the samples, each (P, K); 0 where not wanted.

    Parameters
    ----------
    guide: predictions; those of capped charges are compared with capped charges. What is known counts in full.
    pairs: (P, K) which are wanted.
    drawn: (N, K) the known cells that were drawn at random among those that are not known otherwise.
    """
    estimate, error = np.zeros(pairs.shape), np.zeros(pairs.shape)
    count = np.zeros(pairs.shape, dtype=np.int64)
    visible, images = tally.charges.visible, np.maximum(tally.charges.images, 1)
    for k in np.flatnonzero(pairs.any(axis=0)).tolist():
        here, there = drawn[:, k, None] & visible, ~tally.known[:, k, None] & visible
        charge = np.minimum(tally.charges_of(k), guide.cap)
        rest, spread = ratio_estimate(charge, guide.charges(k), here, there)
        estimate[:, k] = np.where(pairs[:, k], (tally.sums[:, k] + rest) / images, 0.0)
        error[:, k] = np.where(pairs[:, k], spread / images, 0.0)
        count[:, k] = np.where(pairs[:, k], here.sum(axis=0), 0)
    return estimate, error, count


def ratio_estimate(
    charge: FloatArray, expected: FloatArray, here: BoolArray, there: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return the estimated sums over the unknown images and their standard errors, (P,) each.

    Parameters
    ----------
    charge, expected: (N, P) charges, meaningless where they are not known, and their predictions.
    here, there: (N, P) the sample, and the images whose sum is wanted.
    """
    n, rest = here.sum(axis=0), there.sum(axis=0)
    charge = np.where(here, charge, 0.0)
    guessed = np.where(here, expected, 0.0).sum(axis=0)
    # Without a drawn image the guide's own level holds.
    ratio = np.where(guessed > 0, charge.sum(axis=0) / np.where(guessed > 0, guessed, 1.0), 1.0)
    residual = np.where(here, charge - ratio * expected, 0.0)
    variance = np.square(residual).sum(axis=0) / np.maximum(n - 1, 1)
    # The mean over `rest` unknown images, predicted from n others of the same population.
    error = rest * np.sqrt(variance * (1 / np.maximum(n, 1) + 1 / np.maximum(rest, 1)))
    return ratio * np.where(there, expected, 0.0).sum(axis=0), error


def moderated(
    estimate: FloatArray, error: FloatArray, count: IntArray, usable: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return standard errors (P, K) that borrow from the other channels of the part, and their degrees of freedom."""
    freedom = np.maximum(count - 1, 1).astype(np.float64)
    error = error.copy()
    for p in range(len(estimate)):
        own = usable[p] & (error[p] > 0)
        if not own.any():
            continue
        relative = np.square(error[p, own] / estimate[p, own]) * count[p, own]
        more, common = prior_of_variances(relative, freedom[p, own])
        if more == np.inf:
            relative = np.full_like(relative, common)
        else:
            relative = (more * common + freedom[p, own] * relative) / (more + freedom[p, own])
        error[p, own] = estimate[p, own] * np.sqrt(relative / count[p, own])
        freedom[p, own] += more
    return error, freedom


def prior_of_variances(variances: FloatArray, freedom: FloatArray) -> tuple[float, float]:
    """Return the prior's degrees of freedom and its variance, by moments of the logarithms (Smyth 2004, section 6.2).

    Parameters
    ----------
    variances: (n,) positive sample variances.
    freedom: (n,) their degrees of freedom.

    Returns
    -------
    0 degrees, which leaves the variances as they are, for fewer than ten; infinitely many where they scatter no more than chance lets
    equal variances scatter.
    """
    if len(variances) < 10:
        return 0.0, 1.0
    half = freedom / 2
    level = np.log(variances) - special.digamma(half) + np.log(half)
    scatter = float(level.var(ddof=1) - special.polygamma(1, half).mean())
    if scatter <= 0:
        return np.inf, float(np.exp(level.mean()))
    more = 2 * _inverse_trigamma(scatter)
    return more, float(np.exp(level.mean() + special.digamma(more / 2) - np.log(more / 2)))


def _inverse_trigamma(value: float) -> float:
    """Newton's method on 1 / trigamma, which is nearly linear: from below it never overshoots."""
    x = 0.5 + 1 / value
    for _ in range(50):
        now = float(special.polygamma(1, x))
        step = now * (1 - now / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
