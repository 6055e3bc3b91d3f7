"""Preparing the next items in threads while the current one is worked on; at most a few wait."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")


def worker_count(device: str) -> int:
    """Return how many threads keep a device of this type fed: on a processor decoding takes its share of the same cores."""
    return 1 if device == "cpu" else max(2, min(8, os.cpu_count() or 2))


def ahead(
    items: Iterable[Item], prepare: Callable[[Item], Ready], *, workers: int, depth: int
) -> Generator[Future[Ready], None, None]:
    """Yield the prepared items in order, as futures: an error is raised where its item is asked for. Closing ends the threads.

    Parameters
    ----------
    items: what is to be prepared.
    prepare: runs in a thread.
    workers: number of threads.
    depth: most items that are prepared or waiting besides the one that is yielded.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="partscope-ahead")
    waiting: deque[Future[Ready]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(prepare, item))
            if len(waiting) > depth:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        # Also after an error or Ctrl-C: no thread is left behind, and what has not begun never begins.
        pool.shutdown(wait=True, cancel_futures=True)


def prepared(
    items: Iterable[Item], prepare: Callable[[Item], Ready], device: str
) -> Generator[Callable[[], Ready], None, None]:
    """Yield for every item a call that returns it prepared: here and now on a processor, ahead in threads for other devices.

    Parameters
    ----------
    items, prepare: as for :func:`ahead`.
    device: type of the device that the items go to, such as `"cuda"`.
    """
    if device == "cpu":
        for item in items:
            yield lambda item=item: prepare(item)  # type: ignore[misc]
        return
    workers = worker_count(device)
    futures = ahead(items, prepare, workers=workers, depth=2 * workers)
    try:
        for future in futures:
            yield future.result
    finally:
        futures.close()
