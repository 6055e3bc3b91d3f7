"""The bootstrap over images: plain resampling, coverage of the truth, paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from partscope.errors import DatasetError, OptionError
from partscope.metrics import (
    bootstrap_interval,
    mean,
    paired_bootstrap,
    paired_bootstrap_parts,
    percentile_interval,
    resampled_means,
)

tables = arrays(np.float64, (12, 3), elements=st.floats(0, 1) | st.just(math.nan))


def test_draws_equal_plain_resampling():
    """The same random numbers, but the images are taken one by one and averaged over their pairs."""
    rng = np.random.default_rng(5)
    errors = np.where(rng.random((7, 4)) < 0.3, np.nan, rng.random((7, 4)))
    means = resampled_means(errors[:, None], draws=300, random_state=3)[:, 0]
    stream = np.random.default_rng(3)
    for draw in range(300):
        drawn = stream.integers(0, 7, size=7)
        pairs = [errors[i, p] for i in drawn for p in range(4) if not math.isnan(errors[i, p])]
        assert means[draw] == pytest.approx(sum(pairs) / len(pairs))


@settings(max_examples=40)
@given(tables)
def test_interval_holds_the_mean_and_lies_in_the_range(errors):
    known = errors[np.isfinite(errors)]
    low, high = bootstrap_interval(errors, draws=400)
    if not known.size:
        assert math.isnan(low)
        assert math.isnan(high)
        return
    assert known.min() - 1e-12 <= low <= high <= known.max() + 1e-12
    rows = np.isfinite(errors).any(axis=1)
    if rows.all():
        assert low - 1e-9 <= mean(errors) <= high + 1e-9


def test_interval_has_the_width_of_the_normal_approximation():
    errors = np.random.default_rng(0).normal(0.2, 0.05, size=(400, 1))
    low, high = bootstrap_interval(errors, draws=4000)
    half = 1.96 * errors.std() / math.sqrt(400)
    assert (low, high) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.1 * half)


def test_images_and_not_pairs_are_resampled():
    """Ten copies of each image's error do not make the interval narrower."""
    column = np.random.default_rng(1).random((50, 1))
    assert bootstrap_interval(np.repeat(column, 10, axis=1)) == pytest.approx(bootstrap_interval(column))


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.exponential(1.0, size=(60, 2)), draws=300, random_state=trial)
        hits += low <= 1.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_same_seed_same_interval():
    errors = np.random.default_rng(3).random((30, 2))
    assert bootstrap_interval(errors, random_state=1) == bootstrap_interval(errors, random_state=1)
    assert bootstrap_interval(errors, random_state=1) != bootstrap_interval(errors, random_state=2)


def test_level_and_draws_are_checked():
    errors = np.ones((3, 1))
    with pytest.raises(OptionError, match="not 0"):
        bootstrap_interval(errors, draws=0)
    with pytest.raises(OptionError, match="not 95"):
        bootstrap_interval(errors, level=95)
    wide = bootstrap_interval(np.arange(9.0)[:, None], level=0.99)
    narrow = bootstrap_interval(np.arange(9.0)[:, None], level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_percentiles_ignore_draws_without_a_pair():
    draws = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan]])
    interval = percentile_interval(draws, level=0.5)
    assert interval[:, 0] == pytest.approx([1.25, 1.75])
    assert np.isnan(interval[:, 1]).all()


@settings(max_examples=40)
@given(tables, tables)
def test_paired_difference_is_antisymmetric(first, second):
    if not np.isfinite(first - second).any():
        with pytest.raises(DatasetError, match="pair in common"):
            paired_bootstrap(first, second)
        return
    forth, back = (paired_bootstrap(*pair, draws=200) for pair in ((first, second), (second, first)))
    both = np.isfinite(first) & np.isfinite(second)
    assert forth.difference == pytest.approx(first[both].mean() - second[both].mean(), abs=1e-12)
    assert forth.difference == pytest.approx(-back.difference, abs=1e-12)
    assert forth.ci == pytest.approx((-back.ci[1], -back.ci[0]), abs=1e-12)
    assert forth.pairs == int(both.sum())
    assert forth.images == int(both.any(axis=1).sum())


def test_paired_interval_is_narrower_than_unpaired_ones():
    rng = np.random.default_rng(4)
    hard = rng.random((200, 1))
    first, second = hard + 0.02 + rng.normal(0, 0.02, (200, 1)), hard
    result = paired_bootstrap(first, second)
    assert result.ci[0] > 0
    assert result.positive == 1
    assert bootstrap_interval(first)[0] < bootstrap_interval(second)[1]


def test_parts_are_compared_one_by_one():
    rng = np.random.default_rng(7)
    first, second = rng.random((30, 3)), rng.random((30, 3))
    first[5:8, 0], first[:, 2] = np.nan, np.nan
    total, columns = paired_bootstrap_parts(first, second, draws=500)
    assert total == paired_bootstrap(first, second, draws=500)
    assert total.pairs == 57
    assert columns[2] is None
    # All images have a pair of the second part, so that alone it is drawn in the same way.
    assert columns[1] == paired_bootstrap(first[:, 1:2], second[:, 1:2], draws=500)
    gap = np.delete(first[:, 0] - second[:, 0], [5, 6, 7])
    assert columns[0].difference == pytest.approx(gap.mean())
    assert (columns[0].images, columns[0].pairs) == (27, 27)
    half = 1.96 * gap.std() / math.sqrt(27)
    assert columns[0].ci == pytest.approx((gap.mean() - half, gap.mean() + half), abs=0.3 * half)


def test_a_method_does_not_differ_from_itself():
    errors = np.random.default_rng(6).random((20, 3))
    result = paired_bootstrap(errors, errors)
    assert (result.difference, result.ci, result.positive) == (0, (0, 0), 0)


def test_shapes_must_fit():
    with pytest.raises(DatasetError, match="same images and parts"):
        paired_bootstrap(np.ones((2, 2)), np.ones((3, 2)))
