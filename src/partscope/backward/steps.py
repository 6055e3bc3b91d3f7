"""`Step`: one operation between the values whose gradients it takes and gives; and how steps are joined and ordered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from partscope.backward.convolution import Convolution
from partscope.backward.elementwise import Scale
from partscope.backward.pieces import Piece
from partscope.backward.pooling import Pooled
from partscope.backward.rules import Operation

#: A value of the forward pass: the address of the node that made it, and which of its outputs it is.
Key = tuple[int, int]


@dataclass(eq=False)
class Step:
    """One operation, the values whose gradients it takes, and those whose gradients it gives."""

    operation: Operation
    takes: list[Key]
    gives: list[Key | None]


def run_whole(
    step: Step,
    received: Sequence[Piece | None],
    known: MutableMapping[Key, Any],
    shapes: Mapping[Key, tuple[int, ...]],
) -> None:
    """Run a step on whole feature maps, and add its results to those that are known (of the values it gives, pieces)."""
    for key, piece in zip(step.gives, step.operation(received), strict=True):
        if key is not None and piece is not None:
            before = known.get(key)
            known[key] = piece if before is None else before.plus(piece, channels_of(shapes[key]))


def before_pooling(steps: list[Step]) -> list[Step]:
    """Multiply before a gradient goes back through a max pooling where a scale follows it: the maps are smaller there."""
    givers = _givers(steps)
    ordered = list(steps)
    for pooling_step in steps:
        if not isinstance(pooling_step.operation, Pooled):
            continue
        (key,) = pooling_step.gives
        scale = next((step for step in steps if step.takes == [key]), None)
        if key is None or givers[key] != 1 or scale is None or not isinstance(scale.operation, Scale):
            continue
        (factor, receiver), *others = _wanted(scale)
        small = None if others else pooling_step.operation.selected(factor)
        if small is None:
            continue
        # Its result needs a name that no value has.
        between = (key[0], -1 - key[1])
        ordered[ordered.index(pooling_step)] = Step(Scale([small]), pooling_step.takes, [between])
        ordered[ordered.index(scale)] = Step(pooling_step.operation, [between], [receiver])
    return ordered


def folded(steps: list[Step]) -> list[Step]:
    """Join steps: scales per channel into the convolution behind them, then scales that follow one another.

    In this order normalisation disappears into weights, and what remains of an activation is a mask.
    """
    return _joined(_joined(steps, _into_convolution), _into_scale)


def _joined(steps: list[Step], join: Callable[[Tensor, Operation], Operation | None]) -> list[Step]:
    """Join a scale of one value to the step behind it wherever `join` returns an operation that does both."""
    takers: dict[Key, Step] = {step.takes[0]: step for step in steps if len(step.takes) == 1}
    givers = _givers(steps)
    dropped = set()
    for i, step in enumerate(steps):
        if not isinstance(step.operation, Scale):
            continue
        (factor, key), *others = _wanted(step)
        follower = takers.get(key)
        if others or follower is None or givers[key] != 1:
            continue
        both = join(factor, follower.operation)
        if both is None:
            continue
        follower.operation, follower.takes = both, step.takes
        takers[step.takes[0]] = takers.pop(key)
        dropped.add(i)
    return [step for i, step in enumerate(steps) if i not in dropped]


def _into_convolution(factor: Tensor, operation: Operation) -> Operation | None:
    if not isinstance(operation, Convolution) or factor.ndim != 4:
        return None
    return operation.scaled(factor.flatten()) if factor[0, :, :1, :1].numel() == factor.numel() else None


def _into_scale(factor: Tensor, operation: Operation) -> Operation | None:
    if not isinstance(operation, Scale):
        return None
    return Scale([None if other is None else _product(factor, other) for other in operation.factors])


def _givers(steps: list[Step]) -> Counter[Key]:
    """How many steps give a gradient of each value."""
    return Counter(key for step in steps for key in step.gives if key is not None)


def _wanted(step: Step) -> list[tuple[Tensor, Key]]:
    assert isinstance(step.operation, Scale)
    pairs = zip(step.operation.factors, step.gives, strict=True)
    return [(factor, key) for factor, key in pairs if factor is not None and key is not None]


def _product(one: Tensor, two: Tensor) -> Tensor:
    product = one * two
    return product.contiguous(memory_format=torch.channels_last) if product.ndim == 4 else product


def channels_of(shape: tuple[int, ...]) -> int:
    """Return the channels of a value of this shape; 0 for one that has none."""
    return shape[1] if len(shape) > 1 else 0
