"""Scales: the length in each image by which an error is divided.

Protocol, section 5. The box's diagonal is the headline; data without boxes and users with other habits need others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import Skipped
from partscope.errors import DatasetError, OptionError, nearest_names

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
#: `"box"`, `"image"`, `"pixels"`, or `("parts", a, b)` for the distance between two named parts.
Normaliser = Literal["box", "image", "pixels"] | tuple[str, str, str]

#: The visible parts' bounding box grows by this share of its longer side, in width and in height.
PARTS_BOX_MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class Scale:
    """Lengths in pixels by which the errors of N images are divided.

    Parameters
    ----------
    diagonal: (N,) what a distance is divided by; 1 for `pixels`; NaN where the image has none.
    axes: (N, 2) what `dx` and `dy` are divided by. Where the scale is one length `s` and not a width and a height, both
        are s/√2, which makes the errors `axes` and `diagonal` the same number, as they are for a square box.
    reach: (N,) the length of which PCK takes the share α: max(w, h) of a box or an image, the distance itself between
        two parts; NaN for `pixels`, where a share of nothing is not defined.
    left_out: images that have no scale although a part is visible in them, with the reason.
    notes: counted remarks.
    """

    diagonal: FloatArray
    axes: FloatArray
    reach: FloatArray
    left_out: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def parts_box(points: FloatArray) -> FloatArray:
    """Return the bounding boxes of the visible parts, widened: the stand-in for a missing box.

    Width and height each grow by 10 % of the longer of the two, half of it on either side, so that two parts on one
    line still span an area.

    Parameters
    ----------
    points: (N, P, 2) positions in pixels, NaN where not visible.

    Returns
    -------
    (N, 4) `(x, y, width, height)`; NaN without a visible part, width and height 0 with a single position.
    """
    hidden = np.isnan(points)
    low = np.where(hidden, np.inf, points).min(axis=1, initial=np.inf)
    high = np.where(hidden, -np.inf, points).max(axis=1, initial=-np.inf)
    empty = ~np.isfinite(low)
    low, high = np.where(empty, np.nan, low), np.where(empty, np.nan, high)
    margin = PARTS_BOX_MARGIN * (high - low).max(axis=1, keepdims=True)
    return np.concatenate([low - margin / 2, high - low + margin], axis=1)


def boxes_or_parts(boxes: FloatArray, points: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return `(N, 4)` boxes with :func:`parts_box` in place of missing ones, and `(N,)` bool where that was done."""
    missing = ~np.asarray(np.isfinite(boxes).all(axis=1))
    return np.where(missing[:, None], parts_box(points), boxes), missing


def make_scale(
    normaliser: Normaliser,
    *,
    ids: Sequence[str],
    sizes: FloatArray,
    boxes: FloatArray,
    points: FloatArray,
    parts: Sequence[str],
    on_error: str = "raise",
) -> Scale:
    """Return the scale of N images.

    Parameters
    ----------
    normaliser: `"box"`: the ground-truth box, or :func:`parts_box` where there is none (said in the notes); `"image"`;
        `"pixels"`: nothing is divided; `("parts", a, b)`: the distance between two annotated parts, such as the eyes or
        the ends of the head. Images in which one of the two is not visible have no scale and are left out, counted.
    ids: N names, for messages.
    sizes: (N, 2); boxes: (N, 4) with NaN rows; points: (N, P, 2) annotated positions, NaN where not visible.
    parts: P part names.
    on_error: `"skip"` leaves out images whose scale is zero instead of raising.

    Raises
    ------
    OptionError: unknown normaliser or part.
    DatasetError: the scale of an image is zero (one visible part and no box; the two parts at one position).
    """
    some = np.asarray(np.asarray(np.isfinite(points).all(axis=2)).any(axis=1))
    if normaliser == "pixels":
        ones = np.ones(len(ids))
        note = "errors are in pixels, and there is no PCK, which needs a size"
        return Scale(ones, _square(ones), np.full(len(ids), np.nan), (), (note,))
    if normaliser == "image":
        size = np.array(sizes, dtype=np.float64)
        return Scale(np.hypot(size[:, 0], size[:, 1]), size, size.max(axis=1))
    if normaliser == "box":
        return _box_scale(boxes, points, some, ids, on_error)
    return _parts_scale(_two_parts(normaliser, parts), points, some, ids, parts, on_error)


def _box_scale(
    boxes: FloatArray, points: FloatArray, some: BoolArray, ids: Sequence[str], on_error: str
) -> Scale:
    full, missing = boxes_or_parts(boxes, points)
    sides = full[:, 2:].copy()
    count = int((missing & some).sum())
    notes = (
        f"{count} of {int(some.sum())} images have no box: the visible parts' bounding box, widened by "
        f"{PARTS_BOX_MARGIN:.0%} of its longer side, stands in for it",
    )
    zero = np.flatnonzero(some & (sides.min(axis=1) <= 0))
    left_out = _refuse(zero, "a single position is visible and there is no box", ids, on_error)
    sides[zero] = np.nan
    return Scale(
        np.hypot(sides[:, 0], sides[:, 1]), sides, sides.max(axis=1), left_out, notes if count else ()
    )


def _parts_scale(
    pair: tuple[int, int],
    points: FloatArray,
    some: BoolArray,
    ids: Sequence[str],
    parts: Sequence[str],
    on_error: str,
) -> Scale:
    names = f"{parts[pair[0]]} and {parts[pair[1]]}"
    length = np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=1)
    unseen = [
        Skipped(ids[i], f"{names} are not both visible, so there is no scale")
        for i in np.flatnonzero(np.isnan(length) & some).tolist()
    ]
    notes = (
        f"{len(unseen)} of {int(some.sum())} images are left out: {names}, whose distance is the scale, are not "
        "both visible",
    )
    zero = np.flatnonzero(length == 0)
    left_out = (*unseen, *_refuse(zero, f"{names} are at one position", ids, on_error))
    length[zero] = np.nan
    return Scale(length, _square(length), length, left_out, notes if unseen else ())


def _square(length: FloatArray) -> FloatArray:
    return np.repeat(length[:, None] / np.sqrt(2.0), 2, axis=1)


def _two_parts(normaliser: object, parts: Sequence[str]) -> tuple[int, int]:
    if not (isinstance(normaliser, (tuple, list)) and len(normaliser) == 3 and normaliser[0] == "parts"):
        raise OptionError(
            f"the normaliser must be 'box', 'image', 'pixels' or ('parts', name, name), not {normaliser!r}."
        )
    for name in normaliser[1:]:
        if name not in parts:
            raise OptionError(
                f"the normaliser names the unknown part {name!r}; nearest parts: {nearest_names(str(name), parts)}."
            )
    if normaliser[1] == normaliser[2]:
        raise OptionError(f"the normaliser needs two different parts, not {normaliser[1]!r} twice.")
    return list(parts).index(normaliser[1]), list(parts).index(normaliser[2])


def _refuse(zero: NDArray[np.intp], why: str, ids: Sequence[str], on_error: str) -> tuple[Skipped, ...]:
    """Return the images of zero scale with the reason, or raise for the first one."""
    if zero.size and on_error == "raise":
        raise DatasetError(
            f"{ids[int(zero[0])]}: the scale of the error is zero ({why}); give the image a box, use the normaliser "
            "'image' or 'pixels', or leave the image out."
        )
    return tuple(Skipped(ids[i], f"the scale of the error is zero: {why}") for i in zero.tolist())
