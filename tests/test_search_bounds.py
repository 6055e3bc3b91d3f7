"""Bounds of a race: capped, by a ratio, with moderated variances."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from centre_tables import marked, sampled, screened, table, tally_of
from partscope.search.bounds import CAP, lower_bounds, moderated, prior_of_variances, ratio_estimate
from partscope.search.charges import Charges
from partscope.search.guide import Capped, Guide


def test_the_prior_of_drawn_variances_is_found() -> None:
    rng = np.random.default_rng(0)
    true = 0.3 * 8 / rng.chisquare(8, 4000)  # a scaled inverse chi-square with 8 degrees of freedom
    freedom = rng.integers(4, 12, 4000).astype(float)
    variances = true * rng.chisquare(freedom) / freedom
    more, common = prior_of_variances(variances, freedom)
    assert more == pytest.approx(8, rel=0.15)
    assert common == pytest.approx(0.3, rel=0.05)


def test_equal_variances_are_taken_for_one() -> None:
    rng = np.random.default_rng(1)
    freedom = np.full(500, 5.0)
    # Less scatter than chance gives: nothing but the common value counts.
    level = 2.0 * np.exp(0.01 * rng.normal(size=500)) * np.exp(special.digamma(2.5) - np.log(2.5))
    more, common = prior_of_variances(level, freedom)
    assert more == np.inf
    assert common == pytest.approx(2.0, rel=0.01)
    assert prior_of_variances(level[:9], freedom[:9])[0] == 0


def test_moderated_errors_lie_between_their_own_and_the_common_one() -> None:
    rng = np.random.default_rng(2)
    count = np.full((1, 300), 6)
    relative = 0.5 * 10 / rng.chisquare(10, 300) * rng.chisquare(5, 300) / 5
    estimate = rng.uniform(1, 3, (1, 300))
    error = estimate * np.sqrt(relative / 6)
    found, freedom = moderated(estimate, error, count, np.ones((1, 300), dtype=bool))
    assert (freedom > 5).all()
    before, after = (error / estimate)[0], (found / estimate)[0]
    assert after.std() < 0.8 * before.std()
    assert_array_equal(np.argsort(before), np.argsort(after))
    same, own = moderated(estimate, error, count, np.zeros((1, 300), dtype=bool))
    assert_array_equal(same, error)
    assert_array_equal(own, 5)


def test_a_bound_written_out() -> None:
    data = marked(5, 40)
    centres = table(5, data, 6)
    tally, guide, drawn = sampled(5, data, centres, [3, 8, 11, 20, 21, 28, 30, 35])
    limits = tally.limits(tally.bounds())
    capped = Capped(guide, CAP * limits)
    lower = lower_bounds(tally, capped, np.ones(6, dtype=bool), drawn, 0.01)
    charges = Charges(data)
    shown, cap = data.visible[:, 1], CAP * limits[1]
    true = charges.of(np.arange(40), centres[:, 2])[:, 1]
    assert (capped.charges(2)[shown, 1] <= cap).all()
    here, rest = drawn[:, 2] & shown, ~tally.known[:, 2] & shown
    guess = capped.charges(2)[:, 1]
    ratio = np.minimum(true, cap)[here].sum() / guess[here].sum()
    known = true[tally.known[:, 2] & shown].sum()  # what is known counts in full
    estimate = (known + ratio * guess[rest].sum()) / shown.sum()
    residual = np.minimum(true, cap)[here] - ratio * guess[here]
    variance = (residual**2).sum() / (here.sum() - 1) * (1 / here.sum() + 1 / rest.sum())
    error = rest.sum() * np.sqrt(variance) / shown.sum()
    # Six channels are too few to borrow from.
    assert_allclose(lower[1, 2], estimate - stats.t.ppf(0.99, here.sum() - 1) * error)


def test_bounds_of_skewed_charges_fail_no_more_often_than_they_may() -> None:
    """Charges like squared distances, 12 of 150 images, 400 channels at a time; the predictions know half of it."""
    rng = np.random.default_rng(3)
    failed = tried = 0
    for _ in range(20):
        level = rng.uniform(0.5, 1.5, (150, 1))
        cost = rng.uniform(1, 4, 400)
        charge = cost * level * rng.exponential(size=(150, 400))
        sample = np.zeros(150, dtype=bool)
        sample[rng.permutation(150)[:12]] = True
        cap = CAP * 1.0
        bound = np.minimum(charge, cap)
        guess = np.minimum(cost * level, cap) * np.ones_like(charge)
        here = np.repeat(sample[:, None], 400, axis=1)
        rest, error = ratio_estimate(bound, guess, here, ~here)
        estimate = (charge[sample].sum(axis=0) + rest)[None] / 150
        wide, freedom = moderated(estimate, error[None] / 150, np.full((1, 400), 12), np.ones((1, 400), bool))
        lower = estimate - stats.t.ppf(1 - 0.005, freedom) * wide
        failed += int((lower[0] > charge.mean(axis=0)).sum())
        tried += 400
    assert failed <= 0.005 * tried


def test_without_a_sample_there_is_no_bound() -> None:
    data = marked(6, 20)
    centres = table(6, data, 4)
    screening = screened(6, centres, known=0.0)
    tally = tally_of(data, centres, screening)
    guide = Guide(screening, tally)
    guide.measure_images()
    nothing = np.zeros((20, 4), dtype=bool)
    lower = lower_bounds(tally, Capped(guide, np.full(3, np.inf)), np.ones(4, dtype=bool), nothing, 0.05)
    assert (lower == -np.inf).all()
