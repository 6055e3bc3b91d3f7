"""Classification in pictures: confused classes, and right and wrong decisions with their patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError
from partscope.figures.canvas import WIDTH, new_figure, show_image, styled
from partscope.figures.palette import hexadecimal, ink_on, part_colours
from partscope.images import ImageLike, load_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]

#: Up to so many classes each has its name at the axes; beyond, the axes are numbered.
MOST_NAMES = 50
#: Up to so many classes each cell of the matrix shows its number of images.
MOST_CELLS = 30
_LEGEND = 8
_RIGHT, _WRONG = "#0072b2", "#c04a00"


@dataclass(frozen=True, eq=False)
class Decision:
    """One image that was classified, to be drawn.

    Parameters
    ----------
    image: a path, a PIL image or a uint8 array.
    boxes: (P, 4) patches `(x, y, width, height)` in pixels of the upright image; NaN rows where a part is missing.
    truth, predicted: class names.
    score: of the predicted class, shown with two decimals; or None.
    """

    image: ImageLike
    boxes: ArrayLike
    truth: str
    predicted: str
    score: float | None = None


@styled
def figure_confusion(
    table: ArrayLike,
    classes: Sequence[str],
    *,
    most: int = 12,
    title: str = "Which classes are taken for which",
) -> Figure:
    """Draw a confusion matrix, each row divided by the images of its class, and list the most frequent confusions.

    Parameters
    ----------
    table: (K, K) numbers of images, by true (row) and predicted (column) class, as `ClassEvaluation.confusion`.
    classes: K names. Beyond 50 the axes are numbered from 1, and the list below gives numbers with the names.
    most: how many confusions are listed.

    Raises
    ------
    OptionError: no class, or the shapes do not fit.
    MissingExtraError: matplotlib is not installed.
    """
    from matplotlib.colors import PowerNorm

    counts = np.asarray(table, dtype=np.float64)
    count = len(classes)
    if not count or counts.shape != (count, count):
        raise OptionError(
            f"a confusion matrix of {count} classes must have shape ({count}, {count}), not {counts.shape}."
        )
    images = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, images, out=np.full_like(counts, np.nan), where=images > 0)
    listed = _confusions(counts, classes, most, numbered=count > MOST_NAMES)
    side = 6.6 if count > MOST_NAMES else max(3.0, 1.6 + 0.235 * count)
    below = 0.35 + 0.17 * len(listed)
    figure = new_figure(WIDTH, side + below + 0.4, title, layout="compressed")
    grid = figure.add_gridspec(2, 1, height_ratios=(side, below))
    axes, text = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
    # The root makes single confusions visible beside a diagonal near 100 %.
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    picture = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    axes.set_anchor("W")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if count <= MOST_NAMES:
        short = [_cut(name, 28) for name in classes]
        size = 8 if count <= MOST_CELLS else 6.5
        axes.set_xticks(range(count), short, rotation=90, fontsize=size)
        axes.set_yticks(range(count), short, fontsize=size)
        axes.tick_params(length=0)
    else:
        step = next(s for s in (10, 20, 50, 100, count) if count / s <= 20)
        marks = np.unique([0, *range(step - 1, count, step)])
        axes.set_xticks(marks, (marks + 1).tolist())
        axes.set_yticks(marks, (marks + 1).tolist())
    if count <= MOST_CELLS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            axes.text(
                column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7,
                color="white" if norm(shares[row, column]) > 0.6 else "black",
            )  # fmt: skip
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.02)
    bar.set_label("images of the true class (%)")
    text.axis("off")
    heading = "Most frequent confusions (true class → predicted class: images)" if listed else "No confusion."
    text.text(
        0.0, 1.0, "\n".join([heading, *listed]), transform=text.transAxes, va="top", fontsize=8, linespacing=1.3
    )  # fmt: skip
    return figure


def _confusions(counts: FloatArray, classes: Sequence[str], most: int, numbered: bool) -> list[str]:
    """Return lines about the largest entries off the diagonal, the largest first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    totals = counts.sum(axis=1)

    def label(k: int) -> str:
        return f"{classes[k]} ({k + 1})" if numbered else classes[k]

    return [
        f"{label(row)} → {label(column)}: {wrong[row, column]:.0f} of {totals[row]:.0f}"
        for row, column in (divmod(int(place), len(classes)) for place in order)
        if wrong[row, column] > 0
    ]


@styled
def figure_decisions(
    decisions: Sequence[Decision],
    parts: Sequence[str] = (),
    *,
    columns: int = 4,
    title: str = "Patches of right and wrong decisions",
) -> Figure:
    """Draw classified images with the patches that they were classified by, the right decisions first.

    Parameters
    ----------
    decisions: the images, in the order in which they are to be shown among the right and among the wrong ones.
    parts: P names of the patches, for their colours and the legend; patches of one box share its outline.
    columns: images per row.

    Raises
    ------
    OptionError: nothing to draw, `columns` is not positive, or boxes that are not (P, 4).
    ImageError: an image cannot be read.
    MissingExtraError: matplotlib is not installed.
    """
    if not decisions or columns < 1:
        raise OptionError("there is nothing to draw; give at least one decision and one column.")
    width = len(parts) or len(np.atleast_2d(np.asarray(decisions[0].boxes)))
    names = tuple(parts) or tuple(f"patch {p + 1}" for p in range(width))
    groups = [[one for one in decisions if (one.truth == one.predicted) == right] for right in (True, False)]
    lines = [group[i : i + columns] for group in groups for i in range(0, len(group), columns)]
    pictures = [[load_image(one.image) for one in line] for line in lines]
    wide = max(WIDTH, 1.8 * columns)
    heights = [
        wide / columns * min(4 / 3, max(one.height / one.width for one in line)) + 0.55 for line in pictures
    ]
    legend = 0.25 * -(-len(names) // _LEGEND)
    figure = new_figure(wide, sum(heights) + 0.3 + legend, title)
    ratios = {"height_ratios": heights}
    grid = np.asarray(figure.subplots(len(lines), columns, squeeze=False, gridspec_kw=ratios))
    for row, (line, images) in enumerate(zip(lines, pictures, strict=True)):
        for axes in grid[row, len(line) :]:
            axes.axis("off")
        for axes, one, picture in zip(grid[row], line, images, strict=False):
            boxes = np.asarray(one.boxes, dtype=np.float64).reshape(-1, np.shape(one.boxes)[-1] or 4)
            if boxes.shape != (len(names), 4):
                raise OptionError(f"boxes must have shape ({len(names)}, 4), not {np.shape(one.boxes)}.")
            show_image(axes, picture)
            axes.set_anchor("N")
            _draw_patches(axes, boxes, names)
            _write_decision(axes, one, int(15.5 * wide / columns))
    _patch_legend(figure, names)
    return figure


def _write_decision(axes: Axes, one: Decision, most: int) -> None:
    """Write the classes above a picture, in at most `most` characters a line, and the score below it."""
    right = one.truth == one.predicted
    lines = [f"✓ {one.predicted}"] if right else [f"✗ {one.predicted}", f"true: {one.truth}"]
    text = "\n".join(_cut(line, most) for line in lines)
    axes.set_title(text, color=_RIGHT if right else _WRONG, fontsize=8)
    if one.score is not None:
        axes.set_xlabel(f"score {one.score:.2f}".replace("-", "−"), fontsize=8, labelpad=2)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _draw_patches(axes: Axes, boxes: FloatArray, names: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    for box, colour in zip(boxes, part_colours(names), strict=True):
        if np.isfinite(box).all():
            corner, size = (box[0], box[1]), box[2:]
            edge = "#000000" if ink_on(colour) == (0, 0, 0) else "#ffffff"
            for line, width in ((edge, 2.4), (hexadecimal(colour), 1.3)):
                axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=line, linewidth=width))


def _patch_legend(figure: Figure, names: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=hexadecimal(colour), edgecolor="black", linewidth=0.5, label=name)
        for name, colour in zip(names, part_colours(names), strict=True)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(_LEGEND, len(names)),
        handlelength=1,
        handleheight=1,
    )
