"""Accuracy of classification against settings, such as the patches' size λ and their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError
from partscope.figures.canvas import WIDTH, method_colour, new_figure, styled
from partscope.figures.palette import METHOD_MARKERS, METHOD_STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]


class Curve(NamedTuple):
    """Accuracies (L,) at the settings `x` (L,), shares in [0, 1], and their intervals (L, 2), or None."""

    x: ArrayLike
    accuracy: ArrayLike
    intervals: ArrayLike | None = None


@styled
def figure_accuracy(
    panels: Mapping[str, Mapping[str, Curve | tuple[ArrayLike, ...]]],
    *,
    baselines: Mapping[str, float] | None = None,
    logarithmic: Sequence[str] = ("λ",),
    title: str = "Accuracy against the patches' size and number",
) -> Figure:
    """Draw accuracies against settings, one panel per setting, with their intervals as bars.

    Parameters
    ----------
    panels: by the label of the panel's x axis (such as `"λ"` or `"number of parts"`), and by name of the curve, its
        :class:`Curve`.
    baselines: accuracies that do not depend on the settings, such as the whole image's, by name: lines across.
    logarithmic: labels of the panels whose x axis is logarithmic; its values are written as fractions.

    Raises
    ------
    OptionError: nothing to draw, shapes that do not fit, or a logarithmic axis with a value that is not positive.
    MissingExtraError: matplotlib is not installed.
    """
    if not panels or not all(panels.values()):
        raise OptionError("there is nothing to draw; give at least one panel, and one curve in each.")
    figure = new_figure(WIDTH, 4.2, title)
    grid = np.asarray(figure.subplots(1, len(panels), sharey=True, squeeze=False))[0]
    order = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for axes, (label, curves) in zip(grid, panels.items(), strict=True):
        marks: set[float] = set()
        for number, (name, entry) in enumerate(curves.items()):
            x, y, spread = _checked_curve(label, name, Curve(*entry), label in logarithmic)
            marks.update(x.tolist())
            x = _beside(x, number - (len(curves) - 1) / 2, label in logarithmic)
            number = order.index(name)
            axes.errorbar(
                x, y, yerr=spread, label=name, color=method_colour(number), capsize=2.5, elinewidth=1,
                linestyle=METHOD_STYLES[number % len(METHOD_STYLES)], linewidth=1.8, markersize=5,
                marker=METHOD_MARKERS[number % len(METHOD_MARKERS)],
            )  # fmt: skip
        for number, (name, value) in enumerate((baselines or {}).items()):
            axes.axhline(
                100 * value, color=("#5b5b5b", "#8c8c8c")[number % 2], linewidth=1.4,
                linestyle=((0, (5, 2)), ":")[number % 2], label=name,
            )  # fmt: skip
        ticks = sorted(marks)
        if label in logarithmic:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(ticks, [_fraction(t) if label in logarithmic else f"{t:g}" for t in ticks])
        axes.set_xlabel(label)
        axes.grid()
    grid[0].set_ylabel("images classified right (%)")
    entries = {
        name: handle for axes in grid for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    names = [*order, *(baselines or {})]
    handles = [entries[name] for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return figure


def _checked_curve(
    label: str, name: str, curve: Curve, logarithmic: bool
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Return settings, accuracies in per cent and the lengths (2, L) of the bars below and above them."""
    x, y = np.asarray(curve.x, dtype=np.float64), 100 * np.asarray(curve.accuracy, dtype=np.float64)
    if x.ndim != 1 or not len(x) or x.shape != y.shape:
        raise OptionError(
            f"{name}: settings and accuracies must be (L,) of one length, not {x.shape} and {y.shape}."
        )
    if logarithmic and (x <= 0).any():
        raise OptionError(f"{label}: a logarithmic axis needs positive values, not {x.min():g}.")
    if curve.intervals is None:
        return x, y, None
    limits = 100 * np.asarray(curve.intervals, dtype=np.float64)
    if limits.shape != (len(x), 2):
        raise OptionError(f"{name}: intervals must have shape ({len(x)}, 2), not {limits.shape}.")
    return x, y, np.clip([y - limits[:, 0], limits[:, 1] - y], 0, None)


def _beside(x: FloatArray, place: float, logarithmic: bool) -> FloatArray:
    """Return settings moved by `place` hundredths of their range, so that the bars of two curves do not hide each other."""
    if logarithmic:
        return np.asarray(x * (x.max() / x.min()) ** (0.01 * place))
    return np.asarray(x + 0.01 * place * (x.max() - x.min()))


def _fraction(value: float) -> str:
    """Return `1/9` for 0.111…, and other numbers as they are."""
    near = Fraction(value).limit_denominator(1000)
    return str(near) if abs(float(near) - value) < 1e-6 * value and near.numerator <= 4 else f"{value:.3g}"
