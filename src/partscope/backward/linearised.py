"""`Linearised`: a recorded forward pass as a linear network that runs backward on batches of channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

# Importing the modules registers their rules.
from partscope.backward import arranging, convolution, elementwise, pooling
from partscope.backward.convolution import MANY, Convolution
from partscope.backward.pieces import Piece
from partscope.backward.recording import Recording, Value, read_recording, shape_of
from partscope.backward.rules import operation_of
from partscope.backward.steps import Key, Step, before_pooling, folded, run_whole

if TYPE_CHECKING:
    from partscope.backward.compiled.sparse import Sparse

__all__ = ["Linearised", "arranging", "convolution", "elementwise", "linearise", "pooling"]

#: Channels per pass over whole feature maps: the linearised network gains from a batch from about eight on, and memory grows with it.
CHUNK = 16


class Linearised:
    """The backward pass of one forward pass, ready to run for any channels of its output.

    Made by :func:`linearise`. Equal to autograd up to rounding.
    """

    def __init__(
        self, recording: Recording, channels: int, like: Tensor, sparse: bool = False, wanted: int = MANY
    ) -> None:
        self._like = like
        self._grid = shape_of(recording.start)[2:]
        self._channels = channels
        self._start, self._end = _key(recording.start), _key(recording.end)
        self._shapes: dict[Key, tuple[int, ...]] = {self._start: shape_of(recording.start)}
        # Nodes are named by their addresses: they must live as long as these are used.
        self._recording = recording
        steps = []
        for node in recording.nodes:
            receivers = recording.receivers(node)
            takes = [(id(node), index) for index in range(len(node._input_metadata))]
            gives = [None if value is None else _key(value) for value in receivers]
            for value in receivers:
                if value is not None:
                    self._shapes[_key(value)] = shape_of(value)
            steps.append(Step(operation_of(node, receivers), takes, gives))
        self._steps = folded(before_pooling(steps))
        for step in self._steps:
            if isinstance(step.operation, Convolution):
                step.operation.maps = wanted
        for step in self._steps:
            for key in step.gives:
                if (
                    key is not None and key not in self._shapes
                ):  # between a scale that was moved and its pooling
                    self._shapes[key] = self._shapes[step.takes[0]]
        self._sparse: Sparse | None = None
        if sparse and recording.is_float32:
            from partscope.backward.compiled.sparse import Sparse  # needs Numba

            found = Sparse(self._steps, self._shapes, self._start, self._end)
            self._sparse = found if found.gains else None

    @property
    def chunk(self) -> int:
        """How many channels at a time are cheapest in bounded memory, on a processor."""
        return CHUNK if self._sparse is None else self._sparse.chunk

    def multiplications(self) -> tuple[float, float]:
        """Multiplications per channel in convolutions between all channels, all and those that are needed, where it is sparse.

        Raises
        ------
        ValueError: it is not.
        """
        if self._sparse is None:
            raise ValueError("whole feature maps are used; nothing is counted.")
        return self._sparse.multiplications()

    def gradients(self, channels: Sequence[int]) -> Tensor:
        """Return the gradients (n, 3, S, S) of the sums of some channels with respect to the input."""
        first, last = min(channels), max(channels)
        start = torch.zeros(
            len(channels), last - first + 1, *self._grid, dtype=self._like.dtype, device=self._like.device
        ).contiguous(memory_format=torch.channels_last)
        for row, channel in enumerate(channels):
            start[row, channel - first] = 1
        begin = Piece(start.unsqueeze(1), first)
        run = self._run if self._sparse is None else self._sparse
        end = run({self._start: begin})
        if end is None:
            return self._like.new_zeros(len(channels), *self._like.shape[1:])
        return end.filled().whole(self._like.shape[1]).values.squeeze(1)

    def _run(self, known: dict[Key, Piece]) -> Piece | None:
        with torch.no_grad():
            for step in self._steps:
                taken = [known.pop(key, None) for key in step.takes]
                if any(piece is not None for piece in taken):
                    received = [None if piece is None else piece.filled() for piece in taken]
                    run_whole(step, received, known, self._shapes)
        return known.get(self._end)


def linearise(output: Tensor, image: Tensor, sparse: bool = False, wanted: int = MANY) -> Linearised | None:
    """Read a forward pass that autograd has recorded.

    Parameters
    ----------
    output: (1, K, h, w), part of the graph.
    image: (1, 3, S, S), the leaf that gradients are wanted for.
    sparse: visit only elements that can have a gradient, where there are enough others (:mod:`partscope.backward.compiled.sparse`); needs
        Numba, and float32 on a processor.
    wanted: how many channels will be asked for in all, which decides what pays.

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
        return Linearised(recording, output.shape[1], image.detach(), sparse, wanted)


def _key(value: Value) -> Key:
    return id(value[0]), value[1]
