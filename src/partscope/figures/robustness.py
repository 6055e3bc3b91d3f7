"""How far activation centres are displaced as noise and clutter are added to the maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from partscope.errors import OptionError
from partscope.figures.canvas import WIDTH, method_colour, new_figure, styled
from partscope.figures.palette import METHOD_MARKERS, METHOD_STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def figure_robustness(
    disturbances: Mapping[str, tuple[Sequence[float], Mapping[str, ArrayLike]]],
    *,
    unit: str = "share of the map's diagonal",
    title: str = "Activation centres under noise and clutter",
) -> Figure:
    """Draw the mean error of each way to find a centre against the strength of each disturbance, one panel for each.

    Parameters
    ----------
    disturbances: by the label of the panel's x axis, the L levels and, by method, the errors (L, M) of M maps (or (L,)
        means). NaN errors (no centre found) are left out of the mean; the band is ±1.96 standard errors.
    unit: of the errors.

    Raises
    ------
    OptionError: nothing to draw, or errors whose first axis is not the levels.
    MissingExtraError: matplotlib is not installed.
    """
    if not disturbances:
        raise OptionError("disturbances is empty; give at least one.")
    figure = new_figure(WIDTH, 4.0, title)
    panels = np.asarray(figure.subplots(1, len(disturbances), sharey=True, squeeze=False))[0]
    for axes, (label, (levels, errors)) in zip(panels, disturbances.items(), strict=True):
        for m, (method, values) in enumerate(errors.items()):
            array = np.asarray(values, dtype=np.float64)
            if array.ndim not in (1, 2) or len(array) != len(levels):
                raise OptionError(
                    f"{method}: errors must have shape ({len(levels)}, maps), not {array.shape}."
                )
            array = array.reshape(len(levels), -1)
            count = np.isfinite(array).sum(axis=1)
            total = np.where(np.isfinite(array), array, 0).sum(axis=1)
            mean = np.divide(total, count, out=np.full(len(levels), np.nan), where=count > 0)
            squares = np.where(np.isfinite(array), (array - mean[:, None]) ** 2, 0).sum(axis=1)
            spread = 1.96 * np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))
            colour = method_colour(m)
            style, marker = METHOD_STYLES[m % len(METHOD_STYLES)], METHOD_MARKERS[m % len(METHOD_MARKERS)]
            axes.plot(levels, mean, color=colour, linestyle=style, marker=marker, markersize=5, label=method)
            axes.fill_between(levels, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
        axes.set_xlabel(label)
        axes.set_ylim(bottom=0)
        axes.grid()
    panels[0].set_ylabel(f"mean error of the centre\n({unit})")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure
