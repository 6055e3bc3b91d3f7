"""Operations that hand gradients on elsewhere: sums, joins, borders and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partscope.backward.elementwise import elementwise
from partscope.backward.pieces import Piece
from partscope.backward.recording import Value, shape_of
from partscope.backward.rules import Asked, Operation, Received, rule


@dataclass(eq=False)
class HandedOn:
    """The gradient of one output, for each input that it is wanted for.

    Parameters
    ----------
    wanted: of each input, whether its gradient is wanted.
    """

    wanted: list[bool]

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        shared = sum(self.wanted) > 1
        return [
            Piece(piece.values, piece.first, piece.owned and not shared) if wanted else None
            for wanted in self.wanted
        ]


@rule("CloneBackward0", "AliasBackward0", "ToCopyBackward0", "ContiguousBackward0")
def handed_on(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Pass gradients on as they are."""
    if "ToCopy" in node.name():
        return Asked(node, inputs)
    return HandedOn([value is not None for value in inputs])


@rule("AddBackward0")
def added(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Pass the gradient on to both summands."""
    output = tuple(node._input_metadata[0].shape)
    wanted = [value for value in inputs if value is not None]
    if any(shape_of(value) != output for value in wanted) or getattr(node, "_saved_alpha", 1) != 1:
        return elementwise(node, inputs)
    return HandedOn([value is not None for value in inputs])


@dataclass(eq=False)
class Joined:
    """Values joined along their channels: the gradient is cut at their borders.

    Parameters
    ----------
    widths: channels of each input.
    wanted: of each input, whether its gradient is wanted.
    """

    widths: list[int]
    wanted: list[bool]

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        result: list[Piece | None] = []
        start = 0
        for width, wanted in zip(self.widths, self.wanted, strict=True):
            low = max(start, piece.first)
            high = min(start + width, piece.first + piece.values.shape[2])
            if not wanted or low >= high:
                result.append(None)
            else:
                part = piece.values[:, :, low - piece.first : high - piece.first]
                # A slice of its own memory may be overwritten: the slices do not overlap.
                result.append(Piece(part, low - start, piece.owned))
            start += width
        return result


@rule("CatBackward0")
def joined(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Cut the gradient at the borders of the joined values."""
    axis = node._saved_dim
    axis = axis - 2**64 if axis >= 2**63 else axis
    rank = len(node._input_metadata[0].shape)
    if axis % rank != 1 or any(other is None for other, _ in node.next_functions):
        return Asked(node, inputs)
    widths = [shape_of(value)[1] for value in node.next_functions]
    return Joined(widths, [value is not None for value in inputs])


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


@dataclass(eq=False)
class Padded:
    """A border that is cut off again.

    Parameters
    ----------
    starts: width of the border at the beginning of each axis.
    shape: of the value without it.
    """

    starts: list[int]
    shape: tuple[int, ...]

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of feature maps (1, C, h, w) that remain."""
        (top, left), (height, width) = self.starts[2:], self.shape[2:]
        return slice(top, top + height), slice(left, left + width)

    def __call__(self, received: Received) -> list[Piece | None]:
        (piece,) = received
        assert piece is not None
        values = piece.values
        for axis, (start, length) in enumerate(zip(self.starts, self.shape, strict=True)):
            if axis > 1 and (start or length != values.shape[axis + 1]):
                values = values.narrow(axis + 1, start, length)
        # A view, which the next operation reads through; multiplied in place it would be slower than a new tensor.
        return [Piece(values, piece.first, owned=False)]


@rule("ConstantPadNdBackward0")
def padded(node: Any, inputs: Sequence[Value | None]) -> Operation:
    """Cut the border off."""
    pad = list(node._saved_pad)
    shape = shape_of(node.next_functions[0])
    if len(pad) > 4 or min(pad) < 0 or len(shape) - len(pad) // 2 < 2:
        return Asked(node, inputs)
    starts = [0] * (len(shape) - len(pad) // 2) + pad[::2][::-1]
    return Padded(starts, shape)


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
