"""What a command shows: tables for people, and one JSON document for programs."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from partscope.errors import OptionError, PartscopeError
from partscope.places import shown, url_of

#: Where nobody's screen sets a width, a table is as wide as it needs to be.
_WIDE = 240
_NUMBER = r"[−+]?\d[\d.,]*(e[-+]?\d+)?"
_NUMERIC = re.compile(rf"–|{_NUMBER}( %|…{_NUMBER}|×{_NUMBER})?")


class _Console(Console):
    """Prints text as it is: brackets in a file's name are no markup."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = _WIDE

    def on_broken_pipe(self) -> None:
        """Leave the exit code to :func:`partscope.cli.exits.handled`."""
        raise BrokenPipeError


class Output:
    """Shows tables and lines on standard output, and writes the JSON document.

    With `json_out="-"` the document is all that goes to standard output; tables and lines go to standard error.

    Parameters
    ----------
    json_out: the file for the document, `-` for standard output, or None for no document.

    Raises
    ------
    PartscopeError: the file cannot be written; said before anything is computed.
    """

    def __init__(self, json_out: str | None = None) -> None:
        self._json_out = json_out
        self._console = _Console(stderr=json_out == "-")
        if json_out not in (None, "-"):
            check_writable(Path(str(json_out)))

    def line(self, text: str = "") -> None:
        """Print a line of text, never folded."""
        self._console.print(text, soft_wrap=True)

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """Print a table; columns of numbers are aligned to the right."""
        if title:
            self.line(title)
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        for i, header in enumerate(headers):
            numeric = bool(rows) and all(_NUMERIC.fullmatch(row[i]) for row in rows)
            shown.add_column(
                header,
                justify="right" if numeric else "left",
                overflow="fold",
                no_wrap=numeric,
                vertical="bottom",
            )
        for row in rows:
            shown.add_row(*row)
        self._console.print(shown)
        self.line()

    def document(self, content: Mapping[str, Any]) -> None:
        """Write the JSON document, where one is wanted; NaN and infinity become null.

        Raises
        ------
        PartscopeError: the file cannot be written.
        """
        if self._json_out is None:
            return
        text = json.dumps(json_ready(content), allow_nan=False, indent=1) + "\n"
        if self._json_out == "-":
            sys.stdout.write(text)
            return
        from partscope.atomic import atomic_write

        atomic_write(self._json_out, text)


def json_ready(value: Any) -> Any:
    """Return `value` as JSON can hold it: paths as text, tuples as lists, NumPy numbers as plain ones, NaN as None."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(entry) for entry in value]
    if isinstance(value, Path):
        return shown(value)
    if type(value).__module__ == "numpy":
        return json_ready(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_distinct(files: Mapping[str, str | Path | None]) -> None:
    """Refuse one file for two purposes: what a command writes must not replace its model, its boxes or its other results.

    Parameters
    ----------
    files: paths by what the user calls them; None and `-` are no files.

    Raises
    ------
    OptionError: two of them are one file, also by way of a symbolic link.
    """
    seen: dict[str, str] = {}
    for name, path in files.items():
        if path is None or str(path) == "-" or (Path(path).exists() and not Path(path).is_file()):
            continue  # a device or a pipe is written to as often as one likes
        first = seen.setdefault(os.path.realpath(path), name)
        if first != name:
            raise OptionError(
                f"{path}: this file is given as {first} and as {name}; name another for one of them."
            )


def check_writable(path: Path) -> None:
    """Raise a PartscopeError where a file certainly cannot be written later, after the work has been done."""
    if url_of(path) is not None:
        return  # its store alone can tell
    folder = path.parent
    if path.is_dir():
        raise PartscopeError(f"{path}: this is a folder; give the name of a file.")
    if not folder.is_dir():
        raise PartscopeError(f"{path}: there is no folder {folder}; create it first.")
    if not path.exists() and not os.access(folder, os.W_OK):
        raise PartscopeError(f"{path}: the folder {folder} may not be written to; choose another.")


def check_figures(folder: Path | None) -> None:
    """Refuse a place for figures, or say that matplotlib is missing, before anything is computed."""
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: this is a file; give --figures a folder.")
    if not folder.exists() and not folder.parent.is_dir():
        raise OptionError(f"{folder}: there is no folder {folder.parent}; create it first.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        from partscope.errors import MissingExtraError

        raise MissingExtraError("matplotlib", "plot", "Drawing figures") from error
