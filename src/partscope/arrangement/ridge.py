"""Kernel ridge regression with rows left out, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

FloatArray = NDArray[np.float64]


def ridge_inverse(kernel: FloatArray, strength: FloatArray) -> FloatArray:
    """Return (K + diag(λ))⁻¹ of a kernel matrix (R, R) and positive strengths (R,).

    The coefficients of targets y are this matrix times y. A kernel matrix that rounding has made indefinite gets more ridge.
    """
    jitter = 0.0
    while True:
        matrix = kernel.copy()
        matrix[np.diag_indices_from(matrix)] += strength + jitter
        factor, failed = lapack.dpotrf(matrix, lower=1, overwrite_a=1)
        if not failed:
            break
        jitter = max(10 * jitter, 1e-6 * float(np.abs(np.diag(kernel)).max() + 1.0))
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse)
    return np.asarray(lower + np.tril(lower, -1).T)


def leave_out(inverse: FloatArray, coefficients: FloatArray, twin: NDArray[np.intp]) -> FloatArray:
    """Return the residuals (R, Q) of rows whose prediction was made without them and without their twins.

    With H = (K + λ)⁻¹ and coefficients a = H y, the residuals of rows B that are left out together are (H_BB)⁻¹ a_B.

    Parameters
    ----------
    inverse: (R, R), of :func:`ridge_inverse`.
    coefficients: (R, Q).
    twin: (R,) the row that is left out together with each row; the row itself where there is none.
    """
    own = np.diag(inverse)
    row = np.arange(len(own))
    across = inverse[row, twin]
    alone = coefficients / own[:, None]
    determinant = np.where(twin == row, 1.0, own * own[twin] - across**2)
    both = (own[twin][:, None] * coefficients - across[:, None] * coefficients[twin]) / determinant[:, None]
    return np.asarray(np.where((twin == row)[:, None], alone, both))
