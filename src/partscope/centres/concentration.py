"""How sure a centre is of itself: the share of the map's mass near it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Radius, in map diagonals, of what counts as near.
RADIUS = 0.1


def concentration(maps: Tensor, points: Tensor, mask: Tensor | None = None, radius: float = RADIUS) -> Tensor:
    """Return for each map the share of its mass that lies within `radius` map diagonals of the centre, (M,) in [0, 1].

    Parameters
    ----------
    maps: (M, H, W), not negative; values that are not finite count as 0. points: (M, 2) centres `(x, y)` in map pixels; NaN gives 0. mask: (H, W) bool or None.
    """
    values = torch.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)
    if mask is not None:
        values = torch.where(mask.to(maps.device), values, 0)
    # Relative to the peak no sum of them under- or overflows, however small or large a gradient is.
    peak = values.flatten(1).amax(dim=1)[:, None, None]
    values = values / torch.where(peak > 0, peak, 1)
    height, width = maps.shape[-2:]
    reach = (radius * math.hypot(height, width)) ** 2
    dx = torch.arange(width, dtype=maps.dtype, device=maps.device) + 0.5 - points[:, :1].to(maps)
    dy = torch.arange(height, dtype=maps.dtype, device=maps.device) + 0.5 - points[:, 1:].to(maps)
    near = (dy[:, :, None] ** 2 + dx[:, None, :] ** 2) <= reach
    # Where there is mass at all, it is at least 1, that of the peak.
    share = torch.where(near, values, 0).sum(dim=(1, 2)) / values.sum(dim=(1, 2)).clamp_min(1)
    return torch.where(torch.isfinite(points).all(dim=1), share, 0).clamp(0, 1)
