"""The examples of a documentation page: its fenced blocks, and how they are run.

A block is run unless the line before it says `<!-- not run: why -->`. Lines of a `bash` or `console` block are commands of partscope,
run in this process; a `python` block is run as it stands, in one namespace for the page.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from partscope.cli import main

RUN = ("python", "bash", "console")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1``` *$", re.DOTALL | re.MULTILINE)
_NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*\Z")


class Example(NamedTuple):
    page: str
    line: int
    language: str
    code: str
    not_run: str | None

    def run(self, names: dict[str, Any]) -> None:
        """Run it in the current folder; `names` is the namespace of the page's Python."""
        if self.language == "python":
            # Line numbers of a failure are those of the page.
            exec(compile("\n" * self.line + self.code, self.page, "exec"), names)
            return
        for words in self.commands():
            assert words[0] == "partscope", (
                f"{self.page}:{self.line}: {words[0]} cannot be run here; mark the block `<!-- not run: why -->`"
            )
            code = main(words[1:])
            assert code == 0, f"{self.page}:{self.line}: `{shlex.join(words)}` ended with {code}"

    def commands(self) -> list[list[str]]:
        """Return the words of each command; comments and, in a `console` block, what was printed are left out."""
        lines = self.code.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def examples(page: Path, text: str | None = None) -> list[Example]:
    """Return the blocks of a page in a language that can be run, marked ones included."""
    text = page.read_text("utf-8") if text is None else text
    found = []
    for block in _FENCE.finditer(text):
        if block[2] in RUN:
            marked = _NOT_RUN.search(text[: block.start()])
            line = text.count("\n", 0, block.start()) + 1
            found.append(Example(page.name, line, block[2], block[3], marked[1] if marked else None))
    return found
