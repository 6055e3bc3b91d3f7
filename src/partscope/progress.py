"""A progress bar with the time left, on standard error, and silent where nobody watches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
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
    console = console or Console(stderr=True)
    if not enabled or not console.is_terminal:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = done + len(items)
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
        for item in items:
            yield item
            bar.advance(task)
