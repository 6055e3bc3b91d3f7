"""Centres without a model: the maximum, the smoothed maximum and the centroid of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from partscope.centres.mixture import cut_points
from partscope.errors import OptionError


def maximum(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the position of each map's largest value, (M, 2) in map pixels; the mean position where several tie."""
    values = maps if mask is None else torch.where(mask, maps, 0)
    peak = values.flatten(1).amax(dim=1)[:, None, None]
    return _weighted_mean(((values == peak) & (values > 0)).to(maps.dtype))


def smoothed(maps: Tensor, mask: Tensor | None = None, sigma: float = 3.0) -> Tensor:
    """Return the maximum after Gaussian smoothing (2015), (M, 2) in map pixels.

    Parameters
    ----------
    maps: (M, H, W). mask: (H, W) bool; applied before and after smoothing.
    sigma: standard deviation in map pixels; the Gaussian is cut off at four of them.

    Raises
    ------
    OptionError: sigma is not positive.
    """
    if not sigma > 0:
        raise OptionError(f"sigma must be positive, not {sigma}.")
    values = maps if mask is None else torch.where(mask, maps, 0)
    return maximum(_smooth(values, sigma), mask)


def centroid(maps: Tensor, mask: Tensor | None = None, quantile: float = 0.9) -> Tensor:
    """Return the mean of the pixels above the quantile, weighted by their values: the mixture with one component, (M, 2)."""
    sets = cut_points(maps, quantile, mask)
    return (sets.weights.unsqueeze(-1) * sets.points).sum(dim=1)


def _smooth(maps: Tensor, sigma: float) -> Tensor:
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    stacked = maps.unsqueeze(1)
    stacked = torch.nn.functional.conv2d(stacked, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return torch.nn.functional.conv2d(stacked, kernel.view(1, 1, -1, 1), padding=(radius, 0)).squeeze(1)


def _weighted_mean(weights: Tensor) -> Tensor:
    height, width = weights.shape[-2:]
    total = weights.sum(dim=(1, 2)).clamp_min(1)
    columns = torch.arange(width, dtype=weights.dtype, device=weights.device) + 0.5
    rows = torch.arange(height, dtype=weights.dtype, device=weights.device) + 0.5
    x = (weights.sum(dim=1) * columns).sum(dim=1) / total
    y = (weights.sum(dim=2) * rows).sum(dim=1) / total
    return torch.stack((x, y), dim=1)
