"""A griffe extension: docstrings as they are written here, to Markdown.

Sections are headed as numpy's are, and hold `name: description` with the type in the signature, which no parser of
mkdocstrings reads; roles such as `:func:` are Sphinx's.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Parameters|Attributes|Returns|Raises|Yields|Notes)\n-{3,}\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*(?:, *\*{0,2}[A-Za-z_][\w.]*)*): ")
_ROLE = re.compile(r":[a-z]+:`(~?)([\w.]+)`")
#: Sections whose lines begin with names.
_NAMED = ("Parameters", "Attributes", "Raises")


class Docstrings(griffe.Extension):
    """Rewrites every docstring of the package."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(docstring: str) -> str:
    """Return a docstring as Markdown: each section under a bold word, its names as a list, roles as links."""
    head, *sections = _SECTION.split(inspect.cleandoc(docstring))
    lines = [head.strip()]
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        entries, _, rest = body.partition("\n\n")
        lines += ["", f"**{name}**", "", _list(entries) if name in _NAMED else entries.strip()]
        if rest.strip():
            lines += ["", rest.strip()]
    return _ROLE.sub(_link, "\n".join(lines))


def _list(entries: str) -> str:
    items: list[str] = []
    for line in entries.splitlines():
        if _ENTRY.match(line):
            items.append("- " + _ENTRY.sub(lambda match: f"`{match[1]}`: ", line))
        else:
            items.append(line if line.startswith(" ") or not items else "    " + line)
    return "\n".join(items)


def _link(match: re.Match[str]) -> str:
    """A link where the reference has the name, and the plain name elsewhere."""
    short, name = match[1], match[2]
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref optional identifier="{name}"><code>{shown}</code></autoref>'
