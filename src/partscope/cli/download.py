"""`partscope download`: a data set from its official source."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from partscope.cli.output import Output


def download(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="The data set; without it they are listed.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to put the data set's folder.")
    ] = Path(),
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Keep the archive too.")] = False,
) -> None:
    """Download a data set, check it and unpack it; a download that was stopped is continued."""
    from partscope.download import SOURCES
    from partscope.download import download as run

    output = Output()
    if name is None:
        output.table(
            ["NAME", "DATA SET", "TERMS"],
            [[name, source.title, source.terms] for name, source in SOURCES.items()],
        )
        return
    with _Bar(f"download {name}") as bar:
        folder = run(name, out, keep_archive=keep_archive, progress=bar)
    output.line(f"{folder}: {SOURCES[name].title}")
    output.line(f"terms: {SOURCES[name].terms}")


class _Bar:
    """A progress bar in bytes on standard error, silent where nobody watches."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(title, total=None)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total or None)
