"""What the pages made from results share: reading a result, a Markdown table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(r) + " |" for r in rows),
    ]


def merged(name: str, *more: str) -> dict[str, Any] | None:
    """A table's document with the further rows and comparisons of other files, measured on the same images.

    A row or comparison that several files have is that of the first. A file of other images, or of another draw, is refused:
    its rows would stand beside figures that they cannot be compared with.
    """
    found = [document for document in map(load, (name, *more)) if document]
    if not found:
        return None
    first = found[0]
    for key in ("data set", "training images", "training images drawn with seed", "test images"):
        if any(document["settings"][key] != first["settings"][key] for document in found):
            raise SystemExit(
                f"{name}: the results in {', '.join(more)} differ in {key}; measure them on the same images."
            )
    result = dict(first)
    for kind, called in (("rows", "name"), ("comparisons", "comparison")):
        items: dict[str, Any] = {}
        for document in found:
            for item in document[kind]:
                items.setdefault(item[called], item)
        result[kind] = list(items.values())
    return result
