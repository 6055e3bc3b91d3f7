"""`Piece`: the gradients of several channels' sums with respect to one value of the forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(eq=False)
class Piece:
    """Gradients of n channels' sums with respect to one value of shape (1, C, …).

    Parameters
    ----------
    values: (n, 1, c, …), the value's channels from `first` on; the others have zero gradient. Batches of feature maps are
        in channels-last order in memory, which is what convolutions on a CPU are fast with.
    first: see above; 0 where `values` has all channels.
    owned: nobody else holds `values`, so that it may be overwritten.
    every, size: `values` are those of every n-th pixel, down and across, of maps of a size (h, w), from the first one on; the others
        have zero gradient. Steps are given pieces that are :meth:`filled`.
    """

    values: Tensor
    first: int = 0
    owned: bool = True
    every: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (0, 0)

    def filled(self) -> Piece:
        """Return the same gradients with all pixels."""
        if self.every == (1, 1):
            return self
        maps = feature_maps(self.values, self.values.shape[2], self.size)
        self._pixels_of(maps).copy_(self.values)
        return Piece(maps, self.first)

    def _pixels_of(self, maps: Tensor) -> Tensor:
        """Those pixels of whole maps that these values are of."""
        down, across = self.every
        return maps[..., ::down, ::across]

    def whole(self, channels: int) -> Piece:
        """Return the same gradients with all channels of the value."""
        values = self.values
        if values.ndim < 3 or values.shape[2] == channels:
            return self
        full = feature_maps(values, channels)
        full[:, :, self.first : self.first + values.shape[2]] = values
        return Piece(full)

    def plus(self, other: Piece, channels: int) -> Piece:
        """Return the sum of two pieces, in the memory of one of them where that is free."""
        one, two = (self, other) if other.every == (1, 1) else (other, self)
        if one.every != (1, 1):
            alike = (one.first, one.values.shape[:3]) == (two.first, two.values.shape[:3])
            if alike and two.every == (1, 1) and two.owned:
                one._pixels_of(two.values).add_(one.values)
                return two
            one, two = one.filled(), two.filled()
        if (one.first, one.values.shape) != (two.first, two.values.shape):
            one, two = one.whole(channels), two.whole(channels)
        if not one.owned:
            one, two = two, one
        if one.owned:
            one.values.add_(two.values)
            return one
        return Piece(one.values + two.values, one.first)


def feature_maps(like: Tensor, channels: int, size: tuple[int, ...] | None = None) -> Tensor:
    """Return zeros in the shape of a piece's values but with other channels, or of another size, channels-last in memory."""
    shape = (like.shape[0], channels, *(like.shape[3:] if size is None else size))
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    maps = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)
    return maps.zero_().unsqueeze(1)
