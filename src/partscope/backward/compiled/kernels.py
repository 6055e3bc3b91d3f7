"""Compiled loops over the elements of feature maps that carry a gradient. Needs Numba, the extra `fast`.

`first`, `channels` and `rows` are those of a :class:`partscope.backward.compiled.rows.Listing`; values are (blocks, rows, 16) float32. Each function works on the positions (or
blocks) `low` to `high` alone, without Python's lock, so that threads can share the work; what it writes does not depend on
how it is shared out.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import numba
import numpy as np

from partscope.backward.compiled.compiling import compiled
from partscope.backward.compiled.lanes import LANES, ROW_BYTES, weighted_rows

_six, _five, _four, _three, _two, _one = (weighted_rows(count) for count in (6, 5, 4, 3, 2, 1))
_four_blocks, _two_blocks = weighted_rows(1, blocks=4), weighted_rows(1, blocks=2)

# Positions whose rows stay in the nearest cache while they are turned from channels side by side to maps one after the other.
_TILE = 64

# Numba keeps machine code until this file changes. The loops of lanes.py, and how they are compiled, are part
# of it: a test holds this to their hash.
LOOPS_HASH = "95206fd4f7f57498"


@compiled
def convolved(
    low, high, out, before, add, first, channels, values, given_first, given_channels, given_rows, most, table, width, grid, taps, stride, padding, dilation
):  # fmt: skip
    """Convolution backward at positions low to high of its input.

    before: what is added to, where `add` says so; it may be `out` itself. most: given entries of one position at most. table: weights (taps, out channels, in channels); width: of the input's grid; grid: (h, w) of the output; the pairs are
    (vertical, horizontal).
    """
    outs, ins = table.shape[1], table.shape[2]
    sources = np.empty(taps[0] * taps[1] * most, np.int32)
    weights = np.empty(taps[0] * taps[1] * most, np.int32)
    others, numbers = np.empty(taps[0] * taps[1], np.int64), np.empty(taps[0] * taps[1], np.int64)
    sources_at, weights_at, table_at = sources.ctypes.data, weights.ctypes.data, table.ctypes.data
    out_block, value_block = out.shape[1] * ROW_BYTES, values.shape[1] * ROW_BYTES
    for position in range(low, high):
        start, stop = first[position], first[position + 1]
        if start == stop:
            continue
        n = 0
        for k in range(_reached(position, width, grid, taps, stride, padding, dilation, others, numbers)):
            for source in range(given_first[others[k]], given_first[others[k] + 1]):
                sources[n] = given_rows[source]
                weights[n] = (numbers[k] * outs + given_channels[source]) * ins
                n += 1
        for block in range(out.shape[0]):
            to = out.ctypes.data + block * out_block
            start_from = before.ctypes.data + block * out_block
            at = values.ctypes.data + block * value_block
            _fill(to, start_from, add, start, stop, channels, sources_at, weights_at, n, at, table_at)


@numba.njit
def _reached(position, width, grid, taps, stride, padding, dilation, others, numbers):
    """Put down the output positions that a position of the input has taps in common with, and these taps' numbers."""
    y = position // width
    x = position - y * width
    reached = 0
    for i in range(taps[0]):
        v = y + padding[0] - i * dilation[0]
        if v < 0 or v % stride[0] != 0 or v // stride[0] >= grid[0]:
            continue
        for j in range(taps[1]):
            u = x + padding[1] - j * dilation[1]
            if u < 0 or u % stride[1] != 0 or u // stride[1] >= grid[1]:
                continue
            others[reached] = v // stride[0] * grid[1] + u // stride[1]
            numbers[reached] = i * taps[1] + j
            reached += 1
    return reached


@numba.njit(inline="always")
def _fill(to, before, add, start, stop, channels, sources, weights, n, values, table):
    """Rows start to stop of one block: six at a time, then the rest."""
    r = np.int64(start)
    c = channels
    while r + 6 <= stop:
        six = (
            np.int64(c[r]),
            np.int64(c[r + 1]),
            np.int64(c[r + 2]),
            np.int64(c[r + 3]),
            np.int64(c[r + 4]),
            np.int64(c[r + 5]),
        )
        _six(to + r * ROW_BYTES, before + r * ROW_BYTES, 0, add, sources, weights, n, values, 0, table, six)
        r += 6
    place = to + r * ROW_BYTES
    base = before + r * ROW_BYTES
    left = stop - r
    if left == 5:
        five = (
            np.int64(c[r]),
            np.int64(c[r + 1]),
            np.int64(c[r + 2]),
            np.int64(c[r + 3]),
            np.int64(c[r + 4]),
        )
        _five(place, base, 0, add, sources, weights, n, values, 0, table, five)
    elif left == 4:
        four = (np.int64(c[r]), np.int64(c[r + 1]), np.int64(c[r + 2]), np.int64(c[r + 3]))
        _four(place, base, 0, add, sources, weights, n, values, 0, table, four)
    elif left == 3:
        three = (np.int64(c[r]), np.int64(c[r + 1]), np.int64(c[r + 2]))
        _three(place, base, 0, add, sources, weights, n, values, 0, table, three)
    elif left == 2:
        _two(place, base, 0, add, sources, weights, n, values, 0, table, (np.int64(c[r]), np.int64(c[r + 1])))
    elif left == 1:
        _one(place, base, 0, add, sources, weights, n, values, 0, table, (np.int64(c[r]),))


@compiled
def convolved_depthwise(
    low, high, out, before, add, first, channels, values, numbers, table, width, grid, taps, stride, padding, dilation
):  # fmt: skip
    """As :func:`convolved`, each channel on its own: table (taps, channels); numbers of the given plain listing."""
    sources = np.empty(taps[0] * taps[1] + 1, np.int32)
    weights = np.empty(taps[0] * taps[1] + 1, np.int32)
    others = np.empty(taps[0] * taps[1], np.int64)
    taps_there = np.empty(taps[0] * taps[1], np.int64)
    out_block, value_block = out.shape[1] * ROW_BYTES, values.shape[1] * ROW_BYTES
    for position in range(low, high):
        start, stop = first[position], first[position + 1]
        if start == stop:
            continue
        reached = _reached(position, width, grid, taps, stride, padding, dilation, others, taps_there)
        for row in range(start, stop):
            channel = channels[row]
            n = 0
            for k in range(reached):
                source = numbers[others[k], channel]
                # Overwritten if there is none: a branch would be guessed wrongly too often.
                sources[n] = source
                weights[n] = taps_there[k] * table.shape[1] + channel
                n += source >= 0
            block = 0
            while block < out.shape[0]:
                place = block * out_block + np.int64(row) * ROW_BYTES
                to, base = out.ctypes.data + place, before.ctypes.data + place
                at = values.ctypes.data + block * value_block
                if block + 4 <= out.shape[0]:
                    _four_blocks(
                        to, base, out_block, add, sources.ctypes.data, weights.ctypes.data, n, at, value_block,
                        table.ctypes.data, (np.int64(0),),
                    )  # fmt: skip
                    block += 4
                elif block + 2 <= out.shape[0]:
                    _two_blocks(
                        to, base, out_block, add, sources.ctypes.data, weights.ctypes.data, n, at, value_block,
                        table.ctypes.data, (np.int64(0),),
                    )  # fmt: skip
                    block += 2
                else:
                    _one(
                        to, base, 0, add, sources.ctypes.data, weights.ctypes.data, n, at, 0,
                        table.ctypes.data, (np.int64(0),),
                    )  # fmt: skip
                    block += 1


@compiled
def added(low, high, out, values, sources, targets, factors):
    """In the blocks low to high: out[targets[e]] += factors[e] · values[sources[e]], factors by target; None are ones."""
    for block in range(low, high):
        for e in range(len(sources)):
            source, target = sources[e], targets[e]
            factor = np.float32(1) if factors is None else factors[target]
            for lane in range(LANES):
                out[block, target, lane] += factor * values[block, source, lane]


@compiled
def gathered(low, high, out, dense, first, channels):
    """Rows of a plain listing from a batch of feature maps (n, positions, channels)."""
    for begin in range(low, high, _TILE):
        end = min(begin + _TILE, high)
        for image in range(dense.shape[0]):
            block, lane = image // LANES, image % LANES
            for position in range(begin, end):
                for entry in range(first[position], first[position + 1]):
                    out[block, entry, lane] = dense[image, position, channels[entry]]


@compiled
def filled(low, high, dense, values, first, channels, rows):
    """A batch of feature maps (n, positions, channels) from rows of elements that are listed once."""
    for begin in range(low, high, _TILE):
        end = min(begin + _TILE, high)
        for image in range(dense.shape[0]):
            block, lane = image // LANES, image % LANES
            for position in range(begin, end):
                for entry in range(first[position], first[position + 1]):
                    dense[image, position, channels[entry]] = values[block, rows[entry], lane]


@compiled
def spread(low, high, dense, values, first, channels, rows):
    """Add rows to a batch of feature maps (n, positions, channels)."""
    for begin in range(low, high, _TILE):
        end = min(begin + _TILE, high)
        for image in range(dense.shape[0]):
            block, lane = image // LANES, image % LANES
            for position in range(begin, end):
                for entry in range(first[position], first[position + 1]):
                    dense[image, position, channels[entry]] += values[block, rows[entry], lane]


@compiled
def read(out, maps, first, channels):
    """The elements of feature maps (positions, channels) that are listed."""
    for position in range(len(first) - 1):
        for entry in range(first[position], first[position + 1]):
            out[entry] = maps[position, channels[entry]]


@compiled
def picked(
    first, channels, rows, given_first, given_channels, given_rows, numbers, shift, width, given_width, corner
):
    """List those given entries that have a number, `shift` channels and a corner's distance nearer to the beginning."""
    n = 0
    for position in range(len(first) - 1):
        first[position] = n
        y = position // width
        other = (y + corner[0]) * given_width + position - y * width + corner[1]
        for entry in range(given_first[other], given_first[other + 1]):
            channel = given_channels[entry] - shift
            if 0 <= channel < numbers.shape[1]:
                channels[n] = channel
                rows[n] = given_rows[entry]
                n += numbers[position, channel] >= 0
    first[len(first) - 1] = n
    return n


@compiled
def pooled(first, channels, rows, given_first, given_channels, given_rows, maxima, numbers):
    """List the given entries at the positions of their maxima (positions, channels), where these have a number."""
    first[:] = 0
    for position in range(len(given_first) - 1):
        for entry in range(given_first[position], given_first[position + 1]):
            aim = maxima[position, given_channels[entry]]
            if numbers[aim, given_channels[entry]] >= 0:
                first[aim + 1] += 1
    for position in range(len(first) - 1):
        first[position + 1] += first[position]
    places = first.copy()
    for position in range(len(given_first) - 1):
        for entry in range(given_first[position], given_first[position + 1]):
            channel = given_channels[entry]
            aim = maxima[position, channel]
            if numbers[aim, channel] >= 0:
                place = places[aim]
                channels[place], rows[place] = channel, given_rows[entry]
                places[aim] = place + 1
    return first[len(first) - 1]


@compiled
def behind_maxima(reached, mask, maxima):
    """Mark the maxima (positions, channels) of a mask's elements."""
    for position in range(mask.shape[0]):
        for channel in range(mask.shape[1]):
            if mask[position, channel]:
                reached[maxima[position, channel], channel] = True


@compiled
def listed(mask, first, channels):
    """The elements of a mask (positions, channels): where each position's entries begin, and their channels."""
    n = 0
    for position in range(mask.shape[0]):
        first[position] = n
        for channel in range(mask.shape[1]):
            # Overwritten if it does not count: a branch would be guessed wrongly half the time.
            channels[n] = channel
            n += mask[position, channel]
    first[mask.shape[0]] = n
    return n


@compiled
def numbered(numbers, first, channels):
    """The entry of each position and channel; `numbers` holds -1 everywhere before."""
    for position in range(len(first) - 1):
        for entry in range(first[position], first[position + 1]):
            numbers[position, channels[entry]] = entry
