"""What each recorded operation does to gradients. A node without a rule of its own is asked itself, channel by channel.

A rule takes a node and returns an :class:`Operation`. Everything that is the same for all channels (a factor, a folded weight, an
index) is worked out once, there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
