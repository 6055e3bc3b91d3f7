"""Operations that multiply: activations, normalisation, gates and arithmetic, by derivatives that are the same for every channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partscope.backward.pieces import Piece
from partscope.backward.recording import Value, shape_of
from partscope.backward.rules import Asked, Operation, Received, rule


@dataclass(eq=False)
class Scale:
    """Multiplication by factors that are the same for every channel: masks of activations, normalisation, gates.

    Parameters
    ----------
    factors: one per input, (1, C, h, w), or (1, C, 1, 1) where it depends on the channel alone; bool where they are zeros and ones;
        None for an unwanted input.
    """

    factors: list[Tensor | None]

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        free = piece.owned and sum(factor is not None for factor in self.factors) == 1
        dtype = piece.values.dtype
        # Whole maps are multiplied by numbers; a mask is turned into them once for all channels.
        self.factors = [f.to(dtype) if f is not None and f.dtype == torch.bool else f for f in self.factors]
        return [None if factor is None else _scaled(piece, factor, free) for factor in self.factors]


def _scaled(piece: Piece, factor: Tensor, free: bool) -> Piece:
    values, first = piece.values, piece.first
    if factor.ndim > 1 and values.shape[2] != factor.shape[1]:
        factor = factor[:, first : first + values.shape[2]]
    # A slice is not overwritten: the product lies densely in new memory, where a convolution reads it without a copy.
    return Piece(values.mul_(factor) if free and is_dense(values) else values * factor, first)


def is_dense(values: Tensor) -> bool:
    """Whether the values of a piece fill their memory, feature maps in channels-last order."""
    if values.ndim == 5:
        return values.squeeze(1).is_contiguous(memory_format=torch.channels_last)
    return values.is_contiguous()


#: Operations of which each output element depends on one element of each input, by a derivative that the node itself tells
#: when it is given ones.
ELEMENTWISE = [
    "LeakyReluBackward0",
    "LeakyReluBackward1",
    "EluBackward0",
    "SeluBackward0",
    "CeluBackward0",
    "GeluBackward0",
    "SiluBackward0",
    "MishBackward0",
    "SigmoidBackward0",
    "TanhBackward0",
    "HardswishBackward0",
    "HardsigmoidBackward0",
    "SoftplusBackward0",
    "LogSigmoidBackward0",
    "ThresholdBackward0",
    "ThresholdBackward1",
    "ClampBackward0",
    "ClampBackward1",
    "ClampMinBackward0",
    "ClampMaxBackward0",
    "PowBackward0",
    "ExpBackward0",
    "LogBackward0",
    "SqrtBackward0",
    "AbsBackward0",
    "NegBackward0",
    "ReciprocalBackward0",
    "MulBackward0",
    "DivBackward0",
    "SubBackward0",
]


def ones_of(node: Any) -> Tensor:
    """Return ones in the shape of a node's output."""
    metadata = node._input_metadata[0]
    return torch.ones(tuple(metadata.shape), dtype=metadata.dtype, device=metadata.device)


# Of activations that pass a gradient on as it is or not at all, the mask is read off: asking the node takes several times as long.
@rule("ReluBackward0")
def rectified(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Pass on what belongs to positive outputs (and NaN, as PyTorch does)."""
    return Scale([laid_out((node._saved_result <= 0).logical_not_())])


@rule("HardtanhBackward0", "HardtanhBackward1")
def bounded(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Pass on what belongs to values between the bounds, such as those of ReLU6."""
    values = node._saved_self if hasattr(node, "_saved_self") else node._saved_result
    outside = (values <= node._saved_min_val).logical_or_(values >= node._saved_max_val)
    return Scale([laid_out(outside.logical_not_())])


@rule(*ELEMENTWISE)
def elementwise(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Scale by the derivative."""
    answer = node(ones_of(node))
    answers = answer if isinstance(answer, tuple) else (answer,)
    output = tuple(node._input_metadata[0].shape)
    shapes = [None if value is None else shape_of(value) for value in inputs]
    if any(shape not in (None, output) for shape in shapes):
        return Broadcast([None if v is None else a for v, a in zip(inputs, answers, strict=True)], shapes)
    factors = [
        None if value is None else laid_out(factor) for value, factor in zip(inputs, answers, strict=True)
    ]
    return Scale(factors)


@dataclass(eq=False)
class Broadcast:
    """As :class:`Scale`, where an input was repeated along axes: its gradient is summed over them."""

    factors: list[Tensor | None]
    shapes: list[tuple[int, ...] | None]

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        result: list[Piece | None] = []
        for factor, shape in zip(self.factors, self.shapes, strict=True):
            if factor is None or shape is None:
                result.append(None)
                continue
            values = piece.whole(factor.shape[1] if factor.ndim > 1 else 0).values * factor
            missing = factor.ndim - len(shape)
            if missing:
                values = values.sum(dim=tuple(range(1, 1 + missing)))
            result.append(Piece(values.sum_to_size((len(values), *shape))))
        return result


@rule("NativeBatchNormBackward0", "CudnnBatchNormBackward0", "BatchNormBackward0")
def normalised(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Scale each channel by weight / √(variance + ε), where the statistics are the stored ones."""
    if getattr(node, "_saved_training", True):
        return Asked(node, inputs)
    variance, weight = node._saved_running_var, node._saved_weight
    factor = (variance + node._saved_eps).rsqrt()
    factor = factor if weight is None else factor * weight
    rank = len(node._input_metadata[0].shape)
    factors: list[Tensor | None] = [factor.detach().reshape(1, -1, *[1] * (rank - 2))]
    return Scale(factors + [None] * (len(inputs) - 1))


def laid_out(factor: Tensor) -> Tensor:
    """Return feature maps in channels-last order, anything else as it is."""
    factor = factor.detach()
    return factor.contiguous(memory_format=torch.channels_last) if factor.ndim == 4 else factor
