"""From statistics to weights: per part, the linear discriminant between its place and the background, in closed form.

The covariance Σ of the background cells is shared by all parts; a part's weights are (Σ + λ·s·I)⁻¹ (m − μ), where m and μ are
the mean features at the part and in the background, s the mean of Σ's diagonal, and λ the shrinkage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from partscope.errors import BackboneError, OptionError
from partscope.linear.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Discriminants:
    """P linear discriminants over D features.

    Parameters
    ----------
    weights: (D, P) float32; zero for a part that no image shows.
    bias: (P,) float32. `features @ weights + bias` is the logarithm of how many times likelier the features are at the
        part than in the background, if both are normally distributed with the same covariance.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


def solve(statistics: Statistics, shrinkage: float) -> Discriminants:
    """Return the discriminants of statistics.

    Parameters
    ----------
    shrinkage: λ > 0, in units of the mean variance of a feature; it also makes a singular covariance regular.

    Raises
    ------
    OptionError: the shrinkage is not positive, or so small that a singular covariance stays singular.
    BackboneError: no feature varies.
    """
    if not (np.isfinite(shrinkage) and shrinkage > 0):
        raise OptionError(f"the shrinkage must be a positive number, not {shrinkage}.")
    mean = statistics.total / max(statistics.cells, 1)
    covariance = statistics.outer / max(statistics.cells, 1)
    covariance -= np.outer(mean, mean)
    level = float(np.trace(covariance)) / len(covariance)
    power = float(np.trace(statistics.outer)) / max(statistics.cells, 1) / len(covariance)
    # Rounding alone leaves a variance of about 1e-7 of the mean square, see Statistics.add.
    if not level > 1e-6 * power:
        raise BackboneError(
            "the network's features are the same in every cell of every training image; check its weights, its layers and "
            "its preprocessing."
        )
    covariance[np.diag_indices_from(covariance)] += shrinkage * level
    part_mean = statistics.part_total / np.maximum(statistics.shown, 1)[:, None]
    difference = np.where(statistics.shown[:, None] > 0, part_mean - mean, 0.0)
    # Single precision halves the time and suffices: the shrinkage bounds the condition.
    scaled = (covariance / level).astype(np.float32)
    try:
        factor = cho_factor(scaled, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        try:
            factor = cho_factor(covariance / level, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError as error:
            raise OptionError(
                f"the covariance of the features is singular and the shrinkage {shrinkage} too small to mend it; "
                "choose a larger one, or 'auto'."
            ) from error
    weights = cho_solve(factor, (difference / level).T.astype(factor[0].dtype), check_finite=False)
    if not np.isfinite(weights).all():
        raise OptionError(f"the shrinkage {shrinkage} is too small for these features; choose a larger one.")
    middle = np.where(statistics.shown[:, None] > 0, part_mean + mean, 0.0) / 2
    bias = -np.einsum("pd,dp->p", middle, weights.astype(np.float64))
    return Discriminants(np.ascontiguousarray(weights, dtype=np.float32), bias.astype(np.float32))
