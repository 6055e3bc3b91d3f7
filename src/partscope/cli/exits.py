"""How a command ends: errors and warnings as one line each on standard error, and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TextIO

import typer

from partscope.errors import PartscopeError, PartscopeWarning, ScanFolderError
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.dataset import Skipped

#: Everything was done.
OK = 0
#: The rest was done, but some items failed; they have been listed.
INCOMPLETE = 1
#: Nothing was done, or it was stopped, because of an option, a file or an item; the same code as a usage error.
REFUSED = 2
#: A fault of partscope's own (EX_SOFTWARE).
FAULT = 70
#: Ctrl-C: 128 + SIGINT.
INTERRUPTED = 130
#: The reader of the output went away: 128 + SIGPIPE.
BROKEN_PIPE = 141

P = ParamSpec("P")

_debug = False


def set_debug(wanted: bool) -> None:
    """Show tracebacks of errors, beside their line, from now on."""
    global _debug
    _debug = wanted


def say(text: str) -> None:
    """Print one line to standard error; line breaks in `text` become blanks."""
    print("partscope: " + " ".join(text.splitlines()), file=sys.stderr, flush=True)


def list_failures(items: Iterable[Skipped], of: int, what: str) -> None:
    """List items that were left out, with the reason, and count them; nothing where there is none."""
    failures = list(items)
    for item in failures:
        say(f"left out: {item.reason if item.id in item.reason else f'{item.id}: {item.reason}'}")
    if failures:
        say(f"{len(failures)} of {of} {what} were left out, for the reasons above.")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with a sentence on how to go on."""


@contextmanager
def resumable(hint: Callable[[], str]) -> Iterator[None]:
    """Say what was kept where the block is interrupted or stopped by an error.

    `hint` is asked only then, and returns an empty text where nothing was kept. After an error nothing is said then, nor where the
    folder is another run's: the same command would fail in the same way.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        text = hint()
        raise (Interrupted(text) if text else error) from error
    except PartscopeError as error:
        text = hint()
        if text and not isinstance(error, ScanFolderError):
            say(text)
        raise


def go_on(folder: Path | None, kept: bool) -> str:
    """Return the sentence on how to go on after a stop, empty unless `folder` holds anything (`kept`)."""
    if folder is None or not kept:
        return ""
    return f"what was finished is kept in {shown(folder)}; run the same command again to continue."


def handled(command: Callable[P, int | None]) -> Callable[P, None]:
    """Return the command with its errors turned into a line and an exit code; the command may return a code itself."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with _warnings_as_lines():
            code = _code_of(lambda: command(*args, **kwargs))
        if code:
            raise typer.Exit(code)

    return run


def _code_of(command: Callable[[], int | None]) -> int:
    try:
        code = command()
        sys.stdout.flush()
        return code or OK
    except (typer.Exit, typer.Abort):
        raise
    except PartscopeError as error:
        _show_traceback()
        say(f"error: {error}")
        return REFUSED
    except KeyboardInterrupt as error:
        _show_traceback()
        say(f"interrupted; {error if isinstance(error, Interrupted) else 'run the same command again.'}")
        return INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _fault(error)
        _show_traceback()
        discard_stdout()
        say(
            "error: the disk that the output goes to is full; free some space and run the same command again."
        )
        return REFUSED
    except MemoryError:
        _show_traceback()
        say(
            "error: there is not enough memory; use a smaller --input-size or fewer images, or close other programs."
        )
        return REFUSED
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> int:
    _show_traceback()
    again = "" if _debug else " and the output of the same command as 'partscope --debug …'"
    say(
        f"error: unexpected {type(error).__name__}: {error} "
        f"(a fault of partscope: please report it with the command{again})."
    )
    return FAULT


def discard_stdout() -> None:
    """Send what is still to be printed nowhere, so that Python does not complain about a closed pipe at its exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file, as in tests
        return


def _show_traceback() -> None:
    if _debug:
        traceback.print_exc()


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print each PartscopeWarning once, as a line without file and line number; others as Python does."""
    seen: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", PartscopeWarning)
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, PartscopeWarning):
                usual(message, category, filename, lineno, file, line)
            elif str(message) not in seen:
                seen.add(str(message))
                say(f"warning: {message}")

        warnings.showwarning = show
        yield
