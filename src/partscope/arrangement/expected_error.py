"""How far a part may be from its point, if it is visible: a gamma regression with a logarithmic link.

Errors are positive and their spread grows with their mean, so squares would let the few parts on the wrong side decide
about all others; under a gamma distribution it is the ratio of error to expectation that counts. The regression predicts
the ratio of the error to the posterior's spread, and one set of coefficients serves all parts but for a factor of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import GammaRegressor

from partscope.arrangement.decoding import Decoded

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Shortest and longest expected error in object sizes: no mark is more exact, and beyond it the part is simply lost.
SHORTEST, LONGEST = 0.01, 0.5
#: Pull of the coefficients towards "as the posterior's spread says", in parts.
PULL = 3.0


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """Expected errors in object sizes.

    Parameters
    ----------
    weights: (S + 3,) coefficients of the logarithm of error over spread: log spread, the part's signs, the mean log spread
        of all parts, the constant.
    parts: (P,) what each part adds, the same for both sides of a pair.
    """

    weights: FloatArray
    parts: FloatArray

    def __call__(self, found: Decoded, signs: FloatArray) -> FloatArray:
        """Return the expected errors (P,) in object sizes.

        Parameters
        ----------
        signs: (P, S), of the image.
        """
        spread = _spread([found])
        power = _features(spread, signs[None])[0] @ self.weights[:-1] + self.weights[-1] + self.parts
        return np.asarray(np.clip(spread[0] * np.exp(np.clip(power, -5.0, 5.0)), SHORTEST, LONGEST))


def fit_expected_error(
    decoded: Sequence[Decoded],
    signs: FloatArray,
    visible: BoolArray,
    error: FloatArray,
    mirror: NDArray[np.intp],
) -> ExpectedError:
    """Fit the expected error.

    Parameters
    ----------
    decoded: what was found in N training images, each without its own arrangement.
    signs: (N, P, S).
    visible: (N, P), with at least one visible part.
    error: (N, P) distance to the marked point in object sizes; anything where not visible.
    mirror: (P,) the part that each part becomes in a mirrored image.
    """
    parts = len(mirror)
    spread = _spread(decoded)
    each = np.maximum(np.eye(parts), np.eye(parts)[mirror])
    rows = _features(spread, signs)[visible]
    factors = np.broadcast_to(each, (len(spread), parts, parts))[visible]
    centre, width = rows.mean(axis=0), rows.std(axis=0) + 1e-3
    ratio = np.clip(error[visible], SHORTEST, LONGEST) / spread[visible]
    # One more row says "as the posterior says"; it decides where there is next to nothing to calibrate on.
    design = np.concatenate([(rows - centre) / width, factors], axis=1)
    design = np.concatenate([design, np.zeros((1, design.shape[1]))])
    model = GammaRegressor(alpha=PULL / len(design), max_iter=1000).fit(design, np.append(ratio, 1.0))
    count = rows.shape[1]
    slopes = model.coef_[:count] / width
    weights = np.append(slopes, model.intercept_ - centre @ slopes)
    return ExpectedError(weights, np.asarray(each @ model.coef_[count:]))


def _spread(decoded: Sequence[Decoded]) -> FloatArray:
    """Return the posterior's spread (N, P) in object sizes."""
    return np.array([found.spread / found.size for found in decoded]) + SHORTEST


def _features(spread: FloatArray, signs: FloatArray) -> FloatArray:
    log = np.log(spread)
    together = np.broadcast_to(log.mean(axis=1, keepdims=True), log.shape)
    return np.concatenate([log[..., None], signs, together[..., None]], axis=2)
