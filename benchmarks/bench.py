"""Run the benchmarks of speed, each in a process of its own, and put their ratios into one table (`make bench`)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import environment, write_json

HERE = Path(__file__).parent
RESULTS = HERE / "results"
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A script beside this one that writes results/NAME.json with `rows`; a long one is read, not run, unless asked for."""

    name: str
    long: bool = False


PARTS = (
    Part("gradient_maps"),
    Part("mixture"),
    Part("search", long=True),
    Part("locate_cost"),
    Part("workers"),
)


def rows_of(part: Part, document: dict[str, Any] | None, source: str) -> list[Row]:
    """The part's rows with where they come from; a part without figures is one row that is not met."""
    rows = (document or {}).get("rows", [])
    if not any(row.get("ratio") is not None for row in rows):
        return [{"name": part.name, "ratio": None, "must": "figures", "met": False, "source": source}]
    return [
        {
            "name": f"{part.name}: {row['name']}",
            "ratio": row.get("ratio"),
            "range": row.get("range"),
            "must": row.get("must"),
            "met": None if row.get("must") is None else row.get("ratio") is not None and bool(row.get("met")),
            "source": source,
        }
        for row in rows
    ]


def run(part: Part, done: dict[str, Any], versions: Row, everything: bool, again: bool) -> list[Row]:
    """Run the part, unless it is done with these versions, long, or cannot run; then its committed JSON speaks."""
    script, path = HERE / f"{part.name}.py", RESULTS / f"{part.name}.json"
    earlier = done.get(part.name)
    if earlier and earlier["versions"] == versions and not again:
        return [{**row, "source": "an earlier run, same versions"} for row in earlier["rows"]]
    source = "this run"
    if not script.exists():
        source = "no script"
    elif part.long and not everything:
        source = "from its committed JSON (long; --everything runs it)"
    elif code := subprocess.run([sys.executable, str(script)], check=False).returncode:
        source = f"from its committed JSON (the script ended with {code})"
        print(f"bench: {part.name} ended with exit status {code}", file=sys.stderr)
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    rows = rows_of(part, document, source)
    if source == "this run":
        done[part.name] = {"versions": versions, "rows": rows}
    return rows


def table(rows: list[Row]) -> list[str]:
    """Lines of the table; the last counts the rows that have a `must`."""
    cells = [["name", "ratio", "range", "must", "met", "source"]]
    for row in rows:
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
        span = "–" if not row.get("range") else " to ".join(f"{value:.2f}" for value in row["range"])
        met = "–" if row["met"] is None else "yes" if row["met"] else "no"
        cells.append(
            [row["name"], ratio, span, "–" if row["must"] is None else str(row["must"]), met, row["source"]]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    counted = [row["met"] for row in rows if row["met"] is not None]
    return [*lines, f"bench: {sum(counted)} of {len(counted)} met"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="run parts that are done with these versions")
    parser.add_argument("--everything", action="store_true", help="run the long parts as well")
    options = parser.parse_args()
    path = RESULTS / "bench.json"
    done = json.loads(path.read_text(encoding="utf-8"))["done"] if path.exists() else {}
    about, rows = environment(), []
    for part in PARTS:
        rows += run(part, done, about["versions"], options.everything, options.again)
        write_json(path, {**about, "rows": rows, "done": done})
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
