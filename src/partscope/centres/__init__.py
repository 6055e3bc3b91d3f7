"""From maps to points: the activation centre of each map, batched.

To add a method is to write one function `(maps (M, H, W), mask (H, W) or None, **options) -> (M, 2)` and to register it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partscope.centres.concentration import concentration
from partscope.centres.mixture import Mixture, PointSets, cut_points, fit_mixture
from partscope.centres.simple import centroid, maximum, smoothed
from partscope.errors import OptionError, nearest_names

__all__ = [
    "CENTRES",
    "Centres",
    "Mixture",
    "PointSets",
    "concentration",
    "cut_points",
    "find_centres",
    "fit_mixture",
    "register_centre",
]

CentreMethod = Callable[..., Tensor]
CENTRES: dict[str, CentreMethod] = {}


@dataclass(frozen=True)
class Centres:
    """Activation centres of M maps.

    points: (M, 2) `(x, y)` in map pixels, x right, y down, pixel centres at +0.5; NaN where not found.
    found: (M,) bool; a map without a positive value (inside the mask) has no centre.
    """

    points: Tensor
    found: Tensor


def register_centre(name: str) -> Callable[[CentreMethod], CentreMethod]:
    """Register a centre method under a name."""

    def register(method: CentreMethod) -> CentreMethod:
        CENTRES[name] = method
        return method

    return register


@register_centre("mixture")
def mixture_centre(
    maps: Tensor,
    mask: Tensor | None = None,
    quantile: float = 0.9,
    floor: float = 0.5,
    tolerance: float = 1e-3,
    max_iterations: int = 100,
) -> Tensor:
    """Return the mean of the heavier of two components, (M, 2): the paper's centre, see :mod:`partscope.centres.mixture`."""
    sets = cut_points(maps, quantile, mask)
    return fit_mixture(sets, floor=floor, tolerance=tolerance, max_iterations=max_iterations).centre


register_centre("maximum")(maximum)
register_centre("smoothed")(smoothed)
register_centre("centroid")(centroid)


def find_centres(
    maps: Tensor, method: str = "mixture", mask: Tensor | None = None, **options: Any
) -> Centres:
    """Find the activation centre of each map.

    Parameters
    ----------
    maps: (M, H, W), not negative; values that are not finite count as 0.
    method: `"mixture"`, `"maximum"`, `"smoothed"`, `"centroid"`, or one registered with :func:`register_centre`.
    mask: (H, W) bool; the map outside counts as 0, and quantiles are taken inside (protocol §4).
    options: of the method, such as `quantile`.

    Raises
    ------
    OptionError: unknown method or option, or maps of a wrong shape.
    """
    if method not in CENTRES:
        raise OptionError(
            f"there is no centre method {method!r}; nearest names: {nearest_names(method, CENTRES)}."
        )
    _check_options(method, options)
    if maps.ndim != 3:
        raise OptionError(f"maps must have shape (M, H, W), not {tuple(maps.shape)}.")
    if mask is not None and mask.shape != maps.shape[1:]:
        raise OptionError(
            f"the mask must have the maps' shape {tuple(maps.shape[1:])}, not {tuple(mask.shape)}."
        )
    if not len(maps):
        return Centres(maps.new_empty(0, 2), torch.empty(0, dtype=torch.bool, device=maps.device))
    maps = torch.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
    if mask is not None:
        mask = mask.to(maps.device)
    peak = (maps if mask is None else torch.where(mask, maps, 0)).flatten(1).amax(dim=1)
    found = peak > 0
    # Gradients of deep networks can be tiny; scaled to a peak of 1 no sum of them under- or overflows.
    scaled = maps / torch.where(found, peak, 1)[:, None, None]
    points = CENTRES[method](scaled, mask, **options)
    return Centres(torch.where(found[:, None], points, torch.nan), found)


def _check_options(method: str, options: Mapping[str, Any]) -> None:
    # Asked of the signature: a TypeError from inside a method is a fault of the method, not of its caller.
    known = list(inspect.signature(CENTRES[method]).parameters.values())[2:]
    names = [parameter.name for parameter in known]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known)
    for name in options:
        if name not in names and not takes_any:
            raise OptionError(
                f"the centre method {method!r} has no option {name!r}; it has {', '.join(names) or 'none'}."
            )
