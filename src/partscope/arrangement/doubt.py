"""How sure is a part: the probability that it is visible, and its expected error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression

from partscope.arrangement.decoding import Decoded

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Doubt:
    """Calibrated on training images that the arrangements did not contain.

    One function serves all parts, so that a left part's probability can be compared with the right part's.

    Parameters
    ----------
    log_odds: (5,) coefficients of the log-odds of visibility: see `_signs`; the last one is the constant.
    error: (2,) coefficients of the expected error: object size, posterior spread.
    base: (P,) log-odds of the part's visibility in the training images, the same for both sides of a pair.
    """

    log_odds: FloatArray
    error: FloatArray
    base: FloatArray

    def visibility(self, found: Decoded) -> FloatArray:
        """Return the probability (P,) that each part is visible."""
        power = _signs([found], self.base)[0] @ self.log_odds[:-1] + self.log_odds[-1]
        return np.asarray(1 / (1 + np.exp(-np.clip(power, -30, 30))))

    def expected_error(self, found: Decoded) -> FloatArray:
        """Return the expected error (P,) relative to √(W·H)."""
        return np.asarray(self.error[0] * found.size + self.error[1] * found.spread)


def _log_odds(share: FloatArray) -> FloatArray:
    return np.asarray(np.log((share + 0.01) / (1.01 - share)))


def _signs(decoded: Sequence[Decoded], base: FloatArray) -> FloatArray:
    """Return (N, P, 4): log-odds of the arrangements' share, support and strength of the evidence, base rate."""
    share = _log_odds(np.array([found.share for found in decoded]))
    support = np.array([found.support for found in decoded])
    strength = np.array([found.strength for found in decoded])
    return np.stack([share, support, strength, np.broadcast_to(base, share.shape)], axis=2)


def fit_doubt(
    decoded: Sequence[Decoded], visible: BoolArray, error: FloatArray, mirror: NDArray[np.intp]
) -> Doubt:
    """Calibrate visibility by logistic regression and the expected error by non-negative least squares.

    Parameters
    ----------
    decoded: what was found in N training images, each without its own arrangement.
    visible: (N, P).
    error: (N, P) distance to the marked point relative to √(W·H); anything where not visible.
    mirror: (P,) the part that each part becomes in a mirrored image.
    """
    rate = visible.mean(axis=0)
    base = _log_odds((rate + rate[mirror]) / 2)
    signs, truth = _signs(decoded, base).reshape(-1, 4), visible.ravel()
    if truth.all() or not truth.any():
        log_odds = np.array(
            [1.0, 0.0, 0.0, 0.0, 0.0]
        )  # nothing to calibrate on: the arrangements' share itself
    else:
        spread = signs.std(axis=0) + 1e-6
        model = LogisticRegression(C=1.0, max_iter=1000).fit(signs / spread, truth)
        log_odds = np.concatenate([model.coef_[0] / spread, model.intercept_])
    size = np.array([found.size for found in decoded])[:, None]
    spreads = np.array([found.spread for found in decoded])
    rows = np.stack([np.ones(visible.sum()), (spreads / size)[visible]], axis=1)
    # In object sizes, so that a large object does not outweigh a small one; two more rows draw it towards "as the
    # posterior says", which decides where there is next to nothing to calibrate on.
    rows = np.concatenate([rows, 0.1 * np.eye(2)])
    coefficients, _ = nnls(rows, np.concatenate([(error / size)[visible], [0.0, 0.1]]))
    return Doubt(log_odds, np.asarray(coefficients, dtype=np.float64), base)
