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
    """

    values: Tensor
    first: int = 0
    owned: bool = True

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
        one, two = self, other
        if (one.first, one.values.shape) != (two.first, two.values.shape):
            one, two = one.whole(channels), two.whole(channels)
        if not one.owned:
            one, two = two, one
        if one.owned:
            one.values.add_(two.values)
            return one
        return Piece(one.values + two.values, one.first)


def feature_maps(like: Tensor, channels: int) -> Tensor:
    """Return zeros in the shape of a piece's values but with other channels, channels-last in memory."""
    shape = (like.shape[0], channels, *like.shape[3:])
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    zeros = torch.zeros(shape, dtype=like.dtype, device=like.device).contiguous(memory_format=layout)
    return zeros.unsqueeze(1)
