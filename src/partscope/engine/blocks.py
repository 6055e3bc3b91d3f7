"""A block of work, and what a worker is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Called with a number of items that are finished; what a progress bar listens to.
Advance = Callable[[int], None]
#: Computes one block; it may report items as it finishes them.
Worker = Callable[[Sequence[Item], Advance], Result]
#: Makes a worker, once per process: it loads the network. Another process gets a copy of it by way of a pickle, so it
#: carries descriptions (:mod:`partscope.backbones.carried`), and checks what it makes of them.
MakeWorker = Callable[[], Worker[Item, Result]]


@dataclass(frozen=True)
class Block(Generic[Item]):
    """Some images of a run, always the same ones.

    Parameters
    ----------
    index: the block's number in the whole run.
    items: what a worker is given.
    label: how messages call the block.
    """

    index: int
    items: Sequence[Item]
    label: str


def blocks_of(
    items: Sequence[Item], size: int, names: Sequence[str], wanted: Sequence[int] | None = None
) -> list[Block[Item]]:
    """Cut items into blocks of `size`, the last one shorter.

    Parameters
    ----------
    names: of each item, for messages.
    wanted: numbers of the blocks to return; all by default.
    """
    count = -(-len(items) // size)
    blocks = []
    for index in range(count) if wanted is None else wanted:
        start, end = index * size, min((index + 1) * size, len(items))
        label = f"block {index} ({names[start]} to {names[end - 1]})"
        blocks.append(Block(index, items[start:end], label))
    return blocks


def unheard(count: int) -> None:
    """Report progress to nobody."""


def in_order(results: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """Yield results of blocks 0, 1, 2, … in this order; what comes early is kept until it is its turn."""
    early: dict[int, Result] = {}
    following = 0
    for index, result in results:
        early[index] = result
        while following in early:
            yield early.pop(following)
            following += 1
