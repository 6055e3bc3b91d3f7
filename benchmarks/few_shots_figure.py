"""The figure of `few_shots.py`: mean error against the number of marked images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partscope.figures import save_figure
from partscope.figures.canvas import WIDTH, method_colour, new_figure, styled
from partscope.figures.palette import METHOD_MARKERS, METHOD_STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def figure_few_shots(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one curve per method; bars are the 95 % interval over test images, small dots the single draws."""
    figure = new_figure(WIDTH, 4.6, "Error against the number of marked training images, whole image, no box")
    axes = figure.subplots()
    sizes = sorted({row["images"] for row in rows})
    for number, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        mine = [row for row in rows if row["method"] == method]
        # Each method a little beside the others, so that bars do not hide each other.
        x = [row["images"] * 1.03 ** (number - 1.5) for row in mine]
        y = [row["error"] for row in mine]
        spread = [[max(e - row["ci95"][0], 0) for e, row in zip(y, mine, strict=True)],
                  [max(row["ci95"][1] - e, 0) for e, row in zip(y, mine, strict=True)]]  # fmt: skip
        colour = method_colour(number)
        tested = {row["test images"] for row in mine}
        label = f"{method} ({', '.join(str(count) for count in sorted(tested))} test images)"
        axes.errorbar(
            x, y, yerr=spread, label=label, color=colour, capsize=2.5, elinewidth=1, linewidth=1.8, markersize=5,
            linestyle=METHOD_STYLES[number % len(METHOD_STYLES)], marker=METHOD_MARKERS[number % len(METHOD_MARKERS)],
        )  # fmt: skip
        for place, row in zip(x, mine, strict=True):
            single = [draw["error"] for draw in row["draws"]]
            axes.plot([place] * len(single), single, ".", color=colour, markersize=3, alpha=0.6)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(sizes, [f"{size}" for size in sizes])
    axes.set_xlabel("marked training images")
    axes.set_ylabel("mean error (share of the box diagonal)")
    axes.set_ylim(bottom=0)
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_figure(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the figure; nothing where there is no row."""
    if rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure_few_shots(rows), path)
