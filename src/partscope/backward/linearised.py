"""`Linearised`: a recorded forward pass as a linear network that runs backward on batches of channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Importing the modules registers their rules.
from partscope.backward import arranging, convolution, elementwise, pooling
from partscope.backward.convolution import Convolution
from partscope.backward.elementwise import Scale
from partscope.backward.pieces import Piece
from partscope.backward.pooling import Pooled
from partscope.backward.recording import Recording, Value, read_recording, shape_of
from partscope.backward.rules import Operation, operation_of

__all__ = ["Linearised", "arranging", "convolution", "elementwise", "linearise", "pooling"]

_Key = tuple[int, int]


@dataclass(eq=False)
class Step:
    """One operation, the values whose gradients it takes, and those whose gradients it gives."""

    operation: Operation
    takes: list[_Key]
    gives: list[_Key | None]


class Linearised:
    """The backward pass of one forward pass, ready to run for any channels of its output.

    Made by :func:`linearise`. Equal to autograd up to rounding.
    """

    def __init__(self, recording: Recording, channels: int, like: Tensor) -> None:
        self._like = like
        self._grid = shape_of(recording.start)[2:]
        self._channels = channels
        self._start, self._end = _key(recording.start), _key(recording.end)
        self._counts: dict[_Key, int] = {}
        # Nodes are named by their addresses: they must live as long as these are used.
        self._recording = recording
        steps = []
        for node in recording.nodes:
            receivers = recording.receivers(node)
            takes = [(id(node), index) for index in range(len(node._input_metadata))]
            gives = [None if value is None else _key(value) for value in receivers]
            for value in receivers:
                if value is not None:
                    shape = shape_of(value)
                    self._counts[_key(value)] = shape[1] if len(shape) > 1 else 0
            steps.append(Step(operation_of(node, receivers), takes, gives))
        self._steps = folded(before_pooling(steps))

    def gradients(self, channels: Sequence[int]) -> Tensor:
        """Return the gradients (n, 3, S, S) of the sums of some channels with respect to the input."""
        first, last = min(channels), max(channels)
        start = torch.zeros(
            len(channels), last - first + 1, *self._grid, dtype=self._like.dtype, device=self._like.device
        ).contiguous(memory_format=torch.channels_last)
        for row, channel in enumerate(channels):
            start[row, channel - first] = 1
        known: dict[_Key, Piece] = {self._start: Piece(start.unsqueeze(1), first)}
        with torch.no_grad():
            for step in self._steps:
                received = [known.pop(key, None) for key in step.takes]
                if all(piece is None for piece in received):
                    continue
                for key, piece in zip(step.gives, step.operation(received), strict=True):
                    if key is None or piece is None:
                        continue
                    known[key] = known[key].plus(piece, self._counts[key]) if key in known else piece
        if self._end not in known:
            return self._like.new_zeros(len(channels), *self._like.shape[1:])
        return known[self._end].whole(self._like.shape[1]).values.squeeze(1)


def linearise(output: Tensor, image: Tensor) -> Linearised | None:
    """Read a forward pass that autograd has recorded.

    Parameters
    ----------
    output: (1, K, h, w), part of the graph.
    image: (1, 3, S, S), the leaf that gradients are wanted for.

    Returns
    -------
    None where the output does not depend on the image.

    Raises
    ------
    NotImplementedError: the network has operations whose backward pass is Python code; use autograd.
    """
    recording = read_recording(output, image)
    if recording is None:
        return None
    with torch.no_grad():
        return Linearised(recording, output.shape[1], image.detach())


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
    """Join steps: scales that follow one another, and scales per channel into the convolution behind them."""
    takers: dict[_Key, int] = {step.takes[0]: i for i, step in enumerate(steps) if len(step.takes) == 1}
    givers = _givers(steps)
    dropped = set()
    for i, step in enumerate(steps):
        if not isinstance(step.operation, Scale):
            continue
        (factor, key), *others = _wanted(step)
        if others or key not in takers or givers[key] != 1:
            continue
        follower = steps[takers[key]]
        if isinstance(follower.operation, Scale):
            follower.operation = Scale(
                [None if other is None else _product(factor, other) for other in follower.operation.factors]
            )
        elif isinstance(follower.operation, Convolution) and factor[0, :, :1, :1].numel() == factor.numel():
            follower.operation = follower.operation.scaled(factor.flatten())
        else:
            continue
        takers.pop(key)
        follower.takes = step.takes
        takers[step.takes[0]] = steps.index(follower)
        dropped.add(i)
    return [step for i, step in enumerate(steps) if i not in dropped]


def _givers(steps: list[Step]) -> Counter[_Key]:
    """How many steps give a gradient of each value."""
    return Counter(key for step in steps for key in step.gives if key is not None)


def _wanted(step: Step) -> list[tuple[Tensor, _Key]]:
    assert isinstance(step.operation, Scale)
    pairs = zip(step.operation.factors, step.gives, strict=True)
    return [(factor, key) for factor, key in pairs if factor is not None and key is not None]


def _product(one: Tensor, two: Tensor) -> Tensor:
    product = one * two
    return product.contiguous(memory_format=torch.channels_last) if product.ndim == 4 else product


def _key(value: Value) -> _Key:
    return id(value[0]), value[1]
