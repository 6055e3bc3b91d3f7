"""Convolutions backward: a convolution again, with its weights transposed and mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from partscope.backward.availability import has_numba
from partscope.backward.pieces import Piece
from partscope.backward.recording import Value, shape_of
from partscope.backward.rules import Asked, Operation, Received, rule

_Pair = tuple[int, int]

# A strided convolution with a large kernel from a few channels (the colours) is, backward, slow in PyTorch's transposed
# convolution; by phases it takes two thirds of the time for 7×7, stride 2, and less than half for 11×11, stride 4. For 3×3
# they are equal.
_FEW_CHANNELS, _LARGE_KERNEL = 4, 5

#: Feature maps, where nothing is known of how many there will be.
MANY = 64


def _pair(values: Sequence[int]) -> _Pair:
    """A setting for both axes, which may have been given once."""
    return (values[0], values[-1])


@rule("ConvolutionBackward0")
def convolved(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Return the operation of a two-dimensional convolution; of any other, the node's own."""
    shape = shape_of(node.next_functions[0])
    if (
        len(shape) != 4
        or shape[0] != 1
        or inputs[0] is None
        or any(value is not None for value in inputs[1:])
    ):
        return Asked(node, inputs)
    if node._saved_transposed or any(node._saved_output_padding):
        return Asked(node, inputs)
    return Convolution(
        node._saved_weight.detach(),
        _pair(node._saved_stride),
        _pair(node._saved_padding),
        _pair(node._saved_dilation),
        node._saved_groups,
        (shape[2], shape[3]),
        len(inputs),
    )


@dataclass(eq=False)
class Convolution:
    """The way back through one convolution.

    Parameters
    ----------
    weight: (out, in / groups, kh, kw).
    stride, padding, dilation, groups: of the convolution.
    size: (h, w) of its input.
    inputs: number of the node's inputs.
    maps: of how many feature maps the gradients will be asked for in all, which decides what pays.
    """

    weight: Tensor
    stride: _Pair
    padding: _Pair
    dilation: _Pair
    groups: int
    size: _Pair
    inputs: int = 3
    maps: int = MANY

    def __post_init__(self) -> None:
        self._prepared: dict[tuple[int, int], Tensor] = {}
        self._tiled: Tensor | None = None

    def scaled(self, factor: Tensor) -> Convolution:
        """Return the same with the gradients that it receives multiplied by a factor per output channel, (out,)."""
        weight = (self.weight * factor.reshape(-1, 1, 1, 1)).to(self.weight.dtype)
        return replace(self, weight=weight)

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        out = self.weight.shape[0]
        low, width = piece.first, piece.values.shape[2]
        depthwise = self.groups == out and self.weight.shape[1] == 1
        if self.groups > 1 and not depthwise and width < out:
            piece = piece.whole(out)
            low, width = 0, out
        gradient = piece.values.squeeze(1)
        groups = width if depthwise else self.groups
        first = low if depthwise else 0
        return [self._piece(gradient, low, width, groups, first), *[None] * (self.inputs - 1)]

    def _piece(self, gradient: Tensor, low: int, width: int, groups: int, first: int) -> Piece:
        if (
            self.weight.shape[2:] != (1, 1)
            or self.stride == (1, 1)
            or self.padding != (0, 0)
            or self.groups > 1
        ):
            return Piece(self._back(gradient, low, width, groups).unsqueeze(1), first)
        # Of the pixels that a strided 1×1 convolution does not look at nothing is kept.
        values = functional.conv2d(gradient, self._weight(low, width, mirrored))
        return Piece(values.unsqueeze(1), first, every=self.stride, size=self.size)

    def _back(self, gradient: Tensor, low: int, width: int, groups: int) -> Tensor:
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.weight.shape[2:], strict=True)]
        if self.stride == (1, 1) and all(r >= p for r, p in zip(reach, self.padding, strict=True)):
            padding = [r - p for r, p in zip(reach, self.padding, strict=True)]
            if width == self.weight.shape[0] and self._tiles(gradient):
                return self._by_tiles(gradient, padding)
            weight = self._weight(low, width, mirrored)
            return functional.conv2d(gradient, weight, None, 1, padding, self.dilation, groups)
        square = self.stride[0] == self.stride[1] and self.dilation == (1, 1) and groups == 1
        large = min(self.weight.shape[2:]) >= _LARGE_KERNEL
        if square and self.stride[0] > 1 and self.weight.shape[1] <= _FEW_CHANNELS and large:
            stride = self.stride[0]
            weight = self._weight(low, width, lambda part, _: phases(part, stride))
            return self._by_phases(gradient, weight, stride)
        left = [
            size - ((g - 1) * s - 2 * p + r + 1)
            for size, g, s, p, r in zip(
                self.size, gradient.shape[2:], self.stride, self.padding, reach, strict=True
            )
        ]
        weight = self._weight(low, width, lambda part, _: part)
        return functional.conv_transpose2d(
            gradient, weight, None, self.stride, self.padding, left, groups, self.dilation
        )

    def _weight(self, low: int, width: int, prepare: Any) -> Tensor:
        """Return the prepared weight of some output channels; that of all of them is kept."""
        key = (low, width)
        if key in self._prepared:
            return self._prepared[key]
        weight = prepare(self.weight[low : low + width], self.groups if self.groups < width else width)
        weight = weight.contiguous(memory_format=torch.channels_last)
        if width == self.weight.shape[0]:
            self._prepared[key] = weight
        return cast(Tensor, weight)

    def share_of_time(self) -> float:
        """Return the time on whole feature maps of all channels over that of a plain convolution: below 1 by Winograd's."""
        weight = self.weight
        plain = self.groups == 1 and self.stride == self.dilation == (1, 1) and weight.shape[2:] == (3, 3)
        if not plain or max(self.padding) > 2 or weight.dtype != torch.float32 or weight.device.type != "cpu":
            return 1.0
        if not has_numba():
            return 1.0
        from partscope.backward.compiled import winograd

        return winograd.share_of_time(weight.shape[0], weight.shape[1], self.maps, self.size)

    def _tiles(self, gradient: Tensor) -> bool:
        """Whether these maps go Winograd's way."""
        # Autocast would round what a plain convolution is given.
        exact = gradient.dtype == torch.float32 and not _is_autocast()
        return exact and self.share_of_time() < 1

    def _by_tiles(self, gradient: Tensor, padding: Sequence[int]) -> Tensor:
        from partscope.backward.compiled import winograd

        if self._tiled is None:
            self._tiled = winograd.prepared(mirrored(self.weight, 1))
        return winograd.convolve(gradient, self._tiled, (padding[0], padding[1]))

    def _by_phases(self, gradient: Tensor, weight: Tensor, stride: int) -> Tensor:
        """One convolution gives the stride² pixels that belong to each output, which are then put in their places."""
        taps = weight.shape[2:]
        blocks = functional.conv2d(gradient, weight, padding=[tap - 1 for tap in taps])
        fine = functional.pixel_shuffle(blocks, stride)
        (top, left), (height, width) = self.padding, self.size
        missing = [0, max(0, left + width - fine.shape[3]), 0, max(0, top + height - fine.shape[2])]
        if any(missing):
            fine = functional.pad(fine, missing)
        return fine[:, :, top : top + height, left : left + width]


def _is_autocast() -> bool:
    """Whether PyTorch rounds what operations on a processor are given."""
    try:
        return torch.is_autocast_enabled("cpu")
    except TypeError:  # before PyTorch 2.4
        return bool(torch.is_autocast_cpu_enabled())


def mirrored(weight: Tensor, groups: int) -> Tensor:
    """Weights (out, in / groups, kh, kw) of the convolution that goes back through one of stride 1: (in, out / groups, …)."""
    out, each, *kernel = weight.shape
    if groups == 1:
        return weight.transpose(0, 1).flip(2, 3)
    grouped = weight.reshape(groups, out // groups, each, *kernel).transpose(1, 2)
    return grouped.reshape(groups * each, out // groups, *kernel).flip(2, 3)


def phases(weight: Tensor, stride: int) -> Tensor:
    """Weights (in · stride², out, m, n) of a convolution of stride 1 that gives, in the channels, each output's pixels."""
    out, each, rows, columns = weight.shape
    m, n = -(-rows // stride), -(-columns // stride)
    full = functional.pad(weight, (0, n * stride - columns, 0, m * stride - rows))
    taps = full.reshape(out, each, m, stride, n, stride).permute(1, 3, 5, 0, 2, 4).flip(4, 5)
    return taps.reshape(each * stride**2, out, m, n)
