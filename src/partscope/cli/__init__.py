"""The command line: `partscope COMMAND`. Commands parse, call the library and show; each group has its own module."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, for `sys.exit`.

    Parameters
    ----------
    argv: arguments after the program's name; those of the process by default.
    """
    try:
        # Imported here because importing takes long enough to be interrupted too, which must not end in a traceback.
        from partscope.cli.application import main as run
    except KeyboardInterrupt:
        print("partscope: interrupted; run the same command again.", file=sys.stderr, flush=True)
        return 130
    return run(argv)
