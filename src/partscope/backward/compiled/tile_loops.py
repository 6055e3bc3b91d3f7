"""Loops of :mod:`partscope.backward.compiled.winograd`: tiles of feature maps, multiplied by a small matrix from both sides.

A tile's pixels are vectors over the channels, which LLVM's language keeps in registers: Numba's own loops over dozens of arrays
do not become vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from partscope.backward.compiled.lanes import FLAGS, INDEX, LANES, constant

#: Channels per vector, and vectors per row of :data:`partscope.backward.compiled.lanes.LANES`.
_LANES = 8
_PER_ROW = LANES // _LANES
_BYTES = 4 * _LANES

_VECTOR = ir.VectorType(ir.FloatType(), _LANES)


def both_sides(matrix: NDArray[np.float64]) -> Any:
    """Return a compiled function of addresses that writes M · tile · Mᵀ for an (m, n) matrix M and an (n, n) tile of pixels.

    Its arguments are `(sources, targets, count, source_step, target_step)`: lists of n² and m² int64 addresses of pixels, row by
    row, the number of rows of 16 float32 that each pixel consists of, and how many bytes lie between the beginnings of
    such rows. Matrix elements are part of the code; zeros cost nothing.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing: Any, sources: Any, targets: Any, count: Any, source_step: Any, target_step: Any) -> Any:
        signature = types.void(types.uintp, types.uintp, types.int64, types.int64, types.int64)
        return signature, lambda context, builder, _, given: _loop(context, builder, given, matrix)

    return run


def _loop(context: Any, builder: Any, given: Any, matrix: NDArray[np.float64]) -> Any:
    sources, targets, count, source_step, target_step = given
    vectors = builder.mul(count, constant(_PER_ROW))
    rows, columns = matrix.shape
    entry = builder.block
    loop, done = (builder.append_basic_block(name) for name in ("vectors", "finished"))
    read = _pixels(builder, sources, columns**2)
    written = _pixels(builder, targets, rows**2)
    builder.cbranch(builder.icmp_signed(">", vectors, constant(0)), loop, done)
    builder.position_at_end(loop)
    i = builder.phi(INDEX)
    i.add_incoming(constant(0), entry)
    row_number, part = builder.udiv(i, constant(_PER_ROW)), builder.urem(i, constant(_PER_ROW))
    within = builder.mul(part, constant(_BYTES))
    from_there = builder.add(builder.mul(row_number, source_step), within)
    to_there = builder.add(builder.mul(row_number, target_step), within)
    half: list[list[Any]] = []  # M · tile, column by column
    for b in range(columns):
        column = [
            builder.load(_at(builder, read[a * columns + b], from_there), align=4) for a in range(columns)
        ]
        half.append([_combined(builder, matrix[row], column) for row in range(rows)])
    for row in range(rows):
        line = [half[b][row] for b in range(columns)]
        for column_out in range(rows):
            value = _combined(builder, matrix[column_out], line)
            builder.store(value, _at(builder, written[row * rows + column_out], to_there), align=4)
    following = builder.add(i, constant(1))
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, vectors), loop, done)
    builder.position_at_end(done)
    return context.get_dummy_value()


def _pixels(builder: Any, addresses: Any, count: int) -> list[Any]:
    """The places in a list of addresses, which are read anew for each vector: there are too many for registers."""
    start = builder.inttoptr(addresses, INDEX.as_pointer())
    return [builder.gep(start, [constant(i)]) for i in range(count)]


def _at(builder: Any, place: Any, offset: Any) -> Any:
    return builder.inttoptr(builder.add(builder.load(place), offset), _VECTOR.as_pointer())


def _combined(builder: Any, factors: NDArray[np.float64], values: list[Any]) -> Any:
    """Σ factors[i] · values[i], without products by 0 and ±1."""
    total = None
    for factor, value in sorted(
        ((f, v) for f, v in zip(factors.tolist(), values, strict=True) if f), key=lambda pair: pair[0] < 0
    ):
        size = abs(factor)
        term = value if size == 1 else builder.fmul(_constant(size), value, flags=FLAGS)
        if total is None:
            total = term if factor > 0 else builder.fneg(term)
        else:
            total = (builder.fadd if factor > 0 else builder.fsub)(total, term, flags=FLAGS)
    return total


def _constant(value: float) -> Any:
    return ir.Constant(_VECTOR, [value] * _LANES)
