"""Comparing the time of several ways to do the same thing on a machine that does other things too.

Absolute times of a shared machine say little. What is reported is the ratio of two times measured side by side, A B A B, with
its median and range over the repeats.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call in every repeat; each repeat runs all calls one after the other, every second one backwards."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats):
        names = list(calls) if repeat % 2 == 0 else list(calls)[::-1]
        for name in names:
            times[name].append(seconds(calls[name]))
    return times


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """How many times longer the first takes than the second, repeat by repeat: median, min, max."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return {
        "median": round(statistics.median(ratios), 2),
        "min": round(min(ratios), 2),
        "max": round(max(ratios), 2),
    }


def bounds(measured: Mapping[str, float]) -> list[float]:
    """Smallest and largest ratio of the repeats."""
    return [measured["min"], measured["max"]]


def machine_load() -> float | None:
    """Load average of the last minute, where the system tells: above the number of cores, others are at work."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def print_table(rows: list[Mapping[str, Any]], columns: list[str]) -> None:
    """Print rows as an aligned table."""
    cells = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['median']} ({value['min']}–{value['max']})"
    return "" if value is None else str(value)
