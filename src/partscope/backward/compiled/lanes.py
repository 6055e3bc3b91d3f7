"""The innermost loop of :mod:`partscope.backward.compiled.kernels`: sums of weighted rows, held in the processor's registers.

Numba makes loops over arrays fast, but does not keep a small block of sums in vector registers while it runs over a long list,
which is what a matrix product lives on. So this one loop is written in LLVM's language, which Numba compiles for the
processor at hand.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: Channels whose gradients lie side by side: two AVX2 registers, one of AVX-512, four of NEON.
LANES = 16
#: Bytes of one row of lanes, and what rows are aligned to.
ROW_BYTES = 4 * LANES

INDEX, _COLUMN, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_ROW = ir.VectorType(_FLOAT, LANES)
# A product and a sum may be one instruction; the order of sums is as it is written.
FLAGS = ("contract", "nsz")


def weighted_rows(count: int, blocks: int = 1, listed: bool = True) -> Any:
    """Return a compiled function that works out `count` rows which follow one another, in each of `blocks` blocks.

    Its arguments are addresses and numbers, `(out, before, stride, add, sources, weights, n, values, value_stride, table,
    columns)`. With `sources` and `weights` two lists of n int32, out[b, j] = (before[b, j] if add else 0)
    + Σ_e table[weights[e] + columns[j]] · values[b, sources[e]], where out, before and values consist of rows of 16 aligned
    float32, blocks are `stride` and `value_stride` bytes apart, and columns is a tuple of `count` int64. Without lists,
    sources[e] = weights[e] = e.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def run(
        typing: Any, out: Any, before: Any, stride: Any, add: Any, sources: Any, weights: Any, n: Any, values: Any,
        value_stride: Any, table: Any, columns: Any,
    ) -> Any:  # fmt: skip
        address, number = types.uintp, types.int64
        signature = types.void(
            address, address, number, number, address, address, number, address, number, address,
            types.UniTuple(number, count),
        )  # fmt: skip
        return signature, lambda context, builder, _, given: _sums(
            context, builder, given, count, blocks, listed
        )

    return run


def _sums(context: Any, builder: Any, given: Any, count: int, blocks: int, listed: bool) -> Any:
    """Build the loop: sums start from what is there or from zero, take one list entry a round, and are stored."""
    out, before, stride, add, sources, weights, n, values, value_stride, table, columns = given
    zero, one = constant(0), constant(1)
    places, origins = (
        [
            builder.inttoptr(
                builder.add(
                    builder.add(address, constant(ROW_BYTES * j)), builder.mul(stride, constant(block))
                ),
                _ROW.as_pointer(),
            )
            for block in range(blocks)
            for j in range(count)
        ]
        for address in (out, before)
    )
    sources = builder.inttoptr(sources, _COLUMN.as_pointer())
    weights = builder.inttoptr(weights, _COLUMN.as_pointer())
    table = builder.inttoptr(table, _FLOAT.as_pointer())
    column = [builder.extract_value(columns, j) for j in range(count)]
    starts = [builder.add(values, builder.mul(value_stride, constant(block))) for block in range(blocks)]

    entry = builder.block
    loaded, begin, loop, done = (
        builder.append_basic_block(name) for name in ("loaded", "begin", "loop", "done")
    )
    builder.cbranch(builder.icmp_signed("!=", add, zero), loaded, begin)
    builder.position_at_end(loaded)
    earlier = [builder.load(place, align=ROW_BYTES) for place in origins]
    builder.branch(begin)
    builder.position_at_end(begin)
    first = [_phi(builder, (ir.Constant(_ROW, [0.0] * LANES), entry), (row, loaded)) for row in earlier]
    builder.cbranch(builder.icmp_signed(">", n, zero), loop, done)

    builder.position_at_end(loop)
    i = builder.phi(INDEX)
    i.add_incoming(zero, begin)
    sums = [_phi(builder, (row, begin)) for row in first]
    number, weight_number = (
        builder.sext(builder.load(builder.gep(numbers, [i])), INDEX) if listed else i
        for numbers in (sources, weights)
    )
    source = builder.mul(number, constant(ROW_BYTES))
    line = builder.gep(table, [weight_number])
    rows = [
        builder.load(builder.inttoptr(builder.add(start, source), _ROW.as_pointer()), align=ROW_BYTES)
        for start in starts
    ]
    repeated = [_repeated(builder, builder.load(builder.gep(line, [c]))) for c in column]
    products = [builder.fmul(weight, row, flags=FLAGS) for row in rows for weight in repeated]
    longer = [builder.fadd(total, new, flags=FLAGS) for total, new in zip(sums, products, strict=True)]
    following = builder.add(i, one)
    i.add_incoming(following, loop)
    for total, new in zip(sums, longer, strict=True):
        total.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, n), loop, done)

    builder.position_at_end(done)
    results = [_phi(builder, (a, begin), (b, loop)) for a, b in zip(first, longer, strict=True)]
    for place, result in zip(places, results, strict=True):
        builder.store(result, place, align=ROW_BYTES)
    return context.get_dummy_value()


def constant(value: int) -> Any:
    """Return a number that is part of the code."""
    return ir.Constant(INDEX, value)


def _phi(builder: Any, *incoming: tuple[Any, Any]) -> Any:
    phi = builder.phi(_ROW)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


def _repeated(builder: Any, scalar: Any) -> Any:
    nothing = ir.Constant(_ROW, ir.Undefined)
    single = builder.insert_element(nothing, scalar, ir.Constant(_COLUMN, 0))
    return builder.shuffle_vector(single, nothing, ir.Constant(ir.VectorType(_COLUMN, LANES), [0] * LANES))
