"""Run the benchmarks of speed, each in a process of its own, and put their ratios into one table (`make bench`).

    python benchmarks/bench.py [--data CUB_FOLDER] [--quick] [--again] [--everything] [--read]

A part that is done with these versions, on this data and machine, is not run again unless --again. Long parts are read from their
JSON unless --everything. `results/bench.json` and the figure `docs/figures/bench.png` are written after every part. --quick takes
fewer repeats, and writes to a folder of its own, so that no committed figure is replaced by it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_figure import draw_figure
from record import environment, write_json

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FIGURE = HERE.parent / "docs" / "figures" / "bench.png"
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A script beside this one that writes a JSON file with `rows`; a long one is read, not run, unless asked for.

    Parameters
    ----------
    name: of the script and of its file under results/.
    long: see above.
    photographs: takes --data; without it, drawn birds.
    needs_photographs: its first argument is the folder; without one it is read.
    option: that names the file it writes.
    quick: options for a quick look.
    """

    name: str
    long: bool = False
    photographs: bool = False
    needs_photographs: bool = False
    option: str = "--json"
    quick: tuple[str, ...] = field(default=())


PARTS = (
    Part("gradient_maps", photographs=True, quick=("--channels", "16", "--repeats", "1")),
    Part("mixture", photographs=True, quick=("--maps", "32", "--repeats", "1")),
    Part("search", long=True, needs_photographs=True, quick=("--limit", "24", "--draws", "2")),
    Part("locate_cost", photographs=True, quick=("--images", "4", "--repeats", "2")),
    Part("growth", quick=("--repeats", "1")),
    Part("workers", option="--out", quick=("--only", "memory")),
)


@dataclass(frozen=True)
class Options:
    """How the parts are run, and where their files lie."""

    data: Path | None = None
    quick: bool = False
    again: bool = False
    everything: bool = False
    read: bool = False
    results: Path = RESULTS


def rows_of(part: Part, document: Mapping[str, Any] | None, source: str) -> list[Row]:
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


def command(part: Part, options: Options) -> list[str]:
    """The command line of a part."""
    words = [sys.executable, str(HERE / f"{part.name}.py")]
    if part.needs_photographs and options.data is not None:
        words.append(str(options.data))
    if part.photographs and options.data is not None:
        words += ["--data", str(options.data)]
    if options.quick:
        words += part.quick
    return [*words, part.option, str(options.results / f"{part.name}.json")]


def run(part: Part, done: dict[str, Any], about: Row, options: Options) -> list[Row]:
    """Run the part, unless it is done under the same circumstances, long, or cannot run; then its JSON speaks."""
    path = options.results / f"{part.name}.json"
    earlier = done.get(part.name)
    if earlier and earlier["about"] == about and not options.again:
        return [{**row, "source": "an earlier run, same versions"} for row in earlier["rows"]]
    source = "this run"
    if options.read:
        source = "from its JSON"
    elif not (HERE / f"{part.name}.py").exists():
        source = "no script"
    elif part.long and not options.everything:
        source = "from its JSON (long; --everything runs it)"
    elif part.needs_photographs and options.data is None:
        source = "from its JSON (needs --data)"
    else:
        before = path.stat().st_mtime_ns if path.exists() else None
        code = subprocess.run(command(part, options), check=False).returncode
        after = path.stat().st_mtime_ns if path.exists() else None
        if code:
            source = f"from its JSON (the script ended with {code})"
        elif before == after:
            source = "from its JSON (the script wrote none)"
        if source != "this run":
            print(f"bench: {part.name}: {source}", file=sys.stderr)
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    rows = rows_of(part, document, source)
    if source == "this run":
        done[part.name] = {"about": about, "rows": rows}
    return rows


def table(rows: Sequence[Row]) -> list[str]:
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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("PARTSCOPE_CUB"),
        help="folder in the CUB layout; the variable PARTSCOPE_CUB by default, drawn birds without either",
    )
    parser.add_argument("--again", action="store_true", help="run parts that are done with these versions")
    parser.add_argument("--read", action="store_true", help="run nothing that is not done: read its JSON")
    parser.add_argument("--everything", action="store_true", help="run the long parts as well")
    parser.add_argument(
        "--quick", action="store_true", help="few repeats, into --results, which keeps committed figures"
    )
    parser.add_argument("--results", type=Path, help="folder of the JSON files; a quick look has its own")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="these parts alone")
    given = parser.parse_args(arguments)
    results = given.results or (Path("bench-quick") if given.quick else RESULTS)
    data = Path(given.data) if given.data else None
    options = Options(data, given.quick, given.again, given.everything, given.read, results)
    path = results / "bench.json"
    done = json.loads(path.read_text(encoding="utf-8")).get("done", {}) if path.exists() else {}
    about = environment(data)
    del about["machine"]["threads"]  # each part sets its own
    rows: list[Row] = []
    for part in PARTS:
        if given.only is None or part.name in given.only:
            rows += run(part, done, about, options)
        write_json(path, {**about, "rows": rows, "done": done})
    draw_figure(rows, results / "bench.png" if results != RESULTS else FIGURE)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
