"""What each recorded operation does to gradients. A node without a rule of its own is asked itself, channel by channel.

A rule takes a node and returns an :class:`Operation`. Everything that is the same for all channels (a factor, a folded weight, an
index) is worked out once, there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from partscope.backward.pieces import Piece
from partscope.backward.recording import Value, shape_of

Received = Sequence[Piece | None]


class Operation(Protocol):
    """One step backward: gradients with respect to a node's outputs → gradients with respect to its inputs."""

    def __call__(self, received: Received) -> list[Piece | None]:
        """Return one piece, or None, per input of the node; `received` has one, or None, per output."""


Rule = Callable[[Any, Sequence[Value | None]], Operation]

RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for the nodes of these names."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


def operation_of(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Return the operation of a node; `inputs` are the values that its gradients belong to, None where unwanted."""
    name = node.name().rsplit("::", 1)[-1]
    return RULES.get(name, Asked)(node, inputs)


class Asked:
    """The node's own backward function, one channel after the other: right for every operation, fast for none."""

    def __init__(self, node: Any, inputs: Sequence[Value | None]) -> None:
        self._node = node
        self._inputs = inputs
        self._shapes = [tuple(metadata.shape) for metadata in node._input_metadata]

    def __call__(self, received: Received) -> list[Piece | None]:
        wholes = [
            None if piece is None else piece.whole(shape[1] if len(shape) > 1 else 0).values
            for piece, shape in zip(received, self._shapes, strict=True)
        ]
        count = next(len(values) for values in wholes if values is not None)
        rows: list[list[Tensor]] = [[] for _ in self._inputs]
        for i in range(count):
            given = [None if values is None else values[i] for values in wholes]
            answer = self._node(*given)
            answers = answer if isinstance(answer, tuple) else (answer,)
            for row, value, gradient in zip(rows, self._inputs, answers, strict=True):
                if value is not None and gradient is not None:
                    row.append(gradient.sum_to_size(shape_of(value)))
        return [Piece(torch.stack(row)) if row else None for row in rows]


@dataclass(eq=False)
class Scale:
    """Multiplication by factors that are the same for every channel: masks of activations, normalisation, gates.

    Parameters
    ----------
    factors: one per input, (1, C, h, w), or (1, C, 1, 1) where it depends on the channel alone; None for an unwanted input.
    """

    factors: list[Tensor | None]

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        free = piece.owned and sum(factor is not None for factor in self.factors) == 1
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
    "ReluBackward0",
    "HardtanhBackward0",
    "HardtanhBackward1",
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


@rule("CloneBackward0", "AliasBackward0", "ToCopyBackward0", "ContiguousBackward0")
def handed_on(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Pass gradients on as they are."""
    if "ToCopy" in node.name():
        return Asked(node, inputs)
    return lambda received: [received[0]]


@rule("AddBackward0")
def added(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Pass the gradient on to both summands."""
    output = tuple(node._input_metadata[0].shape)
    wanted = [value for value in inputs if value is not None]
    if any(shape_of(value) != output for value in wanted) or getattr(node, "_saved_alpha", 1) != 1:
        return elementwise(node, inputs)
    shared = len(wanted) > 1

    def run(received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        return [
            None if value is None else Piece(piece.values, piece.first, piece.owned and not shared)
            for value in inputs
        ]

    return run


@rule("CatBackward0")
def joined(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Cut the gradient at the borders of the joined values."""
    axis = node._saved_dim
    axis = axis - 2**64 if axis >= 2**63 else axis
    rank = len(node._input_metadata[0].shape)
    if axis % rank != 1 or any(other is None for other, _ in node.next_functions):
        return Asked(node, inputs)
    widths = [shape_of(value)[1] for value in node.next_functions]

    def run(received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        result: list[Piece | None] = []
        start = 0
        for value, width in zip(inputs, widths, strict=True):
            low = max(start, piece.first)
            high = min(start + width, piece.first + piece.values.shape[2])
            if value is None or low >= high:
                result.append(None)
            else:
                part = piece.values[:, :, low - piece.first : high - piece.first]
                # A slice of its own memory may be overwritten: the slices do not overlap.
                result.append(Piece(part, low - start, piece.owned))
            start += width
        return result

    return run


@rule(
    "ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward1", "UnsqueezeBackward0"
)
def reshaped(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Give the gradient the shape that the value had."""
    output = tuple(node._input_metadata[0].shape)
    shape = shape_of(node.next_functions[0])

    def run(received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        whole = piece.whole(output[1] if len(output) > 1 else 0)
        return [Piece(whole.values.reshape(len(whole.values), *shape), owned=whole.owned)]

    return run


@rule("PermuteBackward0")
def permuted(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Permute the axes back."""
    output = tuple(node._input_metadata[0].shape)
    rank = len(output)
    dims = [d - 2**64 if d >= 2**63 else d for d in node._saved_dims]
    back = [0] * rank
    for position, axis in enumerate(dims):
        back[axis % rank] = position

    def run(received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        whole = piece.whole(output[1])
        return [Piece(whole.values.permute(0, *(axis + 1 for axis in back)), owned=whole.owned)]

    return run


@rule("ConstantPadNdBackward0")
def padded(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Cut the border off."""
    pad = list(node._saved_pad)
    if len(pad) > 4 or min(pad) < 0:
        return Asked(node, inputs)
    shape = shape_of(node.next_functions[0])
    starts = [0] * (len(shape) - len(pad) // 2) + pad[::2][::-1]

    def run(received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        values = piece.values
        for axis in range(len(shape) - len(pad) // 2, len(shape)):
            values = values.narrow(axis + 1, starts[axis], shape[axis])
        # A view, which the next operation reads through; multiplied in place it would be slower than a new tensor.
        return [Piece(values, piece.first, owned=False)]

    return run


@rule("MeanBackward1")
def averaged(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Share the gradient out over the elements that were averaged."""
    shape = shape_of(node.next_functions[0])
    output = tuple(node._input_metadata[0].shape)
    axes = sorted(
        {(a - 2**64 if a >= 2**63 else a) % len(shape) for a in node._saved_dim or range(len(shape))}
    )
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    count = 1
    for axis in axes:
        count *= shape[axis]

    def run(received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        values = piece.whole(output[1] if len(output) > 1 else 0).values
        share = (values / count).reshape(len(values), *kept)
        return [Piece(share.expand(len(values), *shape), owned=False)]

    return run


def laid_out(factor: Tensor) -> Tensor:
    """Return feature maps in channels-last order, anything else as it is."""
    factor = factor.detach()
    return factor.contiguous(memory_format=torch.channels_last) if factor.ndim == 4 else factor
