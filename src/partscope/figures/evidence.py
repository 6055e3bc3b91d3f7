"""What a part's position rests on: its evidence in a picture, and the maps of its strongest channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from partscope.errors import OptionError
from partscope.explanation import Explanation, PartChannel
from partscope.figures.canvas import bare, picture_grid, show_image, show_map, styled
from partscope.figures.palette import hexadecimal, part_colours
from partscope.images import ImageLike, load_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def figure_evidence(
    image: ImageLike, explanations: Sequence[Explanation], *, title: str = "What the parts' positions rest on"
) -> Figure:
    """Draw one row per part: the picture with the point found, the part's evidence, and the maps of its channels.

    Where the maps are summands of the evidence, red adds to it and blue takes away, with one scale for the row; the title has
    the sign and the strength. Gradient maps are drawn bright where the channel depends on the pixels, with the cost of
    the selection.

    Parameters
    ----------
    image: the picture that the explanations belong to.
    explanations: of :func:`partscope.explanation.explain`, at least one.

    Raises
    ------
    OptionError: there is no explanation.
    MissingExtraError: matplotlib is not installed.
    """
    if not explanations:
        raise OptionError("there is no part to draw; give at least one explanation.")
    picture = load_image(image)
    columns = 2 + max(len(one.channels) for one in explanations)
    figure, grid = picture_grid(title, [picture.size] * len(explanations), columns, 0.45)
    inks = [hexadecimal(colour) for colour in part_colours([one.part for one in explanations])]
    for row, one, ink in zip(grid, explanations, inks, strict=True):
        show_image(row[0], picture)
        row[0].set_title(one.part)
        row[0].set_xlabel(f"score {one.score:.2f}", fontsize=8, loc="left")
        _show(row[1], one.evidence, one)
        row[1].set_title("evidence" if one.signed else "its channel")
        most = float(np.abs(one.maps).max()) or 1.0
        for axes, channel, field in zip(row[2:], one.channels, one.maps, strict=False):
            if one.signed:
                axes.imshow(
                    field, extent=_extent(one), cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest"
                )
                bare(axes)
            else:
                _show(axes, field, one)
            axes.set_title(_name(channel), fontsize=8)
        for axes in row[2 + len(one.channels) :]:
            axes.set_visible(False)
        if np.isfinite(one.point).all():
            for axes in row[: 2 + len(one.channels)]:
                axes.plot(*one.point, marker="o", color="black", markersize=8, linestyle="none")
                axes.plot(*one.point, marker="o", color=ink, markersize=5.5, linestyle="none")
        for axes in row:
            axes.set_xlim(0, picture.width)
            axes.set_ylim(picture.height, 0)
    return figure


def _extent(one: Explanation) -> tuple[float, float, float, float]:
    x, y, width, height = one.frame
    return (x, x + width, y + height, y)


def _show(axes: Axes, field: NDArray[np.float64], one: Explanation) -> None:
    """Show evidence from its lowest to its highest value, or a gradient map from zero."""
    if one.signed:
        axes.imshow(field, extent=_extent(one), cmap="magma", interpolation="nearest")
        bare(axes)
        return
    show_map(axes, field, (1, 1))
    axes.get_images()[-1].set_extent(_extent(one))


def _name(channel: PartChannel) -> str:
    worth = (
        f"{channel.strength:+.2f}"
        if channel.strength is not None
        else f"cost {'' if channel.complete else '≥ '}{channel.cost:.3g}"
    )
    return f"{channel.layer}\nchannel {channel.channel}: {worth}"
