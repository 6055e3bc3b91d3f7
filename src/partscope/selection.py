"""Channel selection: Eq. 3 and its variants (section 2 of the paper), as a ranking of all candidate channels for each part.

Stated rules, where the paper leaves things open: an image in which a channel has no centre is charged the distance from the
part to the farthest image corner (a dead channel would otherwise win with the smallest sum); ties go to the lower channel
number; a part that is never visible gets no channel; several parts may share a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.dataset import PartDataset
from partscope.errors import DatasetError, OptionError

#: `squared` is Eq. 3, `mean` what its text says, `median` what the released work of the group takes.
RULES = ("squared", "mean", "median")

#: What distances are divided by: the box diagonal (the image's where there is no box), the image diagonal, or nothing (Eq. 3
#: literally, in pixels).
NORMALISERS = ("box", "image", "none")

# Distances of a block of channels to all parts are held at once; blocks keep a large layer from filling the memory.
_DISTANCES_AT_ONCE = 8_000_000


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidate channels of each part, best first.

    Parameters
    ----------
    parts: P part names.
    channels: (K,) channel numbers that were compared.
    cost: (P, K) float64, the rule's value: mean squared (Eq. 3 divided by the number of images), mean or median normalised
        distance; NaN for a part that is never visible.
    order: (P, K) positions into `channels`, best first.
    missing: (P, K) number of images with the part visible in which the channel has no centre.
    images: (P,) number of images in which the part is visible.
    complete: (K,) channels whose cost was computed in full; of the others `cost` is a lower bound and `missing` counts the
        images that were looked at. None: all of them. Complete channels come first in `order`.
    """

    parts: tuple[str, ...]
    channels: NDArray[np.int64]
    cost: NDArray[np.float64]
    order: NDArray[np.int64]
    missing: NDArray[np.int64]
    images: NDArray[np.int64]
    complete: NDArray[np.bool_] | None = None

    @property
    def exact(self) -> NDArray[np.bool_]:
        """(K,) channels whose cost is no mere lower bound."""
        return np.ones(len(self.channels), dtype=bool) if self.complete is None else self.complete

    @property
    def best(self) -> NDArray[np.int64]:
        """(P,) the winning channel's number, -1 for a part that is never visible."""
        winners = self.channels[self.order[:, 0]]
        return np.where(self.images > 0, winners, -1)

    def top(self, part: str, most: int = 10) -> list[dict[str, Any]]:
        """Return the best channels of a part as records `rank, channel, cost, missing, images, complete`.

        Raises
        ------
        OptionError: there is no such part.
        """
        if part not in self.parts:
            raise OptionError(f"there is no part {part!r} in the ranking; it has {', '.join(self.parts)}.")
        row = self.parts.index(part)
        if not self.images[row]:
            return []
        return [
            {
                "rank": rank + 1,
                "channel": int(self.channels[k]),
                "cost": float(self.cost[row, k]),
                "missing": int(self.missing[row, k]),
                "images": int(self.images[row]),
                "complete": bool(self.exact[k]),
            }
            for rank, k in enumerate(self.order[row, :most])
        ]


def selection_scale(dataset: PartDataset, normalise: str = "box") -> NDArray[np.float64]:
    """Return what the distances of each image are divided by, (N,) pixels: see :data:`NORMALISERS`.

    Raises
    ------
    OptionError: unknown normaliser.
    """
    if normalise not in NORMALISERS:
        raise OptionError(f"normalise must be one of {', '.join(NORMALISERS)}, not {normalise!r}.")
    if normalise == "none":
        return np.ones(len(dataset))
    sizes = dataset.sizes
    image: NDArray[np.float64] = np.hypot(sizes[:, 0], sizes[:, 1])
    if normalise == "image":
        return image
    boxes = dataset.boxes
    return np.where(np.isnan(boxes[:, 0]), image, np.hypot(boxes[:, 2], boxes[:, 3]))


def rank_channels(
    centres: ArrayLike,
    dataset: PartDataset,
    *,
    channels: ArrayLike | None = None,
    rule: str = "squared",
    normalise: str = "box",
) -> Ranking:
    """Rank channels for each part by the distance of their centres to the annotated positions (Eq. 3).

    Parameters
    ----------
    centres: (N, K, 2) activation centres in image pixels, NaN where a channel has none.
    dataset: N samples with P parts.
    channels: (K,) numbers of the channels; 0 … K−1 by default.
    rule: `"squared"` (Eq. 3), `"mean"` or `"median"`, over the images in which the part is visible.
    normalise: `"box"`, `"image"` or `"none"`.

    Raises
    ------
    DatasetError: shapes do not fit.
    OptionError: unknown rule or normaliser.
    """
    if rule not in RULES:
        raise OptionError(f"the selection rule must be one of {', '.join(RULES)}, not {rule!r}.")
    mu = np.asarray(centres, dtype=np.float64)
    if mu.ndim != 3 or mu.shape[0] != len(dataset) or mu.shape[2] != 2 or not mu.shape[1]:
        raise DatasetError(f"centres must have shape ({len(dataset)}, K, 2) with K ≥ 1, not {mu.shape}.")
    numbers = np.arange(mu.shape[1]) if channels is None else np.asarray(channels, dtype=np.int64)
    if numbers.shape != (mu.shape[1],):
        raise DatasetError(f"channels must have shape ({mu.shape[1]},), not {numbers.shape}.")
    scale = selection_scale(dataset, normalise)
    points, visible, sizes = dataset.points, dataset.visible, dataset.sizes
    parts, count = len(dataset.parts), mu.shape[1]
    cost = np.full((parts, count), np.nan)
    missing = np.zeros((parts, count), dtype=np.int64)
    for p in range(parts):
        shown = visible[:, p]
        if not shown.any():
            continue
        z, divisor = points[shown, p], scale[shown]
        far = np.hypot(*np.maximum(z, sizes[shown] - z).T) / divisor
        step = max(1, _DISTANCES_AT_ONCE // max(1, int(shown.sum())))
        for start in range(0, count, step):
            block = mu[shown, start : start + step]
            distance = np.hypot(*np.moveaxis(block - z[:, None], -1, 0)) / divisor[:, None]
            absent = np.isnan(distance)
            missing[p, start : start + step] = absent.sum(axis=0)
            distance = np.where(absent, far[:, None], distance)
            cost[p, start : start + step] = _RULES[rule](distance)
    order = ranking_order(cost, numbers)
    return Ranking(dataset.parts, numbers, cost, order, missing, visible.sum(axis=0).astype(np.int64))


def ranking_order(
    cost: NDArray[np.float64],
    channels: NDArray[np.int64],
    complete: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return positions (P, K), best first: complete channels before lower bounds, then by cost, ties to the lower number.

    Parameters
    ----------
    cost: (P, K), NaN last. channels: (K,) numbers. complete: (K,), all by default.
    """
    later = np.zeros(len(channels), dtype=bool) if complete is None else ~complete
    return np.stack([np.lexsort((channels, row, later)) for row in np.nan_to_num(cost, nan=np.inf)])


def shared_channels(ranking: Ranking) -> dict[int, tuple[str, ...]]:
    """Return for each winning channel the parts that it won, channels ascending ("groups of parts", section 3)."""
    groups: dict[int, list[str]] = {}
    for part, channel in zip(ranking.parts, ranking.best.tolist(), strict=True):
        if channel >= 0:
            groups.setdefault(channel, []).append(part)
    return {channel: tuple(groups[channel]) for channel in sorted(groups)}


_RULES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "squared": lambda distance: (distance**2).mean(axis=0),
    "mean": lambda distance: distance.mean(axis=0),
    "median": lambda distance: np.asarray(np.median(distance, axis=0)),
}
