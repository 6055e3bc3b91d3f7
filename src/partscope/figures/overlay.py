"""Overlays: part positions drawn onto an image with Pillow alone, so that `locate --overlay` needs no extra."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from partscope.errors import OptionError
from partscope.figures.labels import group_coincident, place_labels, short_names
from partscope.figures.palette import Colour, ink_on, part_colours
from partscope.images import ImageLike, load_image

_BLACK, _WHITE, _GREY = (0, 0, 0), (255, 255, 255), (96, 96, 96)
_SUPERSAMPLING = 4

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_parts(
    image: ImageLike,
    parts: Sequence[str],
    points: ArrayLike,
    found: ArrayLike,
    *,
    box: Sequence[float] | None = None,
    truth: ArrayLike | None = None,
    score: ArrayLike | None = None,
    smallest: int = 480,
) -> Image.Image:
    """Draw the located parts onto an image, with a legend below it.

    A found part is an outlined dot with a short label; parts found at the same place share a dot cut into sectors and a
    label. An annotated position is a cross joined to its dot by a line. The legend lists *every* part: those that
    were not found, or lie outside the image, are said to be so.

    Parameters
    ----------
    image: a path, a PIL image or a uint8 array, as :func:`partscope.images.load_image` takes it.
    parts: P names.
    points: (P, 2) positions `(x, y)` in pixels of the upright image; rows of parts not found are ignored.
    found: (P,) bool.
    box: `(x, y, width, height)` in pixels, drawn as a rectangle.
    truth: (P, 2) annotated positions in pixels; NaN where a part is not visible.
    score: (P,) values shown in the legend with two decimals.
    smallest: an image whose longer side is shorter than this is enlarged by a whole factor, so that labels stay
        readable; 0 keeps every image at its own size.

    Returns
    -------
    An RGB image: the (enlarged) image at the top left corner, the legend strip below. It is wider than the image only
    where the longest line of the legend is.

    Raises
    ------
    OptionError: shapes do not fit the parts, or a part that was found has no finite position.
    ImageError: the image cannot be read.
    """
    picture = load_image(image)
    place, seen, marked = _checked(parts, points, found, truth)
    values = None if score is None else np.asarray(score, dtype=np.float64)
    if values is not None and values.shape != (len(parts),):
        raise OptionError(
            f"score must have shape ({len(parts)},) for {len(parts)} parts, not {values.shape}."
        )
    factor = max(1, math.ceil(smallest / max(picture.size))) if smallest else 1
    size = (picture.width * factor, picture.height * factor)
    # Nearest neighbour keeps the original pixels recognisable: an enlarged image must not look sharper than it is.
    canvas = picture.resize(size, Image.Resampling.NEAREST) if factor > 1 else picture.copy()
    unit = max(3.0, math.sqrt(size[0] * size[1]) / 120)
    colours = part_colours(parts)
    shorts = short_names(parts)
    inside = seen & ((place >= 0) & (place <= picture.size)).all(axis=1)
    if box is not None:
        _draw_box(canvas, [value * factor for value in box], unit)
    _draw_truth(canvas, place * factor, inside, marked * factor, colours, unit)
    _draw_dots(canvas, place * factor, np.flatnonzero(inside), colours, shorts, unit)
    entries = [
        _entry(name, short, bool(seen[p]), bool(inside[p]), None if values is None else float(values[p]))
        for p, (name, short) in enumerate(zip(parts, shorts, strict=True))
    ]
    return _with_legend(canvas, entries, colours, inside, bool(np.isfinite(marked).any()), unit)


def _checked(
    parts: Sequence[str], points: ArrayLike, found: ArrayLike, truth: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    count = len(parts)
    place = np.array(points, dtype=np.float64)
    seen = np.array(found, dtype=np.bool_)
    marked = np.full((count, 2), np.nan) if truth is None else np.array(truth, dtype=np.float64)
    for name, array, wanted in (
        ("points", place, (count, 2)),
        ("found", seen, (count,)),
        ("truth", marked, (count, 2)),
    ):
        if array.shape != wanted:
            raise OptionError(f"{name} must have shape {wanted} for {count} parts, not {array.shape}.")
    lost = seen & ~np.isfinite(place).all(axis=1)
    if lost.any():
        raise OptionError(
            f"part {parts[int(lost.argmax())]!r} is marked found but its position is not finite."
        )
    return np.where(seen[:, None], place, np.nan), seen, marked


def _entry(name: str, short: str, found: bool, inside: bool, score: float | None) -> str:
    text = f"{short}  {name}"
    if not found:
        return f"{text}: not found"
    if score is not None:
        text += f"  {score:.2f}"
    return text if inside else f"{text}: outside"


def _font(size: float) -> Font:
    return ImageFont.load_default(size=max(10.0, size))


def _draw_box(canvas: Image.Image, box: Sequence[float], unit: float) -> None:
    x, y, width, height = box
    draw = ImageDraw.Draw(canvas)
    corners = (x, y, x + width - 1, y + height - 1)
    thin = max(1, round(unit / 4))
    draw.rectangle(corners, outline=_BLACK, width=3 * thin)
    middle = (corners[0] + thin, corners[1] + thin, corners[2] - thin, corners[3] - thin)
    if middle[2] > middle[0] and middle[3] > middle[1]:
        draw.rectangle(middle, outline=_WHITE, width=thin)


def _draw_truth(
    canvas: Image.Image,
    place: NDArray[np.float64],
    inside: NDArray[np.bool_],
    marked: NDArray[np.float64],
    colours: Sequence[Colour],
    unit: float,
) -> None:
    draw = ImageDraw.Draw(canvas)
    thin = max(1, round(unit / 4))
    arm = unit * 1.2
    for p in np.flatnonzero(np.isfinite(marked).all(axis=1)).tolist():
        x, y = marked[p].tolist()
        strokes = [((x - arm, y), (x + arm, y)), ((x, y - arm), (x, y + arm))]
        if inside[p]:
            strokes.append(((x, y), (float(place[p, 0]), float(place[p, 1]))))
        for width, colour in ((3 * thin, ink_on(colours[p])), (thin, colours[p])):
            for stroke in strokes:
                draw.line(stroke, fill=colour, width=width)


def _draw_dots(
    canvas: Image.Image,
    place: NDArray[np.float64],
    which: NDArray[np.intp],
    colours: Sequence[Colour],
    shorts: Sequence[str],
    unit: float,
) -> None:
    groups = [[int(which[i]) for i in group] for group in group_coincident(place[which], unit)]
    anchors = np.array([place[group[0]] for group in groups]).reshape(-1, 2)
    font = _font(2.4 * unit)
    texts = [_wrapped([shorts[p] for p in group]) for group in groups]
    draw = ImageDraw.Draw(canvas, "RGBA")
    pad = max(1.0, unit / 3)
    extents = [draw.multiline_textbbox((0, 0), text, font=font, spacing=1) for text in texts]
    sizes = np.array([(right + 2 * pad, bottom + 2 * pad) for _, _, right, bottom in extents]).reshape(-1, 2)
    radius = 1.3 * unit
    frame = (0.0, 0.0, float(canvas.width), float(canvas.height))
    labels = place_labels(anchors, sizes, radius, frame)
    for anchor, label in zip(anchors, labels, strict=True):
        _draw_leader(draw, anchor, label, radius, unit)
    for group, anchor in zip(groups, anchors, strict=True):
        paste_dot(canvas, float(anchor[0]), float(anchor[1]), radius, [colours[p] for p in group])
    draw = ImageDraw.Draw(canvas, "RGBA")
    for text, label in zip(texts, labels, strict=True):
        draw.rounded_rectangle(label, radius=pad, fill=(0, 0, 0, 170))
        draw.multiline_text((label[0] + pad, label[1] + pad / 2), text, fill=_WHITE, font=font, spacing=1)


def _wrapped(names: Sequence[str], most: int = 4) -> str:
    return "\n".join(" ".join(names[i : i + most]) for i in range(0, len(names), most))


def _draw_leader(
    draw: ImageDraw.ImageDraw,
    anchor: NDArray[np.float64],
    label: tuple[float, ...],
    radius: float,
    unit: float,
) -> None:
    near = np.clip(anchor, label[:2], label[2:])
    if math.dist(near, anchor) > 1.6 * radius:
        line = ((float(anchor[0]), float(anchor[1])), (float(near[0]), float(near[1])))
        draw.line(line, fill=(0, 0, 0, 170), width=max(1, round(unit / 3)))


def paste_dot(canvas: Image.Image, x: float, y: float, radius: float, colours: Sequence[Colour]) -> None:
    """Draw an anti-aliased dot at `(x, y)` pixels into `canvas`, in equal sectors of `colours`, with a double outline.

    The outline is white around black, so that the dot stands out from any background.
    """
    margin = math.ceil(radius * 1.5) + 1
    left, top = math.floor(x) - margin, math.floor(y) - margin
    scale = _SUPERSAMPLING
    patch = Image.new("RGBA", (2 * margin * scale, 2 * margin * scale), (255, 255, 255, 0))
    draw = ImageDraw.Draw(patch)
    centre_x, centre_y = (x - left) * scale, (y - top) * scale

    def corners(size: float) -> tuple[float, float, float, float]:
        reach = size * scale
        # Pillow's corners are the first and last pixel covered, not edges.
        return (centre_x - reach, centre_y - reach, centre_x + reach - 1, centre_y + reach - 1)

    draw.ellipse(corners(radius * 1.45), fill=(*_WHITE, 255))
    draw.ellipse(corners(radius * 1.2), fill=(*_BLACK, 255))
    if len(colours) == 1:
        draw.ellipse(corners(radius), fill=(*colours[0], 255))
    else:
        for i, colour in enumerate(colours):
            turn = 360 / len(colours)
            draw.pieslice(corners(radius), i * turn - 90, (i + 1) * turn - 90, fill=(*colour, 255))
    small = patch.resize((2 * margin, 2 * margin), Image.Resampling.BOX)
    canvas.paste(small.convert("RGB"), (left, top), small.getchannel("A"))


def _with_legend(
    canvas: Image.Image,
    entries: Sequence[str],
    colours: Sequence[Colour],
    drawn: NDArray[np.bool_],
    truth: bool,
    unit: float,
) -> Image.Image:
    font = _font(2.2 * unit)
    probe = ImageDraw.Draw(canvas)
    widths = [math.ceil(probe.textlength(text, font=font)) for text in entries]
    line = math.ceil(max(10.0, 2.2 * unit) * 1.6)
    dot = line * 0.28
    column = max(widths, default=0) + 2 * line
    note = "dot: found, cross: annotated" if truth else ""
    width = max(canvas.width, column, math.ceil(probe.textlength(note, font=font)) + line)
    columns = max(1, width // column)
    rows = math.ceil(len(entries) / columns) + bool(note)
    result = Image.new("RGB", (width, canvas.height + rows * line + line // 2), _WHITE)
    result.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(result)
    for i, text in enumerate(entries):
        left = (i % columns) * column
        middle = canvas.height + line // 4 + (i // columns) * line + line / 2
        if drawn[i]:
            paste_dot(result, left + line / 2, middle, dot, [colours[i]])
        else:
            reach = dot * 0.8
            outline = (left + line / 2 - reach, middle - reach, left + line / 2 + reach, middle + reach)
            draw.ellipse(outline, outline=_GREY, width=max(1, round(dot / 4)))
        draw.text(
            (left + line * 1.1, middle), text, fill=_BLACK if drawn[i] else _GREY, font=font, anchor="lm"
        )
    if note:
        draw.text((line / 4, result.height - line * 0.75), note, fill=_GREY, font=font, anchor="lm")
    return result
