"""Does a method know which parts are visible? Ranking (AUC) and calibration (reliability) of its visibility scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from partscope.errors import DatasetError

FloatArray = NDArray[np.float64]

#: The protocol's section 5: a part's AUC counts with at least so many images that show it and that do not.
LEAST_IMAGES = 25
#: Bins of equal width that scores are sorted into.
BINS = 10


@dataclass(frozen=True)
class VisibilityAUC:
    """Areas under the ROC curve; NaN where there is nothing to rank.

    Parameters
    ----------
    per_part: by index of the part, for the parts with enough images of both kinds.
    pooled: over all (image, part) pairs at once.
    base_rates: pooled, of a predictor that gives each part its share of visible images: knowing the parts alone.
    """

    per_part: Mapping[int, float]
    pooled: float
    base_rates: float

    @property
    def macro(self) -> float:
        """Mean over the parts in `per_part`; a base-rate predictor scores ½."""
        return float(np.mean(list(self.per_part.values()))) if self.per_part else float("nan")


@dataclass(frozen=True, eq=False)
class Reliability:
    """Scores read as probabilities, in B bins of equal width.

    Parameters
    ----------
    edges: (B + 1,) limits of the bins in [0, 1]; a score on a limit belongs to the upper bin, 1 to the last one.
    count: (B,) pairs in each bin.
    score: (B,) mean score, share: (B,) share that is visible; NaN in an empty bin.
    brier: mean squared difference between score and truth (1 or 0).
    """

    edges: FloatArray
    count: NDArray[np.int64]
    score: FloatArray
    share: FloatArray
    brier: float

    @property
    def expected_calibration_error(self) -> float:
        """Mean over the pairs of |mean score − visible share| of their bin."""
        full = self.count > 0
        gap = np.abs(self.score[full] - self.share[full])
        return float(gap @ self.count[full] / self.count.sum()) if full.any() else float("nan")


def visibility_auc(score: ArrayLike, visible: ArrayLike, least: int = LEAST_IMAGES) -> VisibilityAUC:
    """Return how well scores rank visible parts before hidden ones (protocol, section 5).

    Parameters
    ----------
    score: (N, P) how strongly the method believes that each part is visible.
    visible: (N, P) bool, the annotation.
    least: a part counts in the macro mean with at least so many images that show it and so many that do not.

    Raises
    ------
    DatasetError: shapes differ, or a score is not finite.
    """
    values, truth = _pairs(score, visible)
    shown = truth.sum(axis=0)
    judged = np.flatnonzero(np.minimum(shown, len(truth) - shown) >= max(least, 1))
    rates = np.broadcast_to(truth.mean(axis=0) if len(truth) else 0.0, truth.shape)
    return VisibilityAUC(
        {int(p): float(roc_auc_score(truth[:, p], values[:, p])) for p in judged},
        _pooled(truth, values),
        _pooled(truth, rates),
    )


def reliability(score: ArrayLike, visible: ArrayLike, bins: int = BINS) -> Reliability:
    """Return how far scores can be read as the probability that a part is visible.

    Parameters
    ----------
    score: (N, P) in [0, 1].
    visible: (N, P) bool, the annotation.
    bins: number of bins of equal width.

    Raises
    ------
    DatasetError: shapes differ, or a score is not in [0, 1].
    """
    values, truth = (array.ravel() for array in _pairs(score, visible))
    if values.size and (values.min() < 0 or values.max() > 1):
        raise DatasetError(
            f"reliability: scores must lie in [0, 1], not reach from {values.min():g} to {values.max():g}."
        )
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Plus a hair: 0.3 is less than the computer's 3 · 0.1, but belongs to the upper bin.
    place = np.clip(np.floor(values * bins + 1e-9).astype(np.intp), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    full = np.where(count > 0, count, 1)
    mean, share = (
        np.where(count > 0, np.bincount(place, weights, bins) / full, np.nan)
        for weights in (values, truth.astype(np.float64))
    )
    brier = float(np.mean((values - truth) ** 2)) if values.size else float("nan")
    return Reliability(edges, count, mean, share, brier)


def _pooled(truth: NDArray[np.bool_], score: FloatArray) -> float:
    if not truth.any() or truth.all():
        return float("nan")
    return float(roc_auc_score(truth.ravel(), score.ravel()))


def _pairs(score: ArrayLike, visible: ArrayLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    values, truth = np.asarray(score, dtype=np.float64), np.asarray(visible, dtype=np.bool_)
    if values.ndim != 2 or values.shape != truth.shape:
        raise DatasetError(
            f"visibility: scores and annotation must both be (N, P), not {values.shape} and {truth.shape}."
        )
    if not np.isfinite(values).all():
        raise DatasetError("visibility: a score is not finite; give parts that were not found the score 0.")
    return values, truth
