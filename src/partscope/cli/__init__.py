"""The command line: `partscope COMMAND`. Commands parse, call the library and show; each group has its own module."""

from partscope.cli.application import app, main

__all__ = ["app", "main"]
