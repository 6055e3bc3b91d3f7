"""Convolutions of 3×3 by Winograd's minimal filtering, F(4×4, 3×3): a quarter of the multiplications. Needs Numba.

A. Lavin, S. Gray, *Fast Algorithms for Convolutional Neural Networks* (2015): tiles of 6×6 pixels that overlap by two are taken to
another basis, there multiplied element by element with the weights, which are matrix products over the channels, and taken
back to 4×4 pixels of the result. Rounding errors are some times those of a plain sum, 1e-5 of the largest value.
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import itertools

import numba
import numpy as np
import torch
from torch import Tensor

from partscope.backward.compiled.compiling import compiled
from partscope.backward.compiled.lanes import LANES, ROW_BYTES, weighted_rows
from partscope.backward.compiled.rows import share
from partscope.backward.compiled.tile_loops import both_sides

# Numba keeps machine code until this file changes. Loops of other files, and how they are compiled, are part of it:
# a test holds this to their hash.
LOOPS_HASH = "65e452e90c247c2e"

#: Side of a tile, and of its part in the result.
TILE, STEP = 6, 4

# Lavin and Gray, section 4.2: Bᵀ, G and Aᵀ for the points 0, ±1, ±2 and infinity.
_INTO = np.array([
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
], dtype=np.float64)  # fmt: skip
_WEIGHTS = np.array([
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
], dtype=np.float64)  # fmt: skip
_BACK = np.array([
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
], dtype=np.float64)  # fmt: skip

_into, _weights_into, _back = both_sides(_INTO), both_sides(_WEIGHTS), both_sides(_BACK)
_products = weighted_rows(6, listed=False)

# It must promise to take this share of the time at most.
_GAIN = 0.9

# Fewer channels than this leave too little to multiply between the ways to the other basis and back.
_FEWEST = 32

# Bytes of the tiles of one go, which should stay in the caches, and their number at least.
_BYTES, _TILES = 2**20, 24

# Shares of the work per thread, so that one that has finished early takes another.
_SHARES = 4

# Times in multiplications of a plain convolution: of one of the matrix products', of one element's way to another basis, and of
# one element of the weights. Measured on one machine; they decide how long a pass takes, not what it gives.
_PRODUCT, _TURN, _PREPARE = 1.2, 60, 120


def share_of_time(outs: int, ins: int, count: int, size: tuple[int, int]) -> float:
    """Time of `count` convolutions between so many channels, with results of a size, over that of plain ones; 1 where those are used."""
    if min(outs, ins) < _FEWEST or outs % LANES or ins % LANES:
        return 1.0
    tiles = count * -(-size[0] // STEP) * -(-size[1] // STEP)
    cost = TILE**2 * (tiles * (_PRODUCT * outs * ins + _TURN * (outs + ins)) + _PREPARE * outs * ins)
    share = cost / (9 * outs * ins * count * size[0] * size[1])
    return share if share <= _GAIN else 1.0


def prepared(weight: Tensor) -> Tensor:
    """Return weights (out, in, 3, 3) in the other basis, (36, out / 16, in, 16)."""
    outs, ins = weight.shape[:2]
    panels = outs // LANES
    given = weight.unflatten(0, (panels, LANES)).permute(3, 4, 0, 2, 1).reshape(9, -1).contiguous()
    result = torch.empty(TILE**2, panels, ins, LANES, dtype=torch.float32, device="cpu")
    share(_ranges(panels * ins), weights_into, result.flatten(1).numpy(), given.numpy())
    return result


def convolve(maps: Tensor, weights: Tensor, padding: tuple[int, int]) -> Tensor:
    """Return a convolution of stride 1.

    Parameters
    ----------
    maps: (n, in, h, w) float32.
    weights: as :func:`prepared` returns them.
    padding: zeros above and below, and left and right.

    Returns
    -------
    (n, out, h + 2p - 2, w + 2q - 2), channels-last in memory.
    """
    outs = weights.shape[1] * LANES
    count, _, height, width = maps.shape
    size = (height + 2 * padding[0] - 2, width + 2 * padding[1] - 2)
    result = torch.empty(
        (count, outs, *size), dtype=torch.float32, device="cpu", memory_format=torch.channels_last
    )
    given = maps.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()
    grid = (-(-size[0] // STEP), -(-size[1] // STEP))
    ranges = _ranges(count * grid[0] * grid[1])
    share(ranges, convolved_tiles, result.permute(0, 2, 3, 1).numpy(), given, weights.numpy(), grid, padding)
    return result


def _ranges(number: int) -> list[tuple[int, int]]:
    """Ranges for the threads to share, of tiles or of rows of weights; whole groups of six tiles."""
    threads = torch.get_num_threads()
    groups = -(-number // 6)
    shares = 1 if threads == 1 else threads * max(1, min(_SHARES, 6 * groups // (threads * _TILES)))
    edges = np.unique(np.linspace(0, groups, shares + 1).astype(np.int64)) * 6
    return [(low, min(high, number)) for low, high in itertools.pairwise(edges.tolist())]


# An array lives to its last use, and its address is not one. So each function below that hands on addresses is given the arrays.


@compiled
def weights_into(low, high, out, given):
    """Take rows low to high of weights to the other basis: out (36, n) from given (9, n), in rows of 16."""
    _rows_into(low, high, out, given, np.empty(9, np.int64), np.empty(36, np.int64))


@numba.njit
def _rows_into(low, high, out, given, sources, targets):
    for tap in range(9):
        sources[tap] = given.ctypes.data + 4 * tap * given.shape[1] + low * ROW_BYTES
    for plane in range(36):
        targets[plane] = out.ctypes.data + 4 * plane * out.shape[1] + low * ROW_BYTES
    _weights_into(sources.ctypes.data, targets.ctypes.data, high - low, ROW_BYTES, ROW_BYTES)


@compiled
def convolved_tiles(low, high, out, maps, weights, grid, padding):
    """Tiles low to high of a convolution: out (n, h', w', outs) from maps (n, h, w, ins)."""
    ins, panels = maps.shape[3], weights.shape[1]
    block = max(_TILES, min(high - low, _BYTES // (144 * (ins + 16 * panels))) // 6 * 6)
    into = np.zeros((36, block, ins), np.float32)
    room = np.empty(36 * panels * block * 16 + 16, np.float32)
    sources, targets = np.empty(36, np.int64), np.empty(36, np.int64)
    nothing, nowhere = np.zeros(ins, np.float32), np.empty(16 * panels, np.float32)
    for first in range(low, high, block):
        number = min(block, high - first)
        for place in range(number):
            _taken_into(first + place, place, maps, into, grid, padding, nothing, sources, targets)
        _multiplied(number, into, weights, room)
        for place in range(number):
            _taken_back(first + place, place, out, room, block, grid, nowhere, sources, targets)


@numba.njit
def _place_of(number, grid):
    """Which map a tile belongs to, and its first row and column in the result."""
    image = number // (grid[0] * grid[1])
    rest = number - image * grid[0] * grid[1]
    return image, 4 * (rest // grid[1]), 4 * (rest % grid[1])


@numba.njit
def _taken_into(number, place, maps, into, grid, padding, nothing, sources, targets):
    """Take one tile of the maps to the other basis, at a place in `into` (36, block, ins)."""
    height, width, channels = maps.shape[1:]
    pixel, plane = 4 * channels, 4 * channels * into.shape[1]
    image, top, left = _place_of(number, grid)
    top, left = top - padding[0], left - padding[1]
    corner = maps.ctypes.data + ((image * height + top) * width + left) * pixel
    to = into.ctypes.data + place * pixel
    for y in range(6):
        for x in range(6):
            there = 0 <= top + y < height and 0 <= left + x < width
            sources[6 * y + x] = corner + (y * width + x) * pixel if there else nothing.ctypes.data
            targets[6 * y + x] = to + (6 * y + x) * plane
    _into(sources.ctypes.data, targets.ctypes.data, channels // 16, ROW_BYTES, ROW_BYTES)


@numba.njit
def _aligned(room):
    """The first address in an array that rows may lie at."""
    return room.ctypes.data + (-room.ctypes.data) % ROW_BYTES


@numba.njit
def _multiplied(number, into, weights, room):
    """Matrix products of all 36 planes, six tiles at a time: (36, panels, block, 16), in `room`. Rows beyond the last mean nothing."""
    block, ins = into.shape[1:]
    panels = weights.shape[1]
    for plane in range(36):
        table = into.ctypes.data + plane * block * ins * 4
        for panel in range(panels):
            values = weights.ctypes.data + (plane * panels + panel) * ins * ROW_BYTES
            to = _aligned(room) + (plane * panels + panel) * block * ROW_BYTES
            for row in range(0, number, 6):
                place = to + row * ROW_BYTES
                six = (
                    np.int64(row) * ins,
                    np.int64(row + 1) * ins,
                    np.int64(row + 2) * ins,
                    np.int64(row + 3) * ins,
                    np.int64(row + 4) * ins,
                    np.int64(row + 5) * ins,
                )
                _products(place, place, 0, 0, np.uintp(0), np.uintp(0), ins, values, 0, table, six)


@numba.njit
def _taken_back(number, place, out, room, block, grid, nowhere, sources, targets):
    """Take one tile back, from a place in (36, panels, block, 16) in `room`."""
    height, width, channels = out.shape[1:]
    panels, pixel = channels // 16, 4 * channels
    image, top, left = _place_of(number, grid)
    corner = out.ctypes.data + ((image * height + top) * width + left) * pixel
    for plane in range(36):
        sources[plane] = _aligned(room) + (plane * panels * block + place) * ROW_BYTES
    for y in range(4):
        for x in range(4):
            there = top + y < height and left + x < width
            targets[4 * y + x] = corner + (y * width + x) * pixel if there else nowhere.ctypes.data
    _back(sources.ctypes.data, targets.ctypes.data, panels, block * ROW_BYTES, ROW_BYTES)
