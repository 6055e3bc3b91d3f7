"""Pooling backward, with the indices that the forward pass kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partscope.backward.pieces import Piece
from partscope.backward.recording import Value
from partscope.backward.rules import Asked, Operation, Received, rule


class Pooled:
    """A pooling's own backward function on a batch: what it needs of the forward pass is repeated for each channel.

    Parameters
    ----------
    node: the recorded pooling of a (1, C, h, w) value.
    function: `(gradients, values, *settings[, indices]) -> gradients`, PyTorch's own, on batches.
    settings: names of what the node keeps of the pooling's options, in the function's order.
    indices: whether the function takes the indices of the maxima as well.
    """

    def __init__(
        self, node: Any, function: Callable[..., Any], settings: Sequence[str], indices: bool = False
    ) -> None:
        self._function = function
        self._settings = [getattr(node, f"_saved_{name}") for name in settings]
        self._kept = [node._saved_self, *([node._saved_result1] if indices else [])]
        self._channels = node._input_metadata[0].shape[1]
        self._repeated: tuple[Tensor, ...] = ()

    def selected(self, factor: Tensor) -> Tensor | None:
        """Return a factor (1, C, h, w) of the pooled value at the maxima, (1, C, h', w'); None where windows are averaged.

        A gradient goes to its window's maximum and nowhere else, so that it may be multiplied before it goes there, where
        there is less to multiply.
        """
        if len(self._kept) == 1:
            return None
        indices = self._kept[1]
        size = self._kept[0].shape[2:]
        chosen = factor.expand(-1, -1, *size).flatten(2).gather(2, indices.flatten(2)).view(indices.shape)
        return chosen.contiguous(memory_format=torch.channels_last)

    def maxima(self) -> NDArray[np.int64] | None:
        """Return the position that each window's gradient goes to, (h', w', C); None where windows are averaged."""
        if len(self._kept) == 1:
            return None
        return cast("NDArray[np.int64]", self._kept[1][0].permute(1, 2, 0).numpy())

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
        values, *indices = (tensor[:count] for tensor in self._repeated)
        result = cast(Tensor, self._function(gradient, values, *self._settings, *indices))
        return [Piece(result.unsqueeze(1))]


def _of_maps(node: Any) -> bool:
    shape = node._input_metadata[0].shape
    return len(shape) == 4 and shape[0] == 1


@rule("MaxPool2DWithIndicesBackward0")
def largest(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Give each window's gradient to the pixel that was its maximum."""
    function = torch.ops.aten.max_pool2d_with_indices_backward
    settings = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    return Pooled(node, function, settings, indices=True) if _of_maps(node) else Asked(node, inputs)


@rule("AvgPool2DBackward0")
def mean_of_windows(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Share each window's gradient out over its pixels."""
    function = torch.ops.aten.avg_pool2d_backward
    settings = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    return Pooled(node, function, settings) if _of_maps(node) else Asked(node, inputs)
