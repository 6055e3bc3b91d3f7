"""A progress bar with the time left, on standard error, and silent where nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def track(
    items: Iterable[T],
    description: str,
    *,
    total: int | None = None,
    done: int = 0,
    enabled: bool = True,
    console: Console | None = None,
) -> Iterator[T]:
    """Yield `items`, showing how many are done and how long the rest will take.

    Parameters
    ----------
    items: what to go through.
    description: shown before the bar, such as "predict".
    total: number of items, those already done included; by default `done` plus the length of `items`, where it has one.
    done: items that an earlier run has finished; they count as done but not for the speed.
    enabled: False yields the items and shows nothing.
    console: where to draw; standard error by default, and nothing is drawn if that is not a terminal.
    """
    if total is None and isinstance(items, Sized):
        total = done + len(items)
    with progress_bar(description, total=total, done=done, enabled=enabled, console=console) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def progress_bar(
    description: str,
    *,
    total: int | None = None,
    done: int = 0,
    enabled: bool = True,
    console: Console | None = None,
) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more items are done, for work that is no plain loop.

    Parameters as for :func:`track`.
    """
    console = console or Console(stderr=True)
    if not enabled or not console.is_terminal:
        yield lambda count: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("in"),
        TimeElapsedColumn(),
        TextColumn("· left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda count: bar.advance(task, count)
