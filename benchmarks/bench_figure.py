"""The figure of `bench.py`: every ratio that has a limit, on a logarithmic axis, with its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partscope.figures import save_figure
from partscope.figures.canvas import WIDTH, method_colour, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def figure_bench(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """One line per row: the ratio with its range, and a bar across where the limit is a number."""
    height = 1.2 + 0.42 * len(rows)
    figure = new_figure(WIDTH, height, "Ratios measured in one run, and their limits")
    axes = figure.subplots()
    names = []
    for place, row in enumerate(reversed(rows)):
        low, high = row.get("range") or (row["ratio"], row["ratio"])
        colour = method_colour(0 if row["met"] else 1)
        axes.plot([low, high], [place, place], "-", color=colour, linewidth=2)
        axes.plot([row["ratio"]], [place], "o" if row["met"] else "s", color=colour, markersize=6)
        if isinstance(row["must"], (int, float)):
            axes.plot([row["must"]] * 2, [place - 0.3, place + 0.3], "-", color="black", linewidth=1.5)
        names.append(row["name"].partition(": ")[2])
    axes.set_yticks(range(len(names)), names)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("ratio, with its range; bar: the limit; round: kept, square: not")
    axes.grid(axis="x")
    return figure


def draw_figure(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the figure; nothing where no row has a limit."""
    asked = [row for row in rows if row["met"] is not None and row["ratio"] is not None]
    if asked:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure_bench(asked), path)
