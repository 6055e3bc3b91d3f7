"""Kernel ridge regression with rows left out, against fits that really leave them out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge

from partscope.arrangement.ridge import leave_out, ridge_inverse


def problem(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a kernel matrix, targets and strengths."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, 3))
    return features @ features.T + 1, rng.standard_normal((rows, 2)), rng.uniform(0.2, 2.0, rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_coefficients_are_those_of_kernel_ridge(rows: int, seed: int) -> None:
    kernel, target, _ = problem(rows, seed)
    inverse = ridge_inverse(kernel, np.full(rows, 0.7))
    expected = KernelRidge(alpha=0.7, kernel="precomputed").fit(kernel, target).dual_coef_
    np.testing.assert_allclose(inverse @ target, expected, atol=1e-8)
    np.testing.assert_array_equal(inverse, inverse.T)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 12), st.integers(0, 1000))
def test_rows_are_left_out_with_their_twins(rows: int, seed: int) -> None:
    kernel, target, strength = problem(rows, seed)
    twin = np.arange(rows)
    twin[0], twin[3] = 3, 0  # a pair; the others stand alone
    inverse = ridge_inverse(kernel, strength)
    left = leave_out(inverse, inverse @ target, twin)
    for row in range(rows):
        rest = np.setdiff1d(np.arange(rows), [row, twin[row]])
        solved = np.linalg.solve(kernel[np.ix_(rest, rest)] + np.diag(strength[rest]), target[rest])
        np.testing.assert_allclose(left[row], target[row] - kernel[row, rest] @ solved, atol=1e-6)


def test_a_kernel_that_rounding_has_made_indefinite_still_has_an_inverse() -> None:
    kernel = np.diag([1.0, -1e-3, 1.0])
    inverse = ridge_inverse(kernel, np.full(3, 1e-6))
    assert np.isfinite(inverse).all()
    assert inverse[0, 0] == pytest.approx(1.0, rel=0.05)
