"""Does a method know where it errs? Its error when only the parts are kept of which it is surest: the risk–coverage curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import DatasetError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Mean errors of the parts kept, from the surest one to all M.

    Parameters
    ----------
    error: (M,) mean error of the m surest parts, m = 1 … M; of parts that are equally sure the expectation over their
        orders.
    oracle: (M,) the same where the order is that of the errors themselves: no method can do better.
    """

    error: FloatArray
    oracle: FloatArray

    @property
    def unordered(self) -> float:
        """Mean error of all parts: what every share of them would have without any order. NaN without a part."""
        return float(self.error[-1]) if len(self.error) else float("nan")

    @property
    def area(self) -> float:
        """Mean of `error` over all shares kept (AURC): smaller is better, at best `oracle_area`."""
        return float(self.error.mean()) if len(self.error) else float("nan")

    @property
    def oracle_area(self) -> float:
        """Mean of `oracle` over all shares kept."""
        return float(self.oracle.mean()) if len(self.oracle) else float("nan")

    def at(self, share: float) -> tuple[float, float]:
        """Return the mean error of the surest `share` of the parts (rounded up to a part), and the oracle's.

        Raises
        ------
        DatasetError: the share is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise DatasetError(f"the share of parts kept must be above 0 and at most 1, not {share}.")
        if not len(self.error):
            return float("nan"), float("nan")
        # Less a hair, since 0.1 · 30 is more than 3 for the computer.
        last = max(int(np.ceil(share * len(self.error) - 1e-9)), 1) - 1
        return float(self.error[last]), float(self.oracle[last])


def risk_coverage(errors: ArrayLike, expected: ArrayLike) -> RiskCoverage:
    """Order parts by their expected error and return the mean actual error of those kept.

    Parameters
    ----------
    errors: actual errors, any shape; NaN marks pairs that do not count.
    expected: expected errors of the same shape and unit; only their order matters. A pair without one (NaN) comes last.

    Raises
    ------
    DatasetError: shapes differ, or an error is infinite.
    """
    actual, guess = np.asarray(errors, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if actual.shape != guess.shape:
        raise DatasetError(
            f"risk and coverage: errors and expected errors must have the same shape, not {actual.shape} and {guess.shape}."
        )
    counted = ~np.isnan(actual)
    values, guess = actual[counted], guess[counted]
    if np.isinf(values).any():
        raise DatasetError(
            "risk and coverage: an error is infinite; charge a position for what was not found."
        )
    guess = np.where(np.isnan(guess), np.inf, guess)
    kept = np.arange(1, len(values) + 1)
    _, group, size = np.unique(guess, return_inverse=True, return_counts=True)
    mean = np.bincount(group, values, len(size)) / np.maximum(size, 1)
    return RiskCoverage(np.cumsum(np.repeat(mean, size)) / kept, np.cumsum(np.sort(values)) / kept)
