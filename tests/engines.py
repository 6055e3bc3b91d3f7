"""An engine as any other: what reaches its worker has been pickled, and the blocks come back in another order."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

from partscope.engine.threads import HeldThreads
from partscope.errors import EngineError


class Backwards(HeldThreads):
    """Computes the last block first, in this process, by a copy of the worker.

    `broken` is the number of a block that fails, as the engine `ray` says it; `computed` the blocks that were finished.
    """

    name = "backwards"
    broken: int | None = None

    def __init__(
        self, address: str | None = None, workers: int | None = None, threads: int | None = None
    ) -> None:
        super().__init__(threads)
        self.computed: list[int] = []

    def __enter__(self) -> Backwards:
        self.hold()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def map_blocks(self, make_worker: Any, blocks: Any, advance: Any) -> Iterator[tuple[int, Any]]:
        worker = pickle.loads(pickle.dumps(make_worker))()
        for block in reversed(blocks):
            if block.index == self.broken:
                continue
            result = worker(pickle.loads(pickle.dumps(block.items)), advance)
            self.computed.append(block.index)
            yield block.index, pickle.loads(pickle.dumps(result))
        failed = [block for block in blocks if block.index == self.broken]
        if failed:
            raise EngineError(f"1 of {len(blocks)} blocks failed 3 times ({failed[0].label}: broken).")
