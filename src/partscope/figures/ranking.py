"""Which channels fit a part best and by how much, and which parts share a channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from partscope.errors import OptionError
from partscope.figures.canvas import WIDTH, bare, method_colour, new_figure, styled
from partscope.figures.palette import hexadecimal, part_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def figure_ranking(
    cost: ArrayLike,
    parts: Sequence[str],
    most: int = 10,
    *,
    channels: Sequence[int] | None = None,
    unit: str = "cost of Eq. 3",
    title: str = "Channels ranked for each part",
) -> Figure:
    """Draw each part's `most` best channels on one line: the best as a dot, the gap to the second as a thick stroke.

    Parameters
    ----------
    cost: (P, K) cost of every channel for every part, smaller is better; not finite where there is none.
    parts: P names.
    most: channels shown per part.
    channels: K channel numbers, where `cost` covers a shortlist; 0 … K − 1 by default.
    unit: label of the axis, with its unit.

    Raises
    ------
    OptionError: shapes do not fit, or `most` is below 1.
    MissingExtraError: matplotlib is not installed.
    """
    values = np.asarray(cost, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(parts) or not values.size:
        raise OptionError(
            f"cost must have shape ({len(parts)}, K) for {len(parts)} parts, not {values.shape}."
        )
    if most < 1:
        raise OptionError(f"most={most} channels cannot be shown; give at least 1.")
    numbers = np.arange(values.shape[1]) if channels is None else np.asarray(channels)
    if numbers.shape != values.shape[1:]:
        raise OptionError(
            f"cost has {values.shape[1]} channels, but {len(numbers)} channel numbers are given."
        )
    figure = new_figure(WIDTH, 1.1 + 0.3 * len(parts), title)
    axes = figure.subplots()
    for p in range(len(parts)):
        order = np.argsort(np.where(np.isfinite(values[p]), values[p], np.inf), kind="stable")[:most]
        order = order[np.isfinite(values[p, order])]
        best = values[p, order]
        if not len(order):
            note = "no channel: the part was never visible"
        elif len(order) == 1:
            note = f"{numbers[order[0]]}, the only one"
        else:
            axes.plot(
                best[:2], [p, p], color=method_colour(0), linewidth=4, alpha=0.45, solid_capstyle="butt"
            )
            gap = f", +{(best[1] / best[0] - 1) * 100:.1f} %" if best[0] > 0 else ""
            note = f"{numbers[order[0]]}  (next {numbers[order[1]]}{gap})"
        axes.plot(best[1:], np.full(len(best[1:]), p), "|", color="#5b5b5b", markersize=9)
        axes.plot(best[:1], np.full(len(best[:1]), p), "o", color=method_colour(0), markersize=7)
        axes.text(1.01, p, note, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_yticks(range(len(parts)), list(parts))
    axes.set_ylim(len(parts) - 0.5, -0.5)
    axes.set_xlabel(f"{unit}; ● best channel, | the next {most - 1} at most")
    axes.set_title("number of the best channel at the right", loc="right", fontsize=8)
    axes.grid(axis="y")
    return figure


@styled
def figure_shared_channels(
    channels: Mapping[str, int], *, title: str = "Groups of parts associated with the same channel"
) -> Figure:
    """Draw parts at the left, channels at the right, and a line from each part to the channel that it selected.

    Parameters
    ----------
    channels: channel number by part name, as a channel detector's `channels_`.

    Raises
    ------
    OptionError: there is no part.
    MissingExtraError: matplotlib is not installed.
    """
    if not channels:
        raise OptionError("channels is empty; give the channel of at least one part.")
    groups: dict[int, list[str]] = {}
    for part, channel in channels.items():
        groups.setdefault(channel, []).append(part)
    # Largest groups first, so that the lines never cross and the sharing is seen at the top.
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    figure = new_figure(WIDTH * 0.7, 0.9 + 0.3 * (len(channels) + len(groups) / 2), title)
    axes = figure.subplots()
    colours = part_colours([str(channel) for channel in groups])
    row = 0.0
    for (channel, members), colour in zip(ordered, colours, strict=True):
        middle = row + (len(members) - 1) / 2
        for i, part in enumerate(members):
            axes.plot([0, 1], [row + i, middle], color="black", linewidth=3.4, solid_capstyle="round")
            axes.plot(
                [0, 1], [row + i, middle], color=hexadecimal(colour), linewidth=2.4, solid_capstyle="round"
            )
            axes.text(-0.03, row + i, part, ha="right", va="center")
        size = 8 + 2 * len(members)
        axes.plot(1, middle, "o", color=hexadecimal(colour), markersize=size, markeredgecolor="black")
        shared = f"  ({len(members)} parts)" if len(members) > 1 else ""
        axes.text(1.08, middle, f"channel {channel}{shared}", va="center")
        row += len(members) + 0.5
    axes.set_xlim(-0.6, 1.9)
    axes.set_ylim(row - 0.25, -0.75)
    axes.set_title(f"{len(channels)} parts, {len(groups)} channels", fontsize=9)
    bare(axes)
    return figure
