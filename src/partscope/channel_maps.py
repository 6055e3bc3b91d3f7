"""The maps in which a channel's centre is looked for, of either kind, with their place in the input and the cells that count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from partscope.backbones.core import Backbone
from partscope.backbones.geometry import CellGeometry
from partscope.backbones.preprocessing import Box
from partscope.maps import activation_maps, iterate_gradient_maps
from partscope.views import View, box_mask

#: `gradient`: the paper's, of the summed channel with respect to the pixels, a backward pass a channel. `activation`: the layer's
#: squared activations on its own grid, one forward pass for all channels. `upsampled`: the same on a grid four times as fine.
MAPS = ("gradient", "activation", "upsampled")

#: Cells of the upsampled grid for each cell of the layer's, on each axis.
UPSAMPLING = 4

#: Gradient maps that are gathered before their centres are computed: EM is batched, and 16 maps of 320² are 7 MB.
_MAPS_AT_ONCE = 16
#: Upsampled maps at once: 128 of 76² are 3 MB.
_UPSAMPLED_AT_ONCE = 128


@dataclass(frozen=True)
class ChannelMaps:
    """Maps of some channels and where they lie.

    maps: (C, H, W), not negative. cells: the grid's place in the network's input.
    """

    maps: Tensor
    cells: CellGeometry

    def to_image(self, points: Tensor, seen: View) -> Tensor:
        """Bring points (..., 2) in map pixels to image pixels, float64 on the CPU."""
        return seen.to_image(self.cells.to_input(points.cpu().double()))

    def mask(self, seen: View, box: Box | None) -> Tensor | None:
        """Return the cells (H, W) whose centre lies in a box of the picture; None without one."""
        if box is None:
            return None
        grid = (int(self.maps.shape[-2]), int(self.maps.shape[-1]))
        side = seen.inputs.shape[-1]
        rows, columns = self.cells.positions(grid)
        return box_mask(grid, seen.extent, box, (rows / side, columns / side))

    def frame(self, seen: View) -> Box:
        """Return the rectangle of the picture that the maps cover, `(x, y, width, height)` in pixels."""
        height, width = self.maps.shape[-2:]
        corners = torch.tensor([[0.0, 0.0], [width, height]], dtype=torch.float64)
        (left, top), (right, bottom) = self.to_image(corners, seen).tolist()
        return left, top, right - left, bottom - top


def channel_maps(
    backbone: Backbone,
    seen: View,
    kind: str,
    channels: Sequence[int] | None = None,
    *,
    reduction: str = "l2",
    chunk: int | None = None,
) -> Iterator[ChannelMaps]:
    """Yield the maps of channels for one input, some at a time, in the order of the channels.

    Parameters
    ----------
    backbone: network, layer, preprocessing.
    seen: what the network sees.
    kind: one of :data:`MAPS`.
    channels: the channels wanted, in this order; all by default.
    reduction, chunk: of gradients, as for :func:`partscope.maps.gradient_maps`.

    Raises
    ------
    OptionError, BackboneError: as :func:`partscope.maps.gradient_maps`.
    """
    side = seen.inputs.shape[-1]
    if kind != "gradient":
        maps = activation_maps(backbone, seen.inputs, channels).square_()
        cells = backbone.cells
        if kind == "activation":
            yield ChannelMaps(maps, cells)
            return
        for start in range(0, len(maps), _UPSAMPLED_AT_ONCE):
            block = maps[start : start + _UPSAMPLED_AT_ONCE]
            fine = functional.interpolate(
                block[None], scale_factor=UPSAMPLING, mode="bilinear", align_corners=False
            )
            yield ChannelMaps(fine[0], cells.finer(UPSAMPLING))
        return
    pixels = CellGeometry.centred(side, (side, side))
    waiting: list[Tensor] = []
    for _, piece in iterate_gradient_maps(backbone, seen.inputs, channels, reduction=reduction, chunk=chunk):
        waiting.append(piece)
        if sum(len(piece) for piece in waiting) >= _MAPS_AT_ONCE:
            yield ChannelMaps(torch.cat(waiting), pixels)
            waiting = []
    if waiting:
        yield ChannelMaps(torch.cat(waiting), pixels)


def all_channel_maps(
    backbone: Backbone, seen: View, kind: str, channels: Sequence[int], *, reduction: str = "l2"
) -> ChannelMaps:
    """Return the maps of at least one channel at once, see :func:`channel_maps`."""
    pieces = list(channel_maps(backbone, seen, kind, channels, reduction=reduction))
    return ChannelMaps(torch.cat([piece.maps for piece in pieces]), pieces[0].cells)
