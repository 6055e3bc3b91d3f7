"""Fig. 2 of the paper: part positions in images, and beside each image the gradient maps of the parts' channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from partscope.errors import OptionError
from partscope.figures.canvas import picture_grid, show_image, show_map, styled
from partscope.figures.palette import FIGURE_2_COLOURS, Colour, hexadecimal, part_colours
from partscope.images import ImageLike, load_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def figure_maps(
    images: Sequence[ImageLike],
    points: ArrayLike,
    maps: Sequence[ArrayLike],
    parts: Sequence[str],
    *,
    channels: Sequence[int] | None = None,
    truth: ArrayLike | None = None,
    colours: Mapping[str, Colour] = FIGURE_2_COLOURS,
    title: str = "Parts found, and the gradient maps they were found in",
) -> Figure:
    """Draw N images with P part positions, one row per image, and the P gradient maps beside each.

    Parameters
    ----------
    images: N pictures.
    points: (N, P, 2) positions found, in image pixels; NaN where not found.
    maps: N arrays (P, H, W), the map of each part's channel; H and W may differ between images.
    parts: P names. Parts named head, belly and tail have the paper's white, green and red.
    channels: P channel numbers, shown above the maps.
    truth: (N, P, 2) annotated positions, drawn as crosses; NaN where not visible.
    colours: RGB colours (0–255) by part name; other parts get partscope's own.

    Raises
    ------
    OptionError: shapes do not fit.
    MissingExtraError: matplotlib is not installed.
    """
    count, width = len(images), len(parts)
    places = np.asarray(points, dtype=np.float64)
    fields = [np.asarray(field, dtype=np.float64) for field in maps]
    marked = np.full((count, width, 2), np.nan) if truth is None else np.asarray(truth, dtype=np.float64)
    if not count or places.shape != (count, width, 2) or marked.shape != places.shape or len(fields) != count:
        raise OptionError(
            f"{count} images and {width} parts need points (and truth) of shape {(count, width, 2)} and as many map "
            f"arrays, not {places.shape}, {marked.shape} and {len(fields)}."
        )
    for field in fields:
        if field.ndim != 3 or len(field) != width:
            raise OptionError(f"each image needs maps of shape ({width}, H, W), not {field.shape}.")
    inks = [hexadecimal(colours.get(n, own)) for n, own in zip(parts, part_colours(parts), strict=True)]
    pictures = [load_image(image) for image in images]
    figure, grid = picture_grid(title, [picture.size for picture in pictures], width + 1, 0.25)
    for row, picture, place, mark, field in zip(grid, pictures, places, marked, fields, strict=True):
        size = picture.size
        show_image(row[0], picture)
        for p in range(width):
            show_map(row[p + 1], field[p], size)
            for axes in (row[0], row[p + 1]):
                if np.isfinite(mark[p]).all():
                    axes.plot(
                        *mark[p],
                        marker="x",
                        color="black",
                        markersize=9,
                        markeredgewidth=3.6,
                        linestyle="none",
                    )
                    axes.plot(
                        *mark[p],
                        marker="x",
                        color=inks[p],
                        markersize=8,
                        markeredgewidth=1.8,
                        linestyle="none",
                    )
                if np.isfinite(place[p]).all():
                    # A black rim: the white dot of a head must stand out from pale plumage.
                    axes.plot(*place[p], marker="o", color="black", markersize=10, linestyle="none")
                    axes.plot(*place[p], marker="o", color=inks[p], markersize=7.5, linestyle="none")
            if not np.isfinite(place[p]).all():
                row[p + 1].set_xlabel("not found", fontsize=8, loc="left")
        for axes in row:
            axes.set_xlim(0, size[0])
            axes.set_ylim(size[1], 0)
    for p, name in enumerate(parts):
        grid[0, p + 1].set_title(name if channels is None else f"{name}: channel {channels[p]}")
    grid[0, 0].set_title("● found" if truth is None else "● found  × annotated")
    return figure
