"""How sure is a part: the probability that it is visible, and its expected error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from partscope.arrangement.decoding import Decoded
from partscope.arrangement.expected_error import ExpectedError, fit_expected_error

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


#: How many of a part's signs, the first ones, the expected error is based on: all but the base rate.
OWN_SIGNS = 3


@dataclass(frozen=True, eq=False)
class Doubt:
    """Calibrated on training images that the arrangements did not contain.

    One function weighs the signs of all parts, so that a left part's probability can be compared with the right part's.

    Parameters
    ----------
    log_odds: (6,) coefficients of the log-odds of visibility: see `_signs`, then the vote; the last one is the constant.
    error: the expected error.
    base: (P,) log-odds of the part's visibility in the training images, the same for both sides of a pair.
    """

    log_odds: FloatArray
    error: ExpectedError
    base: FloatArray

    def visibility(self, found: Decoded, vote: FloatArray) -> FloatArray:
        """Return the probability (P,) that each part is visible; `vote` (P,) is the refinement's."""
        signs = _signs([found], self.base)[0]
        power = np.column_stack([signs, vote]) @ self.log_odds[:-1] + self.log_odds[-1]
        return np.asarray(1 / (1 + np.exp(-np.clip(power, -30, 30))))

    def expected_error(self, found: Decoded) -> FloatArray:
        """Return the expected error (P,) relative to √(W·H)."""
        return self.error(found, _signs([found], self.base)[0, :, :OWN_SIGNS]) * found.size


def _log_odds(share: FloatArray) -> FloatArray:
    return np.asarray(np.log((share + 0.01) / (1.01 - share)))


def _signs(decoded: Sequence[Decoded], base: FloatArray) -> FloatArray:
    """Return (N, P, 4): log-odds of the arrangements' share, support and strength of the evidence, base rate."""
    share = _log_odds(np.array([found.share for found in decoded]))
    support = np.array([found.support for found in decoded])
    strength = np.array([found.strength for found in decoded])
    return np.stack([share, support, strength, np.broadcast_to(base, share.shape)], axis=2)


def fit_doubt(
    decoded: Sequence[Decoded],
    visible: BoolArray,
    error: FloatArray,
    votes: FloatArray,
    mirror: NDArray[np.intp],
) -> Doubt:
    """Calibrate visibility by logistic regression, and the expected error.

    Parameters
    ----------
    decoded: what was found in N training images, each without its own arrangement.
    visible: (N, P).
    error: (N, P) distance to the marked point relative to √(W·H); anything where not visible.
    votes: (N, P) for the visibility, of a refinement that has not seen the image.
    mirror: (P,) the part that each part becomes in a mirrored image.
    """
    rate = visible.mean(axis=0)
    base = _log_odds((rate + rate[mirror]) / 2)
    each = _signs(decoded, base)
    signs, truth = np.concatenate([each, votes[..., None]], axis=2).reshape(-1, 5), visible.ravel()
    if truth.all() or not truth.any():
        # Nothing to calibrate on: the arrangements' share itself.
        log_odds = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    else:
        spread = signs.std(axis=0) + 1e-6
        model = LogisticRegression(C=1.0, max_iter=1000).fit(signs / spread, truth)
        log_odds = np.concatenate([model.coef_[0] / spread, model.intercept_])
    size = np.array([found.size for found in decoded])[:, None]
    expected = fit_expected_error(decoded, each[..., :OWN_SIGNS], visible, error / size, mirror)
    return Doubt(log_odds, expected, base)
