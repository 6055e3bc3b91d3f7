"""Operations of the backward pass on :class:`partscope.backward.compiled.rows.Rows`. Needs Numba.

Masks, joins, borders and max pooling only change which row stands for which element: a new listing of the same array. Only
convolutions and factors other than 0 and 1 work anything out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from partscope.backward.arranging import HandedOn, Joined, Padded
from partscope.backward.compiled import kernels
from partscope.backward.compiled.rows import Integers, Listing, Rows, empty, share, zeros
from partscope.backward.convolution import Convolution
from partscope.backward.elementwise import Scale
from partscope.backward.pooling import Pooled
from partscope.backward.rules import Operation

_LARGEST = 2**31 - 1


class RowOperation(Protocol):
    """One step backward, from rows to the rows of one of its inputs."""

    def __call__(self, rows: Rows, earlier: Rows | None) -> Rows:
        """Return the result, added to what is there already."""


def row_operation(operation: Operation, given: Listing, out: Listing, index: int) -> RowOperation | None:
    """Return the way to work out an operation's result number `index` on rows; None where there is none.

    Parameters
    ----------
    operation: the step's.
    given: listing of the gradient that it takes.
    out: plain listing of the elements that the result is wanted at.
    """
    if not has_row_operation(operation):
        return None
    if isinstance(operation, Convolution):
        return (ConvolvedRows if operation.groups == 1 else DepthwiseRows)(operation, given, out)
    if isinstance(operation, Pooled):
        maxima = operation.maxima()
        assert maxima is not None
        return Relisted(pooled(maxima, given, out), out)
    if isinstance(operation, Scale):
        factor = operation.factors[index]
        assert factor is not None
        return Relisted(picked(given, out), out, factor_at(factor, out))
    if isinstance(operation, HandedOn):
        return Relisted(picked(given, out), out)
    if isinstance(operation, Joined):
        return Relisted(picked(given, out, shift=sum(operation.widths[:index])), out)
    if isinstance(operation, Padded):
        rows, columns = operation.window
        return Relisted(picked(given, out, corner=(rows.start, columns.start)), out)
    raise AssertionError(operation)


def has_row_operation(operation: Operation) -> bool:
    """Whether an operation can run on rows."""
    if isinstance(operation, Convolution):
        weight = operation.weight
        if weight.numel() > _LARGEST or weight.dtype != torch.float32:
            return False
        return operation.groups == 1 or (operation.groups == len(weight) and weight.shape[1] == 1)
    if isinstance(operation, Pooled):
        return operation.maxima() is not None
    if isinstance(operation, Scale):
        return all(
            factor is None or (factor.ndim == 4 and factor.dtype in (torch.float32, torch.bool))
            for factor in operation.factors
        )
    return isinstance(operation, (HandedOn, Joined, Padded))


@dataclass(eq=False)
class ConvolvedRows:
    """A convolution between all channels."""

    operation: Convolution
    given: Listing
    out: Listing
    _table: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        outs, ins, *taps = self.operation.weight.shape
        table = self.operation.weight.permute(2, 3, 0, 1).reshape(taps[0] * taps[1], outs, ins)
        self._table = table.contiguous().numpy()

    def __call__(self, rows: Rows, earlier: Rows | None) -> Rows:
        given = self.given
        lists = given.first, given.channels, given.rows, given.most
        return convolved(self, kernels.convolved, rows, earlier, *lists, self._table)


@dataclass(eq=False)
class DepthwiseRows:
    """A convolution of each channel with itself alone, from a plain listing."""

    operation: Convolution
    given: Listing
    out: Listing
    _table: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._table = self.operation.weight.flatten(1).T.contiguous().numpy()

    def __call__(self, rows: Rows, earlier: Rows | None) -> Rows:
        return convolved(self, kernels.convolved_depthwise, rows, earlier, self.given.numbers, self._table)


def convolved(
    step: ConvolvedRows | DepthwiseRows,
    kernel: Callable[..., Any],
    rows: Rows,
    earlier: Rows | None,
    *own: Any,
) -> Rows:
    """Return the result of a convolution's kernel, which takes `own` between the rows and the geometry."""
    o, out = step.operation, step.out
    values, before, add = room(rows, out, earlier)
    share(
        out.ranges(), kernel, values, before, add, out.first, out.channels, rows.values, *own,
        out.grid[1], step.given.grid, tuple(o.weight.shape[2:]), o.stride, o.padding, o.dilation,
    )  # fmt: skip
    return Rows(out, values, rows.count)


def room(
    rows: Rows, out: Listing, earlier: Rows | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Memory for a result, what is to be added to it, and whether anything is: in place where that is free."""
    if earlier is None:
        values = empty(len(rows.values), len(out.rows))
        return values, values, False
    values = earlier.values if earlier.owned else empty(*earlier.values.shape[:2])
    return values, earlier.values, True


@dataclass(eq=False)
class Relisted:
    """The same rows for other elements.

    Parameters
    ----------
    listing: of the result, in the array that is given.
    out: plain listing of the elements that the result is wanted at.
    factors: (n,) float32, of the entries of `out`, which the rows are multiplied by; None for ones.
    """

    listing: Listing
    out: Listing
    factors: NDArray[np.float32] | None = None

    def __call__(self, rows: Rows, earlier: Rows | None) -> Rows:
        if earlier is None and self.factors is None:
            return Rows(self.listing, rows.values, rows.count, owned=False)
        if self.factors is not None and earlier is None and self.listing is self.out and rows.owned:
            rows.values *= self.factors[:, None]
            return rows
        result = earlier if earlier is not None and earlier.owned else None
        if result is None:
            values = zeros(len(rows.values), len(self.out.rows))
            result = Rows(self.out, values, rows.count)
            if earlier is not None:
                values[:] = earlier.values
        add_to(result, Rows(self.listing, rows.values, rows.count), self.factors)
        return result


def plain(rows: Rows, out: Listing) -> Rows:
    """Return rows of the plain listing of their elements."""
    if rows.listing.plain:
        return rows
    result = Rows(out, zeros(len(rows.values), len(out.rows)), rows.count)
    add_to(result, rows, None)
    return result


def add_to(result: Rows, rows: Rows, factors: NDArray[np.float32] | None) -> None:
    """Add rows, multiplied or not, to those of a plain listing."""
    listing, out = rows.listing, result.listing
    targets = out.numbers[
        np.repeat(np.arange(len(listing.first) - 1), np.diff(listing.first)), listing.channels
    ]
    ranges = [(block, block + 1) for block in range(len(rows.values))]
    share(ranges, kernels.added, result.values, rows.values, listing.rows, targets, factors)


def factor_at(factor: torch.Tensor, out: Listing) -> NDArray[np.float32] | None:
    """Return a factor (1, C, h, w) or (1, C, 1, 1) at the entries of a listing; None where it is one at all of them."""
    maps = factor.expand(1, -1, *out.grid)[0].permute(1, 2, 0).contiguous().flatten(0, 1).numpy()
    factors = np.empty(len(out.rows), maps.dtype)
    kernels.read(factors, maps, out.first, out.channels)
    return None if (factors == 1).all() else factors.astype(np.float32, copy=False)


def picked(given: Listing, out: Listing, shift: int = 0, corner: tuple[int, int] = (0, 0)) -> Listing:
    """Each element of the result is the given one `shift` channels and a corner's distance further on."""
    if given.plain and shift == 0 and corner == (0, 0) and same(given, out):
        return out
    first, channels, rows = _room(out, len(given.rows))
    count = kernels.picked(
        first, channels, rows, given.first, given.channels, given.rows, out.numbers, shift,
        out.grid[1], given.grid[1], corner,
    )  # fmt: skip
    return _cut(out, first, channels, rows, count, given.single)


def pooled(maxima: NDArray[np.int64], given: Listing, out: Listing) -> Listing:
    """Each given row belongs to its window's maximum."""
    first, channels, rows = _room(out, len(given.rows))
    flat = np.ascontiguousarray(maxima).reshape(-1, maxima.shape[2])
    count = kernels.pooled(first, channels, rows, given.first, given.channels, given.rows, flat, out.numbers)
    return _cut(out, first, channels, rows, count, False)


def same(one: Listing, two: Listing) -> bool:
    """Whether two plain listings have the same elements."""
    return (
        one.grid == two.grid
        and one.width == two.width
        and np.array_equal(one.first, two.first)
        and np.array_equal(one.channels, two.channels)
    )


def _room(out: Listing, most: int) -> tuple[Integers, Integers, Integers]:
    return np.empty_like(out.first), np.empty(most + 1, np.int32), np.empty(most + 1, np.int32)


def _cut(
    out: Listing, first: Integers, channels: Integers, rows: Integers, count: int, single: bool
) -> Listing:
    return Listing(out.grid, out.width, first, channels[:count].copy(), rows[:count].copy(), single)


def visited(operation: Convolution, given: Listing, out: Listing) -> tuple[float, float]:
    """Multiplications per channel of a convolution: all, and those between listed elements."""
    _, ins, *taps = operation.weight.shape
    ones = torch.ones(1, 1, *taps, dtype=torch.float32, device="cpu")
    reachable = functional.conv2d(
        out.counts, ones, None, operation.stride, operation.padding, operation.dilation
    )
    return given.size * ins * taps[0] * taps[1], float((given.counts * reachable).sum())
