"""The engine of every run that asks for no other: one block after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from partscope.engine.blocks import Advance, Block, Item, MakeWorker, Result, unheard
from partscope.engine.threads import HeldThreads, checked_count
from partscope.errors import OptionError


class LocalEngine(HeldThreads):
    """Computes blocks in their order, in this process, with whatever network object the caller has at hand.

    Parameters
    ----------
    address: None; a local run has none.
    workers: None or 1.
    threads: of PyTorch and NumPy while the engine is in use; None leaves them as they are.

    Raises
    ------
    OptionError: an address, or several workers.
    """

    name = "local"

    def __init__(
        self, address: str | None = None, workers: int | None = None, threads: int | None = None
    ) -> None:
        if address is not None:
            raise OptionError(
                f"the engine local uses no address ({address}); choose the engine ray, or leave it out."
            )
        if checked_count("the number of workers", workers) not in (None, 1):
            raise OptionError(f"the engine local has one worker, not {workers}; choose the engine ray.")
        super().__init__(threads)

    def __enter__(self) -> LocalEngine:
        self.hold()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def map_blocks(
        self,
        make_worker: MakeWorker[Item, Result],
        blocks: Sequence[Block[Item]],
        advance: Advance = unheard,
    ) -> Iterator[tuple[int, Result]]:
        """Yield `(index, result)` of each block, in their order; an error of a block is the run's."""
        if not blocks:
            return
        worker = make_worker()
        for block in blocks:
            yield block.index, worker(block.items, advance)
