"""Pooling backward, with the indices that the forward pass kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from partscope.backward.pieces import Piece
from partscope.backward.recording import Value
from partscope.backward.rules import Asked, Operation, Received, rule


class Pooled:
    """A pooling's own backward function on a batch: what it needs of the forward pass is repeated for each channel.

    Parameters
    ----------
    function: `(gradients, *kept) -> gradients`, on batches.
    kept: (1, C, h, w) tensors of the forward pass.
    channels: of the pooled value.
    """

    def __init__(self, function: Callable[..., Tensor], kept: Sequence[Tensor], channels: int) -> None:
        self._function = function
        self._kept = kept
        self._channels = channels
        self._repeated: tuple[Tensor, ...] = ()

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        gradient = piece.whole(self._channels).values.squeeze(1).contiguous(memory_format=torch.channels_last)
        count = len(gradient)
        if not self._repeated or len(self._repeated[0]) < count:
            self._repeated = tuple(
                tensor.detach().expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)
                for tensor in self._kept
            )
        result = self._function(gradient, *(tensor[:count] for tensor in self._repeated))
        return [Piece(result.unsqueeze(1))]


@rule("MaxPool2DWithIndicesBackward0")
def largest(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Give each window's gradient to the pixel that was its maximum."""
    if len(node._input_metadata[0].shape) != 4:
        return Asked(node, inputs)
    settings = (
        node._saved_kernel_size,
        node._saved_stride,
        node._saved_padding,
        node._saved_dilation,
        node._saved_ceil_mode,
    )

    def function(gradient: Tensor, values: Tensor, indices: Tensor) -> Tensor:
        return cast(
            Tensor, torch.ops.aten.max_pool2d_with_indices_backward(gradient, values, *settings, indices)
        )

    return Pooled(function, [node._saved_self, node._saved_result1], node._input_metadata[0].shape[1])


@rule("AvgPool2DBackward0")
def mean_of_windows(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Share each window's gradient out over its pixels."""
    if len(node._input_metadata[0].shape) != 4:
        return Asked(node, inputs)
    settings = (
        node._saved_kernel_size,
        node._saved_stride,
        node._saved_padding,
        node._saved_ceil_mode,
        node._saved_count_include_pad,
        node._saved_divisor_override,
    )

    def function(gradient: Tensor, values: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.aten.avg_pool2d_backward(gradient, values, *settings))

    return Pooled(function, [node._saved_self], node._input_metadata[0].shape[1])
