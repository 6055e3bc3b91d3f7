"""The backward pass at those elements alone that can have a gradient: the same result, fewer multiplications. Needs Numba.

Behind a ReLU most units of a trained network are off, and of a max pooling's window one element of nine passes the gradient on;
all channels share both. So a convolution has work to do only between units that are on at both of its ends, a small part of
its multiplications (docs/gradients.md). Gradients are held as rows, one per such element, sixteen channels side by
side, and each step runs over lists of rows.

Where a convolution meets few zeros, and where an operation is not known here, the step runs on whole feature maps as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from partscope.backward.compiled.lanes import LANES, ROW_BYTES
from partscope.backward.compiled.reach import Reach
from partscope.backward.compiled.row_operations import (
    RowOperation,
    has_row_operation,
    plain,
    row_operation,
    visited,
)
from partscope.backward.compiled.rows import Listing, Rows
from partscope.backward.convolution import Convolution
from partscope.backward.pieces import Piece
from partscope.backward.steps import Key, Step, run_whole

Gradient = Piece | Rows

# Times of the loops over rows, in multiplications of a dense convolution: of one of theirs, and of one element's way between rows
# and feature maps. Measured on one machine; they decide how long a pass takes, not what it gives.
_VISIT, _TURN = 2, 80

# Blocks of channels at a time at most, and the bytes that the largest value's gradients may take.
_BLOCKS, _MEMORY = 4, 256 * 2**20


@dataclass
class Visit:
    """A convolution's multiplications per channel: all, and those between listed elements of its two ends.

    `share` is the time on whole feature maps over that of a plain convolution.
    """

    every: float
    some: float
    given: Listing
    out: Listing
    share: float

    def cost(self, from_rows: bool) -> float:
        """Return the time on rows, in multiplications of a dense convolution."""
        return _VISIT * self.some + (0 if from_rows else _TURN * len(self.given.rows))

    def pays(self, from_rows: bool) -> bool:
        """Whether it is faster on rows, coming from rows or from feature maps."""
        back = _TURN * (self.given.size + self.out.size) if from_rows else 0
        return self.cost(from_rows) <= self.every * self.share + back


class Sparse:
    """Runs the steps of a linearised network on rows where that pays.

    Parameters
    ----------
    steps: of the linearised network.
    shapes: of its values, (1, C, h, w).
    start, end: the value that gradients are given of, and the image.
    """

    def __init__(
        self, steps: Sequence[Step], shapes: Mapping[Key, tuple[int, ...]], start: Key, end: Key
    ) -> None:
        self._steps = steps
        self._shapes = shapes
        self._end = end
        self._reach = Reach(steps, shapes, start)
        self._listings: dict[Key, Listing | None] = {}
        self._operations: dict[tuple[Key, Key, int, Listing], RowOperation | None] = {}
        self._visits: dict[Key, Visit | None] = {}

    @property
    def gains(self) -> bool:
        """Whether it is expected to be faster than whole feature maps throughout."""
        return self._reach.restricts and self._saved() > 0

    def multiplications(self) -> tuple[float, float]:
        """Multiplications per channel in convolutions between all channels: all, and those that need to be done."""
        found = [visit for step in self._steps if (visit := self._visit(step)) is not None]
        return sum(visit.every for visit in found), sum(visit.some for visit in found)

    def _saved(self) -> float:
        """Multiplications per channel that are expected to be saved, less what turning between rows and maps costs."""
        saved = 0.0
        known: dict[Key, bool] = {}  # whether a value's gradient will be rows
        for step in self._steps:
            take = step.takes[0]
            were_rows = known.pop(take, False)
            on_rows = were_rows and has_row_operation(step.operation)
            visit = self._visit(step)
            if visit is not None:
                on_rows = visit.pays(were_rows)
                if on_rows:
                    saved += visit.every * visit.share - visit.cost(were_rows)
            listing = self._listing(take)
            if were_rows and not on_rows and listing is not None:
                saved -= _TURN * listing.size
            for key in step.gives:
                if key is not None:
                    known[key] = known.get(key, False) or on_rows
        return saved

    def _visit(self, step: Step) -> Visit | None:
        """What a convolution between all channels has to do; None for other steps."""
        take, operation = step.takes[0], step.operation
        if not isinstance(operation, Convolution) or operation.groups > 1 or not has_row_operation(operation):
            return None
        if take not in self._visits:
            given, out = (
                self._listing(take),
                self._listing(next(key for key in step.gives if key is not None)),
            )
            self._visits[take] = (
                None
                if given is None or out is None
                else Visit(*visited(operation, given, out), given, out, operation.share_of_time())
            )
        return self._visits[take]

    @property
    def chunk(self) -> int:
        """Channels at a time: many, so that lists are gone through for several blocks, but in bounded memory."""
        return LANES * max(1, min(_BLOCKS, _MEMORY // (max(1, self._reach.largest) * ROW_BYTES)))

    def __call__(self, known: dict[Key, Piece | Rows]) -> Piece | None:
        """Return the image's gradients for the start's; None where nothing reaches the image."""
        with torch.no_grad():
            for step in self._steps:
                taken = [known.pop(key, None) for key in step.takes]
                if any(gradient is not None for gradient in taken):
                    self._run(step, [g.filled() if isinstance(g, Piece) else g for g in taken], known)
        end = known.get(self._end)
        return end.piece(torch.contiguous_format) if isinstance(end, Rows) else end

    def _run(self, step: Step, received: list[Gradient | None], known: dict[Key, Gradient]) -> None:
        only_one = all(gradient is None for gradient in received[1:])
        rows = self._rows(step, received[0]) if only_one else None
        if rows is None:
            self._run_whole(step, received, known)
            return
        if sum(key is not None for key in step.gives) > 1:  # several results are made of them
            rows = Rows(rows.listing, rows.values, rows.count, owned=False)
        for index, key in enumerate(step.gives):
            if key is not None:
                operation = self._operation(step, index, rows.listing)
                assert operation is not None
                known[key] = operation(rows, self._plain(known.get(key), key))

    def _run_whole(self, step: Step, received: list[Gradient | None], known: dict[Key, Gradient]) -> None:
        """Run a step on whole feature maps."""
        for key in step.gives:
            if key is not None and isinstance(gradient := known.get(key), Rows):
                known[key] = gradient.piece()
        run_whole(step, [as_piece(gradient) for gradient in received], known, self._shapes)

    def _rows(self, step: Step, gradient: Gradient | None) -> Rows | None:
        """The gradient as rows, where the step is to run on them."""
        take, operation = step.takes[0], step.operation
        own = self._listing(take)
        if own is None or gradient is None:
            return None
        if isinstance(gradient, Piece):
            narrow = gradient.values.shape[2] != self._shapes[take][1]
            if narrow or not isinstance(operation, Convolution) or operation.groups > 1:
                return None
        elif isinstance(operation, Convolution) and operation.groups > 1:
            gradient = plain(gradient, own)
        listing = gradient.listing if isinstance(gradient, Rows) else own
        visit = self._visit(step)
        if visit is not None and not visit.pays(isinstance(gradient, Rows)):
            return None
        if any(
            key is not None and self._operation(step, i, listing) is None for i, key in enumerate(step.gives)
        ):
            return None
        return gradient if isinstance(gradient, Rows) else Rows.gathered(gradient, own)

    def _plain(self, gradient: Gradient | None, key: Key) -> Rows | None:
        """What is known of a value's gradient, as rows of the plain listing."""
        if gradient is None:
            return None
        listing = self._listing(key)
        assert listing is not None
        if isinstance(gradient, Rows):
            return plain(gradient, listing)
        return Rows.gathered(gradient.filled().whole(self._shapes[key][1]), listing)

    def _listing(self, key: Key) -> Listing | None:
        if key not in self._listings:
            mask = self._reach.mask(key)
            self._listings[key] = None if mask is None else Listing.of(mask)
        return self._listings[key]

    def _operation(self, step: Step, index: int, given: Listing) -> RowOperation | None:
        take, give = step.takes[0], step.gives[index]
        assert give is not None
        name = (take, give, index, given)  # a node may give the same value twice
        if name not in self._operations:
            out = self._listing(give)
            found = None if out is None else row_operation(step.operation, given, out, index)
            self._operations[name] = found
        return self._operations[name]


def as_piece(gradient: Gradient | None) -> Piece | None:
    """Return whole feature maps."""
    return gradient.piece() if isinstance(gradient, Rows) else gradient
