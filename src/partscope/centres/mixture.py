"""The paper's activation centre: a two-component Gaussian mixture over the map's pixels, weighted by their values (section 2).

The map is cut at its 0.9 quantile first (values below become 0): without the cut the heavier component is the diffuse
background. What is left are weighted points, a tenth of the pixels; EM (:mod:`partscope.centres.em`) runs on all maps of a
batch at once, with the 2×2 algebra written out. The paper leaves the start open. Here both components start at the weighted
mean, one a third as wide as the other, so that one can take the object and the other what is scattered around it; the result is
deterministic and moves with the map under shifts, flips and scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partscope.centres.em import fit_two_components
from partscope.errors import OptionError


@dataclass(frozen=True)
class PointSets:
    """Weighted points of M maps, padded to n points each.

    points: (M, n, 2) positions `(x, y)` in map pixels, pixel centres at +0.5. weights: (M, n), 0 for padding.
    """

    points: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Mixture:
    """Two Gaussian components for each of M maps.

    share: (M, 2) mixing proportions. mean: (M, 2, 2) component means `(x, y)` in map pixels. covariance: (M, 2, 2, 2).
    log_likelihood: (M,) weighted mean log-likelihood of the points at the last E-step. iterations: (M,) EM steps taken.
    """

    share: Tensor
    mean: Tensor
    covariance: Tensor
    log_likelihood: Tensor
    iterations: Tensor

    @property
    def heavier(self) -> Tensor:
        """(M,) index of the component with the larger proportion; the first on a tie."""
        return (self.share[:, 1] > self.share[:, 0]).long()

    @property
    def centre(self) -> Tensor:
        """(M, 2) mean of the heavier component."""
        return self.mean[torch.arange(len(self.mean), device=self.mean.device), self.heavier]


def cut_points(maps: Tensor, quantile: float = 0.9, mask: Tensor | None = None) -> PointSets:
    """Keep the pixels whose value reaches the map's quantile, as points weighted by their values.

    Parameters
    ----------
    maps: (M, H, W), not negative.
    quantile: share of the pixels that is cut, 0 to keep all positive ones. With a mask the quantile is taken over the
        pixels inside it, since a small region would otherwise not be cut at all.
    mask: (H, W) bool, or None for the whole map.

    Returns
    -------
    Weights sum to 1 for each map that has a positive value, and are all 0 for one that has none.
    """
    if not 0 <= quantile < 1:
        raise OptionError(f"the quantile must lie in [0, 1), not {quantile}.")
    width = maps.shape[-1]
    inside = None if mask is None else torch.nonzero(mask.flatten()).flatten()
    values = maps.flatten(1) if inside is None else maps.flatten(1)[:, inside]
    if values.shape[1] == 0:
        return PointSets(maps.new_zeros(len(maps), 1, 2), maps.new_zeros(len(maps), 1))
    # The value at the quantile, "higher" rule: position ceil(q·(n − 1)) of the sorted values.
    rank = math.ceil(quantile * (values.shape[1] - 1))
    top = values.topk(values.shape[1] - rank, dim=1, sorted=True)
    threshold = top.values[:, -1:]
    kept = (values >= threshold) & (values > 0)
    most = int(kept.sum(dim=1).max()) if len(values) else 0
    if most > top.values.shape[1]:
        # Ties at the threshold: take all of them, or the choice among them would break the symmetry of the map.
        top = values.topk(most, dim=1, sorted=True)
    weights = torch.where((top.values >= threshold) & (top.values > 0), top.values, 0)
    index = top.indices if inside is None else inside[top.indices]
    rows = torch.div(index, width, rounding_mode="floor")
    # x and y one after the other in memory, as EM reads them.
    points = torch.stack((index - rows * width, rows), dim=1).mT.to(maps.dtype) + 0.5
    total = weights.sum(dim=1, keepdim=True)
    return PointSets(points, weights / total.clamp_min(torch.finfo(maps.dtype).tiny))


def fit_mixture(
    sets: PointSets,
    *,
    floor: float = 0.5,
    tolerance: float = 1e-5,
    max_iterations: int = 200,
) -> Mixture:
    """Fit the mixture by weighted EM, all maps at once.

    Parameters
    ----------
    sets: weighted points of M maps.
    floor: added to the diagonal of each covariance, in square pixels: it keeps a component on few points from collapsing.
    tolerance: a map stops when its weighted mean log-likelihood grows by less than this in a step.
    max_iterations: most EM steps; 0 returns the start.

    Returns
    -------
    A map without weight has means of NaN.
    """
    fitted = fit_two_components(sets.points, sets.weights, floor, tolerance, max_iterations)
    share, _, _, a, c, b = fitted.parameters.unbind(dim=-1)
    covariance = torch.stack((torch.stack((a, b), dim=-1), torch.stack((b, c), dim=-1)), dim=-2)
    return Mixture(share, fitted.parameters[..., 1:3], covariance, fitted.log_likelihood, fitted.steps)
