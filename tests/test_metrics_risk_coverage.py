"""The error of the parts kept against plain loops, and what order it depends on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.errors import DatasetError
from partscope.metrics import risk_coverage


def test_equals_plain_loops() -> None:
    rng = np.random.default_rng(0)
    errors, expected = rng.random((20, 3)), rng.random((20, 3))
    errors[rng.random(errors.shape) < 0.2] = np.nan
    curve = risk_coverage(errors, expected)
    pairs = sorted(
        (guess, error)
        for guess, error in zip(expected.ravel(), errors.ravel(), strict=True)
        if not np.isnan(error)
    )
    assert len(curve.error) == len(pairs)
    for kept in range(1, len(pairs) + 1):
        assert curve.error[kept - 1] == pytest.approx(np.mean([error for _, error in pairs[:kept]]))
        best = sorted(error for _, error in pairs)[:kept]
        assert curve.oracle[kept - 1] == pytest.approx(np.mean(best))
    assert curve.area == pytest.approx(curve.error.mean())
    assert curve.unordered == pytest.approx(np.nanmean(errors))


def test_equally_sure_parts_count_by_the_mean_over_their_orders() -> None:
    errors, expected = np.array([1.0, 5.0, 3.0, 9.0]), np.array([0.0, 2.0, 2.0, 2.0])
    curve = risk_coverage(errors, expected)
    orders = [[1.0, *order] for order in itertools.permutations([5.0, 3.0, 9.0])]
    wanted = np.mean([np.cumsum(order) / np.arange(1, 5) for order in orders], axis=0)
    np.testing.assert_allclose(curve.error, wanted)
    np.testing.assert_allclose(risk_coverage(errors, np.zeros(4)).error, errors.mean())


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.integers(0, 100))
def test_no_order_is_better_than_the_errors_own(errors: list[float], seed: int) -> None:
    expected = np.random.default_rng(seed).integers(0, 4, len(errors))
    curve = risk_coverage(errors, expected)
    assert (curve.oracle <= curve.error + 1e-9).all()
    assert curve.oracle[-1] == pytest.approx(curve.error[-1])
    np.testing.assert_allclose(risk_coverage(errors, np.array(errors) * 3).error, curve.oracle, atol=1e-12)


def test_shares() -> None:
    curve = risk_coverage(np.arange(30.0), np.arange(30.0))
    assert curve.at(1.0) == (14.5, 14.5)
    assert curve.at(0.1) == (1.0, 1.0)  # three parts: 0, 1, 2
    assert curve.at(0.11) == (1.5, 1.5)
    assert curve.at(0.001) == (0.0, 0.0)
    for share in (0, 1.1):
        with pytest.raises(DatasetError, match="above 0 and at most 1"):
            curve.at(share)


def test_a_part_without_an_expected_error_comes_last() -> None:
    curve = risk_coverage([4.0, 1.0, 2.0], [np.nan, 7.0, 8.0])
    np.testing.assert_allclose(curve.error, [1.0, 1.5, 7 / 3])


def test_nothing_and_wrong_input() -> None:
    empty = risk_coverage([np.nan], [1.0])
    assert np.isnan([empty.area, empty.oracle_area, empty.unordered, *empty.at(0.5)]).all()
    with pytest.raises(DatasetError, match="same shape"):
        risk_coverage([1.0], [1.0, 2.0])
    with pytest.raises(DatasetError, match="infinite"):
        risk_coverage([np.inf], [1.0])
