"""Fig. 1 of the paper drawn from one real run: gradient maps, activation centres, selected channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError
from partscope.figures.canvas import bare, picture_grid, show_image, show_map, styled
from partscope.figures.palette import hexadecimal, part_colours
from partscope.images import ImageLike, load_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEAVY, _LIGHT = "#00e5ff", "#ffffff"
FloatArray = NDArray[np.float64]


@styled
def figure_method(
    image: ImageLike,
    maps: ArrayLike,
    means: ArrayLike,
    covariances: ArrayLike,
    weights: ArrayLike,
    *,
    channels: Sequence[int],
    parts: Sequence[str],
    selected: Sequence[int],
    truth: ArrayLike,
    scale: float | None = None,
    quantile: float = 0.9,
    cuts: ArrayLike | None = None,
    title: str = "From channels to part detectors",
) -> Figure:
    """Draw the three steps of the method for one image, one column per channel.

    Row 1 shows the gradient maps; row 2 the maps cut at their quantile, with the mixture's two components as ellipses of
    one and two standard deviations and the heavier one's mean, the activation centre (section 2); row 3 the parts
    that selected the channel (Eq. 3) at their annotated positions, with their distance from the centre.

    Parameters
    ----------
    image: the picture that the maps belong to.
    maps: (K, H, W) gradient maps; they cover the whole image, whose aspect they need not share.
    means: (K, 2, 2) means `(x, y)` of the two components in map pixels; NaN where a map has no centre.
    covariances: (K, 2, 2, 2) in squared map pixels.
    weights: (K, 2) weights of the components.
    channels: K channel numbers, the names of the columns.
    parts: P part names.
    selected: P channel numbers, the channel that each part selected; parts with other channels are not drawn.
    truth: (P, 2) annotated positions in image pixels; NaN where not visible.
    scale: pixels by which distances are divided, by habit the box diagonal; distances are in pixels without it.
    quantile: where row 2 cuts the maps.
    cuts: (K,) values to cut at instead, for maps that were cut over a part of their pixels only.

    Raises
    ------
    OptionError: shapes do not fit.
    MissingExtraError: matplotlib is not installed.
    """
    fields = np.asarray(maps, dtype=np.float64)
    if fields.ndim != 3 or not len(fields):
        raise OptionError(f"maps must have shape (K, H, W) with at least one channel, not {fields.shape}.")
    count = len(fields)
    mean = _shaped(means, (count, 2, 2), "means")
    covariance = _shaped(covariances, (count, 2, 2, 2), "covariances")
    weight = _shaped(weights, (count, 2), "weights")
    places = _shaped(truth, (len(parts), 2), "truth")
    if len(channels) != count or len(selected) != len(parts):
        raise OptionError(
            f"{count} maps need as many channels and {len(parts)} parts as many selected channels, "
            f"not {len(channels)} and {len(selected)}."
        )
    limits = (
        np.quantile(fields, quantile, axis=(1, 2), method="higher")
        if cuts is None
        else _shaped(cuts, (count,), "cuts")
    )
    colours = [hexadecimal(colour) for colour in part_colours(parts)]
    picture = load_image(image)
    size = picture.size
    figure, grid = picture_grid(title, [size] * 3, count + 1, 0.45)
    zoom = np.array(size) / fields.shape[:0:-1]
    show_image(grid[0, 0], picture)
    grid[0, 0].set_title("1  gradients", fontweight="bold")
    _explain(grid[1, 0], "2  centres", _MIXTURE_NOTE.format(quantile=f"{quantile:g}"))
    _explain(grid[2, 0], "3  parts", _parts_note(scale))
    for k in range(count):
        heavier = int(np.argmax(weight[k])) if np.isfinite(weight[k]).all() else 0
        centre = mean[k, heavier] * zoom
        show_map(grid[0, k + 1], fields[k], size)
        grid[0, k + 1].set_title(f"channel {channels[k]}")
        show_map(grid[1, k + 1], np.where(fields[k] >= limits[k], fields[k], 0.0), size)
        _draw_mixture(grid[1, k + 1], mean[k] * zoom, covariance[k] * np.outer(zoom, zoom), heavier)
        grid[1, k + 1].set_title(_weight_text(weight[k], heavier, centre))
        show_image(grid[2, k + 1], picture)
        mine = [p for p, channel in enumerate(selected) if channel == channels[k]]
        _draw_parts(
            grid[2, k + 1], centre, [parts[p] for p in mine], places[mine], [colours[p] for p in mine], scale
        )
    for axes in grid[:, 1:].flat:
        axes.set_xlim(0, size[0])
        axes.set_ylim(size[1], 0)
    return figure


_MIXTURE_NOTE = "pixels above the\n{quantile} quantile, two\nGaussians fitted;\nellipses: 1σ and 2σ\nblue: the heavier one,\nits mean (+) is the\ncentre"


def _parts_note(scale: float | None) -> str:
    unit = "pixels" if scale is None else "shares of the\nbox diagonal"
    return f"+ centre\n● annotated part that\n   selected the channel\ndistances in {unit}"


def _shaped(values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise OptionError(f"{name} must have shape {shape}, not {array.shape}.")
    return array


def _explain(axes: Axes, title: str, text: str) -> None:
    bare(axes)
    axes.set_title(title, fontweight="bold")
    axes.text(0, 0.98, text, transform=axes.transAxes, va="top", fontsize=8)


def _weight_text(weights: FloatArray, heavier: int, centre: FloatArray) -> str:
    return f"weight {weights[heavier]:.2f}" if np.isfinite(centre).all() else "no centre"


def _draw_mixture(axes: Axes, means: FloatArray, covariances: FloatArray, heavier: int) -> None:
    from matplotlib.patches import Ellipse

    for c in (1 - heavier, heavier):
        if not (np.isfinite(means[c]).all() and np.isfinite(covariances[c]).all()):
            continue
        values, vectors = np.linalg.eigh(covariances[c])
        angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
        long, short = np.sqrt(np.maximum(values[::-1], 0))
        for sigmas in (1, 2):
            ellipse = Ellipse(
                (float(means[c, 0]), float(means[c, 1])),
                2 * sigmas * long,
                2 * sigmas * short,
                angle=angle,
                fill=False,
                edgecolor=_HEAVY if c == heavier else _LIGHT,
                linewidth=1.6 if c == heavier else 1.0,
                linestyle="-" if c == heavier else (0, (4, 2)),
            )
            axes.add_patch(ellipse)
    mark_centre(axes, means[heavier])


def mark_centre(axes: Axes, centre: FloatArray, colour: str = _HEAVY) -> None:
    """Mark an activation centre with a cross that stands out from dark and light pixels; nothing where it is NaN."""
    if np.isfinite(centre).all():
        axes.plot(*centre, marker="+", markersize=11, markeredgewidth=4, color="black", linestyle="none")
        axes.plot(*centre, marker="+", markersize=10, markeredgewidth=2, color=colour, linestyle="none")


def _draw_parts(
    axes: Axes,
    centre: FloatArray,
    names: Sequence[str],
    places: FloatArray,
    colours: Sequence[str],
    scale: float | None,
) -> None:
    lines = []
    for name, place, colour in zip(names, places, colours, strict=True):
        if not np.isfinite(place).all():
            lines.append(f"{name}: not visible")
            continue
        if np.isfinite(centre).all():
            distance = float(np.linalg.norm(place - centre))
            lines.append(f"{name}: {distance:.0f} px" if scale is None else f"{name}: {distance / scale:.3f}")
            for width, ink in ((3.0, "black"), (1.4, colour)):
                axes.plot([place[0], centre[0]], [place[1], centre[1]], color=ink, linewidth=width)
        else:
            lines.append(f"{name}: no centre")
        axes.plot(*place, marker="o", markersize=7, color=colour, markeredgecolor="black", linestyle="none")
    mark_centre(axes, centre)
    axes.set_xlabel("\n".join(lines) if lines else "no part", fontsize=8, loc="left")
