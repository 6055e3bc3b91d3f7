"""Error curves: the share of parts within a distance (PCK over all thresholds), and the error of each part."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError
from partscope.figures.canvas import WIDTH, method_colour, new_figure, styled
from partscope.figures.palette import METHOD_STYLES
from partscope.metrics import percentile_interval, resampled_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

_MOST_VALUES = 4_000_000


def share_within(errors: ArrayLike, thresholds: ArrayLike) -> FloatArray:
    """Return the share (T,) of `errors` that are at most each of `thresholds` (T,).

    NaN errors (the part is not visible in the ground truth) are left out; an infinite error (visible, but not found
    and given no position) counts and is within no threshold. All NaN if nothing counts.
    """
    values = np.asarray(errors, dtype=np.float64).ravel()
    values = np.sort(values[~np.isnan(values)])
    limits = np.asarray(thresholds, dtype=np.float64)
    if not len(values):
        return np.full(limits.shape, np.nan)
    return np.searchsorted(values, limits, side="right") / len(values)


def share_band(
    errors: ArrayLike, thresholds: ArrayLike, *, level: float = 0.95, draws: int = 1000, random_state: int = 0
) -> FloatArray:
    """Return the bootstrap interval (2, T) of :func:`share_within`, drawing whole images.

    The parts of one image fail together, so images are drawn and not parts.

    Parameters
    ----------
    errors: (N, P) errors, one row per image; NaN and infinity as in :func:`share_within`.
    thresholds: (T,).
    level: of the percentile interval, between 0 and 1.
    draws: number of bootstrap samples.
    random_state: seed.

    Raises
    ------
    OptionError: `errors` is not (N, P), `draws` is below 1, or `level` is not between 0 and 1.
    """
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 2:
        raise OptionError(f"a band needs errors of shape (N, P), one row per image, not {values.shape}.")
    limits = np.asarray(thresholds, dtype=np.float64)
    counted = ~np.isnan(values)
    # Blocks of thresholds bound the memory; the same seed draws the same images for each.
    step = max(1, _MOST_VALUES // max(values.size, 1))
    means = []
    for start in range(0, len(limits), step):
        within = values[:, None] <= limits[start : start + step, None]
        means.append(resampled_means(np.where(counted[:, None], within, np.nan), draws, random_state))
    return percentile_interval(np.concatenate(means, axis=1), level)


@styled
def figure_error_curves(
    errors: Mapping[str, ArrayLike],
    *,
    thresholds: ArrayLike | None = None,
    bands: Mapping[str, ArrayLike] | None = None,
    baselines: Collection[str] = (),
    unit: str = "share of the box diagonal",
    title: str = "Share of parts found within an error",
) -> Figure:
    """Draw for each method the cumulative share of parts whose normalised error is at most t.

    Parameters
    ----------
    errors: by method, any shape; NaN where the part is not visible (left out), infinite where it was not found.
    thresholds: (T,) the t drawn; 0 … 0.5 by default.
    bands: by method, (2, T) lower and upper limits, for instance of :func:`share_band`.
    baselines: the methods drawn in grey, dashed: the priors.
    unit: of the errors.

    Raises
    ------
    OptionError: no method, a baseline or band of an unknown method, a band of another shape.
    MissingExtraError: matplotlib is not installed.
    """
    if not errors:
        raise OptionError("errors is empty; give the errors of at least one method.")
    limits = np.linspace(0, 0.5, 251) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    ranges = {name: np.asarray(band, dtype=np.float64) for name, band in (bands or {}).items()}
    for name in [*baselines, *ranges]:
        if name not in errors:
            raise OptionError(f"there are no errors of {name!r}; there are {', '.join(map(repr, errors))}.")
    for name, band in ranges.items():
        if band.shape != (2, len(limits)):
            raise OptionError(f"the band of {name!r} must have shape {(2, len(limits))}, not {band.shape}.")
    figure = new_figure(WIDTH, 4.6, title)
    axes = figure.subplots()
    number = faint = 0
    for name, values in errors.items():
        if name in baselines:
            colour, style, width = ("#5b5b5b", "#8c8c8c")[faint % 2], ((0, (5, 2)), ":")[faint % 2], 1.6
            faint += 1
        else:
            colour, style, width = method_colour(number), METHOD_STYLES[number % len(METHOD_STYLES)], 2.0
            number += 1
        axes.plot(
            limits,
            100 * share_within(values, limits),
            color=colour,
            linestyle=style,
            linewidth=width,
            label=name,
        )
        if name in ranges:
            low, high = 100 * ranges[name]
            axes.fill_between(limits, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_xlim(limits[0], limits[-1])
    axes.set_ylim(0, 100)
    axes.set_xlabel(f"normalised error t ({unit})")
    axes.set_ylabel("parts with an error of at most t (%)")
    axes.grid()
    axes.legend(loc="lower right" if len(errors) < 8 else "best")
    return figure


@styled
def figure_part_errors(
    parts: Sequence[str],
    errors: Mapping[str, ArrayLike],
    *,
    prior: ArrayLike | None = None,
    intervals: Mapping[str, ArrayLike] | None = None,
    unit: str = "share of the box diagonal",
    title: str = "Error of each part",
) -> Figure:
    """Draw the mean error of each part as bars, one per method, with the prior's error as a black line across.

    Parameters
    ----------
    parts: P names.
    errors: by method, (P,) mean normalised errors; NaN where a part was never visible.
    prior: (P,) errors of the static prior.
    intervals: by method, (P, 2) lower and upper limits.
    unit: of the errors.

    Raises
    ------
    OptionError: no method, or shapes do not fit.
    MissingExtraError: matplotlib is not installed.
    """
    if not errors or not parts:
        raise OptionError("there is nothing to draw; give at least one part and the errors of one method.")
    ranges = {name: np.asarray(value, dtype=np.float64) for name, value in (intervals or {}).items()}
    bars = {name: np.asarray(value, dtype=np.float64) for name, value in errors.items()}
    base = None if prior is None else np.asarray(prior, dtype=np.float64)
    count = len(parts)
    wrong = [n for n, v in bars.items() if v.shape != (count,)] + [
        n for n, v in ranges.items() if v.shape != (count, 2)
    ]
    if wrong or (base is not None and base.shape != (count,)):
        raise OptionError(
            f"{wrong[0] if wrong else 'prior'!r}: errors must have one value per part ({count})."
        )
    figure = new_figure(WIDTH, 1.2 + count * (0.14 + 0.14 * len(bars)), title)
    axes = figure.subplots()
    rows = np.arange(count)
    thick = 0.8 / len(bars)
    for m, (name, values) in enumerate(bars.items()):
        shift = rows - 0.4 + (m + 0.5) * thick
        axes.barh(shift, values, height=thick * 0.92, color=method_colour(m), label=name)
        if name in ranges:
            low, high = np.clip([values - ranges[name][:, 0], ranges[name][:, 1] - values], 0, None)
            axes.errorbar(values, shift, xerr=np.stack([low, high]), fmt="none", ecolor="black", elinewidth=1)
    if base is not None:
        axes.vlines(base, rows - 0.45, rows + 0.45, color="black", linewidth=2.2, label="prior")
    axes.set_yticks(rows, list(parts))
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"mean normalised error ({unit})")
    axes.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=min(4, len(bars) + 1))
    return figure
