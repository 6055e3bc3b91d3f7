"""Which elements of each value can have a gradient, the same for every channel, and which are needed.

A gradient is zero behind a unit that its activation cut off, and beside a window's maximum. That is known from the forward pass:
`reached` follows it from the layer to the image, `needed` the other way round, since what the next mask erases need not be
worked out. Masks are (h, w, C); None stands for all elements. Needs Numba.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partscope.backward.arranging import HandedOn, Joined, Padded
from partscope.backward.compiled import kernels
from partscope.backward.elementwise import Scale
from partscope.backward.pooling import Pooled
from partscope.backward.steps import Key, Step

Mask = NDArray[np.bool_] | None

# With more of the elements than this to be visited, nothing is gained.
_MOST = 0.9


class Reach:
    """The masks of all values of a linearised network.

    Parameters
    ----------
    steps: its steps, from the layer to the image.
    shapes: of the values, (1, C, h, w); values of another shape have no mask.
    start: the value whose gradient is given.
    """

    def __init__(self, steps: Sequence[Step], shapes: Mapping[Key, tuple[int, ...]], start: Key) -> None:
        self._shapes = shapes
        reached: dict[Key, Mask] = {start: None}
        for step in steps:
            if not any(key in reached for key in step.takes):
                continue
            masks = self._behind(step, reached.get(step.takes[0]))
            for key, mask in zip(step.gives, masks, strict=True):
                if key is not None:
                    reached[key] = united(reached[key], mask) if key in reached else mask
        needed: dict[Key, Mask] = {}
        for step in reversed(steps):
            mask = self._before(step, [None if key is None else needed.get(key) for key in step.gives])
            needed.update(dict.fromkeys(step.takes, mask))
        self._masks = {key: common(mask, needed.get(key)) for key, mask in reached.items()}

    def mask(self, key: Key) -> NDArray[np.bool_] | None:
        """Return the elements (h, w, C) of a value that can have a gradient and are needed; None where it is no feature map."""
        shape = self._shapes.get(key, ())  # an output that nothing uses has none
        if len(shape) != 4 or shape[0] != 1:
            return None
        mask = self._masks.get(key)
        return np.ones((*shape[2:], shape[1]), bool) if mask is None else mask

    @property
    def restricts(self) -> bool:
        """Whether enough elements of any value need not be visited."""
        return any(mask is not None and mask.mean() < _MOST for mask in self._masks.values())

    @property
    def largest(self) -> int:
        """Elements, of the value with the most, that can have a gradient and are needed."""
        counts = [
            prod(self._shapes[key]) if mask is None else int(mask.sum()) for key, mask in self._masks.items()
        ]
        return max(counts)

    def _behind(self, step: Step, mask: Mask) -> list[Mask]:
        """Where a step's gradients can be, for one taken at the elements of a mask."""
        operation = step.operation
        if isinstance(operation, Scale):
            return [None if f is None else common(mask, nonzero(f)) for f in operation.factors]
        if isinstance(operation, HandedOn):
            return [mask] * len(step.gives)
        if mask is None:
            maxima = operation.maxima() if isinstance(operation, Pooled) else None
            if maxima is None:
                return [None] * len(step.gives)
            mask = np.ones(maxima.shape, bool)
        if isinstance(operation, Joined):
            return np.split(mask, np.cumsum(operation.widths)[:-1], axis=2)  # type: ignore[return-value]
        if isinstance(operation, Padded):
            return [mask[operation.window]]
        if isinstance(operation, Pooled) and (maxima := operation.maxima()) is not None:
            (key,) = step.gives
            assert key is not None
            height, width = self._shapes[key][2:]
            behind = np.zeros((height * width, mask.shape[2]), bool)
            channels = mask.shape[2]
            kernels.behind_maxima(behind, mask.reshape(-1, channels), maxima.reshape(-1, channels))
            return [behind.reshape(height, width, -1)]
        return [None] * len(step.gives)

    def _before(self, step: Step, masks: list[Mask]) -> Mask:
        """Where a step's gradient is needed, for given elements that its results are needed at."""
        operation = step.operation
        if isinstance(operation, Scale):
            pairs = zip(operation.factors, masks, strict=True)
            wanted = [common(mask, nonzero(factor)) for factor, mask in pairs if factor is not None]
            return all_of(wanted)
        if isinstance(operation, HandedOn):
            return all_of([m for m, is_wanted in zip(masks, operation.wanted, strict=True) if is_wanted])
        if all(mask is None for mask in masks):
            return None
        if isinstance(operation, Joined):
            grid = next(mask.shape[:2] for mask in masks if mask is not None)
            parts = zip(operation.widths, operation.wanted, masks, strict=True)
            return np.concatenate(
                [np.full((*grid, n), is_wanted) if mask is None else mask for n, is_wanted, mask in parts],
                axis=2,
            )
        mask = masks[0]
        if mask is None:
            return None
        if isinstance(operation, Padded):
            shape = self._shapes[step.takes[0]]
            before = np.zeros((*shape[2:], shape[1]), bool)
            before[operation.window] = mask
            return before
        if isinstance(operation, Pooled) and (maxima := operation.maxima()) is not None:
            flat = mask.reshape(-1, mask.shape[2])
            return flat[maxima, np.arange(mask.shape[2])]
        return None


def nonzero(factor: Tensor) -> Mask:
    """Return where a factor (1, C, h, w) or (1, C, 1, 1) is not zero; None where it nowhere is, or is no feature map's."""
    if factor.ndim != 4 or len(factor) != 1:
        return None
    maps = factor[0].permute(1, 2, 0)
    mask = (maps if maps.dtype == torch.bool else maps != 0).numpy()
    return None if mask.all() or mask.shape[:2] == (1, 1) else mask


def common(one: Mask, two: Mask) -> Mask:
    """Return the elements of both masks."""
    if one is None or two is None:
        return two if one is None else one
    return one & two


def united(one: Mask, two: Mask) -> Mask:
    """Return the elements of either mask."""
    return None if one is None or two is None else one | two


def all_of(masks: Sequence[Mask]) -> Mask:
    """Return the elements of any of the masks."""
    return reduce(united, masks)
