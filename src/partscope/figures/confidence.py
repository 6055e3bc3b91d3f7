"""Reliability diagrams, and errors against the share of parts kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from partscope.errors import OptionError
from partscope.figures.canvas import WIDTH, method_colour, new_figure, styled
from partscope.figures.palette import METHOD_STYLES
from partscope.metrics import Reliability, RiskCoverage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Fewer parts than this are not drawn as a kept share: a mean over a handful says nothing.
_FEWEST = 10


@styled
def figure_reliability(
    methods: Mapping[str, Reliability], *, title: str = "Is a part as often visible as its score says?"
) -> Figure:
    """Draw the share of visible parts against the mean score of each bin, and below how many parts each bin holds.

    On the diagonal a score is a probability. Empty bins are left out.

    Parameters
    ----------
    methods: by name.

    Raises
    ------
    OptionError: no method.
    MissingExtraError: matplotlib is not installed.
    """
    if not methods:
        raise OptionError("there is nothing to draw; give the reliability of at least one method.")
    figure = new_figure(WIDTH * 0.75, 5.6, title)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    upper.plot([0, 1], [0, 1], color="#8c8c8c", linestyle=":", linewidth=1.6, label="score = probability")
    for number, (name, bins) in enumerate(methods.items()):
        full = bins.count > 0
        colour = method_colour(number)
        upper.plot(
            bins.score[full],
            bins.share[full],
            color=colour,
            linestyle=METHOD_STYLES[number % len(METHOD_STYLES)],
            marker="o",
            markersize=5,
            linewidth=2.0,
            label=f"{name}: calibration error {bins.expected_calibration_error:.3f}, Brier score {bins.brier:.3f}",
        )
        lower.stairs(100 * bins.count / max(bins.count.sum(), 1), bins.edges, color=colour, linewidth=1.6)
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.set_ylabel("share that is visible")
    upper.grid()
    upper.legend(loc="upper left")
    lower.set_ylim(bottom=0)
    lower.set_ylabel("parts (%)")
    lower.set_xlabel("score (mean of the bin)")
    lower.grid(axis="y")
    return figure


@styled
def figure_risk_coverage(
    methods: Mapping[str, RiskCoverage],
    *,
    unit: str = "share of the box diagonal",
    title: str = "Error when only the surest parts are kept",
) -> Figure:
    """Draw the mean error of the parts kept against their share, with the best order and none beside each method.

    Parameters
    ----------
    methods: by name; each with at least one part.
    unit: of the errors.

    Raises
    ------
    OptionError: no method, or one without a part.
    MissingExtraError: matplotlib is not installed.
    """
    for name, curve in methods.items():
        if not len(curve.error):
            raise OptionError(f"{name!r} has no part to draw; leave it out.")
    if not methods:
        raise OptionError("there is nothing to draw; give the curve of at least one method.")
    figure = new_figure(WIDTH, 4.6, title)
    axes = figure.subplots()
    for number, (name, curve) in enumerate(methods.items()):
        count = len(curve.error)
        share = 100 * np.arange(1, count + 1) / count
        first = min(_FEWEST, count) - 1
        colour = method_colour(number)
        style = METHOD_STYLES[number % len(METHOD_STYLES)]
        axes.plot(
            share[first:],
            curve.error[first:],
            color=colour,
            linestyle=style,
            linewidth=2.0,
            label=f"{name}: area {curve.area:.3f}",
        )
        axes.plot(
            share[first:],
            curve.oracle[first:],
            color=colour,
            linestyle=":",
            linewidth=1.6,
            label=f"{name}, best order: area {curve.oracle_area:.3f}",
        )
        axes.axhline(
            curve.unordered, color="#8c8c8c", linewidth=1.2, label=f"{name}, no order: {curve.unordered:.3f}"
        )
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("parts kept, the surest first (%)")
    axes.set_ylabel(f"mean error ({unit})")
    axes.grid()
    axes.legend(loc="best")
    return figure
