"""The paper's activation centre: a two-component Gaussian mixture over the map's pixels, weighted by their values (section 2).

The map is cut at its 0.9 quantile first (values below become 0): without the cut the heavier component is the diffuse
background. What is left are weighted points, a tenth of the pixels; EM runs on all maps of a batch at once, with the 2×2
algebra written out. Component 0 and 1 start on either side of the weighted mean along the principal axis, so that the start,
and hence the result, is deterministic and moves with the map under shifts, flips and scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

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
    points = torch.stack((index % width + 0.5, torch.div(index, width, rounding_mode="floor") + 0.5), dim=-1)
    total = weights.sum(dim=1, keepdim=True)
    return PointSets(points.to(maps.dtype), weights / total.clamp_min(torch.finfo(maps.dtype).tiny))


def fit_mixture(
    sets: PointSets,
    *,
    floor: float = 0.5,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
) -> Mixture:
    """Fit the mixture by weighted EM, all maps at once.

    Parameters
    ----------
    sets: weighted points of M maps.
    floor: added to the diagonal of each covariance, in square pixels: it keeps a component on few points from collapsing.
    tolerance: a map stops when its mean log-likelihood per point grows by less than this in a step.
    max_iterations: most EM steps.

    Returns
    -------
    A map without weight has means of NaN.
    """
    points, weights = sets.points, sets.weights
    share, mean, covariance = _start(points, weights, floor)
    log_likelihood = points.new_full((len(points),), -math.inf)
    iterations = torch.zeros(len(points), dtype=torch.long, device=points.device)
    active = torch.nonzero(weights.sum(dim=1) > 0).flatten()
    # Views are gathered anew only when the set of unfinished maps has shrunk by a quarter: gathering costs a pass of its own.
    held = active
    x, y, w = points[held, :, 0], points[held, :, 1], weights[held]
    for _ in range(max_iterations):
        if not len(active):
            break
        if len(active) < 0.75 * len(held):
            held = active
            x, y, w = points[held, :, 0], points[held, :, 1], weights[held]
        new_share, new_mean, new_covariance, new_log = _step(
            x, y, w, share[held], mean[held], covariance[held], floor
        )
        going = torch.isin(held, active)
        rows = held[going]
        gain = new_log[going] - log_likelihood[rows]
        share[rows], mean[rows], covariance[rows] = new_share[going], new_mean[going], new_covariance[going]
        log_likelihood[rows] = new_log[going]
        iterations[rows] += 1
        active = rows[gain >= tolerance]
    empty = weights.sum(dim=1) == 0
    mean[empty] = math.nan
    return Mixture(share, mean, covariance, log_likelihood, iterations)


def _start(points: Tensor, weights: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Two components at the mean ± one standard deviation along the principal axis, each with the whole covariance."""
    total = weights.sum(dim=1).clamp_min(torch.finfo(points.dtype).tiny)
    centre = (weights.unsqueeze(-1) * points).sum(dim=1) / total.unsqueeze(-1)
    dx, dy = points[..., 0] - centre[:, :1], points[..., 1] - centre[:, 1:]
    a = (weights * dx * dx).sum(dim=1) / total
    b = (weights * dx * dy).sum(dim=1) / total
    c = (weights * dy * dy).sum(dim=1) / total
    # Principal axis of [[a, b], [b, c]] in closed form: half the angle of (a − c, 2b).
    angle = 0.5 * torch.atan2(2 * b, a - c)
    spread = (0.5 * (a + c) + torch.sqrt((0.5 * (a - c)) ** 2 + b * b)).clamp_min(0).sqrt()
    offset = torch.stack((torch.cos(angle), torch.sin(angle)), dim=-1) * spread.unsqueeze(-1)
    mean = torch.stack((centre - offset, centre + offset), dim=1)
    single = torch.stack((torch.stack((a + floor, b), -1), torch.stack((b, c + floor), -1)), dim=-2)
    share = points.new_full((len(points), 2), 0.5)
    return share, mean, torch.stack((single, single), dim=1).clone()


def _step(
    x: Tensor, y: Tensor, w: Tensor, share: Tensor, mean: Tensor, covariance: Tensor, floor: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One EM step; x, y, w are (M, n). Returns the new parameters and the log-likelihood of the old ones."""
    log_density = []
    for j in (0, 1):
        a, b, c = covariance[:, j, 0, 0], covariance[:, j, 0, 1], covariance[:, j, 1, 1]
        determinant = a * c - b * b
        dx, dy = x - mean[:, j, 0:1], y - mean[:, j, 1:2]
        inverse = (-0.5 / determinant).unsqueeze(1)
        quadratic = dx * (dx * (c.unsqueeze(1) * inverse) - dy * (2 * b.unsqueeze(1) * inverse))
        quadratic = quadratic + dy * dy * (a.unsqueeze(1) * inverse)
        constant = torch.log(share[:, j]) - 0.5 * torch.log(determinant) - math.log(2 * math.pi)
        log_density.append(quadratic + constant.unsqueeze(1))
    # Responsibility of component 0 is a logistic function of the difference; the log-likelihood a softplus of it.
    difference = log_density[1] - log_density[0]
    first = torch.sigmoid(-difference)
    log_likelihood = (w * (log_density[0] + torch.nn.functional.softplus(difference))).sum(dim=1)
    tiny = torch.finfo(x.dtype).tiny
    first = w * first
    parts = (first, w - first)
    mass = torch.stack([part.sum(dim=1) for part in parts], dim=1)
    new_mean, new_covariance = [], []
    for j, part in enumerate(parts):
        scaled = part / mass[:, j : j + 1].clamp_min(tiny)
        # Moments about the component's old mean: about the origin, float32 would lose half its digits.
        dx, dy = x - mean[:, j, 0:1], y - mean[:, j, 1:2]
        sx, sy = scaled * dx, scaled * dy
        mx, my = sx.sum(dim=1), sy.sum(dim=1)
        a = (sx * dx).sum(dim=1) - mx * mx + floor
        b = (sx * dy).sum(dim=1) - mx * my
        c = (sy * dy).sum(dim=1) - my * my + floor
        new_mean.append(torch.stack((mean[:, j, 0] + mx, mean[:, j, 1] + my), dim=1))
        new_covariance.append(torch.stack((torch.stack((a, b), -1), torch.stack((b, c), -1)), dim=-2))
    # A component that lost all its points keeps its old place with no share.
    dead = mass <= tiny
    means = torch.where(dead.unsqueeze(-1), mean, torch.stack(new_mean, dim=1))
    covariances = torch.where(dead[..., None, None], covariance, torch.stack(new_covariance, dim=1))
    total = mass.sum(dim=1, keepdim=True)
    return (mass / total).clamp_min(tiny), means, covariances, log_likelihood
