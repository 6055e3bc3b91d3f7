"""Gradients of several channels' sums at those elements of a value alone that can have one. Needs Numba."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partscope.backward.compiled import kernels
from partscope.backward.compiled.lanes import LANES
from partscope.backward.pieces import Piece

# More shares of the work than threads, so that one that has finished early takes another.
_SHARES = 4

Integers = NDArray[np.int32]


@dataclass(eq=False)
class Listing:
    """Which row of an array holds the gradient of which element of a value, position by position.

    An element that is not listed has none; the gradient of one that is listed several times is the sum.

    Parameters
    ----------
    grid: (h, w) of the feature maps; positions are numbered row by row.
    width: number of channels.
    first: (h · w + 1,), where each position's entries begin.
    channels: (n,), each entry's channel; in rising order within a position where the listing is plain.
    rows: (n,), each entry's row.
    single: each element is listed once at most.
    plain: so it is, and entry i has row i.
    """

    grid: tuple[int, int]
    width: int
    first: Integers
    channels: Integers
    rows: Integers
    single: bool = False
    plain: bool = False
    _ranges: dict[int, list[tuple[int, int]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Listing:
        """Return the elements of a mask (h, w, C), each with a row of its own."""
        flat = np.ascontiguousarray(mask).reshape(-1, mask.shape[2])
        first, channels = np.empty(len(flat) + 1, np.int32), np.empty(flat.size + 1, np.int32)
        count = kernels.listed(flat, first, channels)
        rows = np.arange(count, dtype=np.int32)
        return cls(
            mask.shape[:2], mask.shape[2], first, channels[:count].copy(), rows, single=True, plain=True
        )

    @cached_property
    def most(self) -> int:
        """Entries of one position at most."""
        return int(np.diff(self.first).max(initial=0))

    @property
    def size(self) -> int:
        """Number of elements of the value, listed or not."""
        return self.grid[0] * self.grid[1] * self.width

    @cached_property
    def numbers(self) -> Integers:
        """(h · w, C): each element's entry, the last where there are several, -1 where there is none."""
        numbers = np.full((len(self.first) - 1, self.width), -1, np.int32)
        kernels.numbered(numbers, self.first, self.channels)
        return numbers

    @cached_property
    def counts(self) -> Tensor:
        """(1, 1, h, w) float32: entries at each position."""
        return torch.from_numpy(np.diff(self.first).astype(np.float32)).reshape(1, 1, *self.grid)

    def ranges(self) -> list[tuple[int, int]]:
        """Ranges of positions with about as many entries each, for the threads to share."""
        threads = torch.get_num_threads()
        if threads not in self._ranges:
            shares = 1 if threads == 1 else _SHARES * threads
            borders = np.searchsorted(self.first, np.linspace(0, self.first[-1], shares + 1)[1:-1])
            edges = [0, *np.unique(borders).tolist(), len(self.first) - 1]
            self._ranges[threads] = [(low, high) for low, high in itertools.pairwise(edges) if low < high]
        return self._ranges[threads]


@dataclass(eq=False)
class Rows:
    """Gradients of one value.

    Parameters
    ----------
    listing: where they are in `values`.
    values: (blocks, rows, 16) float32: the channels whose gradients these are, 16 side by side.
    count: number of those channels; the last block is filled up with zeros.
    owned: nobody else holds `values`, so that it may be overwritten.
    """

    listing: Listing
    values: NDArray[np.float32]
    count: int
    owned: bool = True

    @classmethod
    def gathered(cls, piece: Piece, listing: Listing) -> Rows:
        """Return a piece of all channels as rows of a plain listing."""
        maps = piece.values.squeeze(1).contiguous(memory_format=torch.channels_last)
        values = zeros(-(-len(maps) // LANES), len(listing.rows))
        dense = maps.permute(0, 2, 3, 1).flatten(1, 2).numpy()
        share(listing.ranges(), kernels.gathered, values, dense, listing.first, listing.channels)
        return cls(listing, values, len(maps))

    def piece(self, layout: torch.memory_format = torch.channels_last) -> Piece:
        """Return the same gradients with all elements."""
        listing = self.listing
        shape = (self.count, listing.width, *listing.grid)
        complete = listing.single and len(listing.rows) == listing.size
        maps = (
            torch.empty(shape, dtype=torch.float32, device="cpu", memory_format=layout)
            if complete
            else torch.empty(shape, dtype=torch.float32, device="cpu", memory_format=layout).zero_()
        )
        dense = maps.permute(0, 2, 3, 1).flatten(1, 2).numpy()
        kernel = kernels.filled if listing.single else kernels.spread
        share(listing.ranges(), kernel, dense, self.values, listing.first, listing.channels, listing.rows)
        return Piece(maps.unsqueeze(1))


def empty(blocks: int, rows: int) -> NDArray[np.float32]:
    """Return memory for values. PyTorch's is aligned as the kernels need it, NumPy's is not."""
    return torch.empty(blocks, rows, LANES, dtype=torch.float32, device="cpu").numpy()


def zeros(blocks: int, rows: int) -> NDArray[np.float32]:
    """Return values that are zero."""
    return torch.zeros(blocks, rows, LANES, dtype=torch.float32, device="cpu").numpy()


def share(ranges: Sequence[tuple[int, int]], kernel: Callable[..., Any], *arguments: Any) -> None:
    """Run a kernel on ranges, on as many threads as PyTorch uses; the caller's is one of them."""
    left = deque(ranges)

    def work() -> None:
        while left:
            try:
                low, high = left.popleft()
            except IndexError:  # another thread took the last
                return
            kernel(low, high, *arguments)

    helpers = min(torch.get_num_threads(), len(ranges)) - 1
    futures = []
    with suppress(RuntimeError):  # while Python shuts down no thread starts: the caller's does it all
        for _ in range(helpers):  # one by one: those that have started are waited for
            futures.append(_pool(helpers).submit(work))
    try:
        work()
    finally:
        left.clear()  # after an error nobody begins another range
    for future in futures:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="partscope-backward")


# A forked process has no threads but the one that forked it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
