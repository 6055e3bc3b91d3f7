"""What all charts share: a figure with partscope's style that leaves the user's matplotlib state alone, and saving it."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partscope.atomic import atomic_write
from partscope.errors import MissingExtraError, OptionError
from partscope.figures.palette import METHOD_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

#: Text of 9 points on a figure of 8 inches is 12 pixels high where the figure is shown 800 pixels wide.
WIDTH = 8.0
_DPI = 150
_STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "figure.facecolor": "white",
    "figure.titlesize": 11,
    "legend.frameon": False,
    "svg.hashsalt": "partscope",
    "text.parse_math": False,  # a class or part named "$x$" is shown as it is
}
_UNDATED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None, "ModDate": None},
}


def styled(draw: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Run a drawing function in partscope's style, whatever the user's style sheet; the user's settings are restored.

    Raises
    ------
    MissingExtraError: matplotlib is not installed.
    """

    @functools.wraps(draw)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            import matplotlib.style
        except ImportError as error:
            raise MissingExtraError("matplotlib", "plot", "Drawing figures") from error
        with matplotlib.style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(
    width: float,
    height: float,
    title: str | None = None,
    layout: Literal["constrained", "compressed"] = "constrained",
) -> Figure:
    """Return an empty figure of `width` × `height` inches that pyplot does not know of (nothing to close)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout, dpi=100)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


@styled
def figure_bytes(figure: Figure, suffix: str = ".png") -> bytes:
    """Return the encoded figure; the same figure gives the same bytes, for no date or version is written into it.

    Raises
    ------
    OptionError: `suffix` is not one of `.png`, `.svg`, `.pdf`.
    MissingExtraError: matplotlib is not installed.
    """
    suffix = suffix.lower()
    if suffix not in _UNDATED:
        raise OptionError(f"figures are saved as {', '.join(_UNDATED)}, not as {suffix!r}; rename the file.")
    stream = io.BytesIO()
    metadata: dict[str, Any] = dict(_UNDATED[suffix])
    figure.savefig(stream, format=suffix[1:], dpi=_DPI, metadata=metadata)
    return stream.getvalue()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Save a figure as PNG, SVG or PDF by the path's suffix, at once and without a timestamp; return the path.

    Raises
    ------
    OptionError: another suffix.
    PartscopeError: the file cannot be written.
    MissingExtraError: matplotlib is not installed.
    """
    atomic_write(path, figure_bytes(figure, Path(path).suffix))
    return Path(path)


def show_image(axes: Axes, picture: Image.Image, most: int = 800) -> None:
    """Show an image in its own pixel coordinates (0, 0)–(width, height) without ticks.

    Only the picture shown is reduced to `most` pixels a side, so that figures of large photographs stay small.
    """
    width, height = picture.size
    if max(width, height) > most:
        picture = picture.copy()
        picture.thumbnail((most, most), Image.Resampling.LANCZOS)
    axes.imshow(np.asarray(picture), extent=(0, width, height, 0))
    bare(axes)


def show_map(axes: Axes, values: NDArray[np.float64], size: tuple[int, int]) -> None:
    """Show a map (H, W) over an image's pixel coordinates, bright at its 0.998 quantile so that no outlier decides."""
    finite = values[np.isfinite(values)]
    top = float(np.quantile(finite, 0.998)) if finite.size else 1.0
    top = top if top > 0 else float(finite.max(initial=0.0)) or 1.0
    axes.imshow(
        values, extent=(0, size[0], size[1], 0), cmap="magma", vmin=0, vmax=top, interpolation="nearest"
    )
    bare(axes)


def picture_grid(
    title: str, sizes: Sequence[tuple[int, int]], columns: int, extra: float
) -> tuple[Figure, NDArray[np.object_]]:
    """Return a figure and its axes (rows, columns) for pictures of `sizes`, one (width, height) in pixels per row.

    Rows are as high as their pictures at the columns' width, at most a third higher than wide; `extra` inches per row
    are left for text. The figure is wider than `WIDTH` only where columns would become narrower than 1.4 inches.
    """
    width = max(WIDTH, 1.4 * columns)
    heights = [width / columns * min(size[1] / size[0], 4 / 3) + extra for size in sizes]
    figure = new_figure(width, sum(heights) + 0.5, title, layout="compressed")
    ratios = {"height_ratios": heights}
    return figure, np.asarray(figure.subplots(len(sizes), columns, squeeze=False, gridspec_kw=ratios))


def bare(axes: Axes) -> None:
    """Take ticks and borders from axes that show a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def method_colour(number: int) -> str:
    """Return the line colour of the `number`-th method."""
    return METHOD_COLOURS[number % len(METHOD_COLOURS)]
