"""Square patches around parts, and the places that controls put patches at instead (protocol §8)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError

#: λ: a patch's area as a share of the image's, or of the box's where the box is given.
SCALES = {"image": 1 / 9, "crop": 1 / 4}

#: Shortest side of a patch in pixels; at the image's border half of it is left.
SMALLEST = 2.0

FloatArray = NDArray[np.float64]

#: What single operations on coordinates may be off by, in pixels.
_ROUNDING = 1e-6


def patch_boxes(points: ArrayLike, extents: ArrayLike, sizes: ArrayLike, scale: float) -> FloatArray:
    """Return the square patch around each point, clipped to the image.

    The side is √(n·m·λ) for an image or box of n×m pixels, at least `SMALLEST`. A point outside the image counts as the
    nearest one of its border. Clipping may leave a rectangle, of at least half a side each way (or the whole image).

    Parameters
    ----------
    points: (N, P, 2) `(x, y)` in pixels of the upright image; NaN where a part is missing.
    extents: (N, 2) width and height m×n of the image, or of the box where the box is given.
    sizes: (N, 2) width and height of the images.
    scale: λ > 0; `SCALES` has the paper's.

    Returns
    -------
    (N, P, 4) float64 `(x, y, width, height)`; rows of NaN where a coordinate of the point is NaN.

    Raises
    ------
    OptionError: shapes do not fit, or λ, an extent or a size is not positive and finite.
    """
    places = np.asarray(points, dtype=np.float64)
    if places.ndim != 3 or places.shape[2] != 2:
        raise OptionError(f"points must have shape (images, parts, 2), not {places.shape}.")
    extent = _positive(extents, len(places), "extents")
    size = _positive(sizes, len(places), "sizes")
    if not (scale > 0 and math.isfinite(scale)):
        raise OptionError(f"the patch scale λ must be a positive number, not {scale!r}.")
    sides = np.maximum(np.sqrt(extent[:, 0] * extent[:, 1] * scale), SMALLEST)[:, None, None]
    whole = size[:, None, :]
    centres = np.clip(places, 0.0, whole)
    low = np.maximum(centres - sides / 2, 0.0)
    high = np.minimum(centres + sides / 2, whole)
    boxes = np.concatenate([low, high - low], axis=2)
    boxes[np.isnan(places).any(axis=2)] = np.nan
    return boxes


def mirrored_boxes(boxes: ArrayLike, widths: ArrayLike) -> FloatArray:
    """Return where boxes lie in the images mirrored left to right: x → W − x − width.

    Parameters
    ----------
    boxes: (N, V, 4) `(x, y, width, height)` in pixels; NaN rows stay.
    widths: (N,) widths W of the images.
    """
    result = np.array(boxes, dtype=np.float64)
    starts = np.asarray(widths, dtype=np.float64)[:, None] - result[..., 0] - result[..., 2]
    # A box that ended at the border begins at 0, not one bit outside.
    result[..., 0] = np.where(np.abs(starts) < _ROUNDING, 0.0, starts)
    return result


def grid_points(count: int, rectangles: ArrayLike) -> FloatArray:
    """Return `count` points on a regular grid in each rectangle: rows and columns about equally far apart.

    Where `count` has no such factors, rows differ by one point; each row spans the whole width.

    Parameters
    ----------
    count: points per rectangle.
    rectangles: (N, 4) `(x, y, width, height)` in pixels.

    Returns
    -------
    (N, count, 2) float64 `(x, y)`, row by row.
    """
    areas = _rectangles(rectangles, count)
    return np.array([area[:2] + _unit_grid(count, area[2], area[3]) * area[2:] for area in areas]).reshape(
        len(areas), count, 2
    )


def random_points(count: int, rectangles: ArrayLike, random_state: int, ids: Sequence[str]) -> FloatArray:
    """Return `count` points drawn uniformly in each rectangle.

    An image's draws depend on the seed and the image's id alone, not on which images come before it.

    Parameters
    ----------
    count: points per rectangle.
    rectangles: (N, 4) `(x, y, width, height)` in pixels.
    random_state: seed, a whole number from 0.
    ids: N image ids.

    Returns
    -------
    (N, count, 2) float64 `(x, y)`.
    """
    areas = _rectangles(rectangles, count)
    if len(ids) != len(areas):
        raise OptionError(f"there are {len(ids)} ids for {len(areas)} rectangles; give one each.")
    if isinstance(random_state, bool) or not isinstance(random_state, (int, np.integer)) or random_state < 0:
        raise OptionError(f"random_state must be a whole number from 0, not {random_state!r}.")
    points = np.empty((len(areas), count, 2))
    for i, (name, area) in enumerate(zip(ids, areas, strict=True)):
        # Python's own hash of a string differs from process to process.
        number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        draws = np.random.default_rng([int(random_state), number]).random((count, 2))
        points[i] = area[:2] + draws * area[2:]
    return points


def _unit_grid(count: int, width: float, height: float) -> FloatArray:
    rows = min(max(round(math.sqrt(count * height / width)), 1), count)
    ends = [(row + 1) * count // rows for row in range(rows)]
    points: list[tuple[float, float]] = []
    for row, end in enumerate(ends):
        columns = end - len(points)
        points += [((column + 0.5) / columns, (row + 0.5) / rows) for column in range(columns)]
    return np.array(points)


def _positive(values: ArrayLike, count: int, what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (count, 2):
        raise OptionError(
            f"{what} must have shape ({count}, 2), one width and height each, not {array.shape}."
        )
    if not (np.isfinite(array) & (array > 0)).all():
        bad = int(np.flatnonzero(~(np.isfinite(array) & (array > 0)).all(axis=1))[0])
        raise OptionError(f"{what} must be positive numbers of pixels; row {bad} is {array[bad].tolist()}.")
    return array


def _rectangles(values: ArrayLike, count: int) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise OptionError(
            f"rectangles must have shape (images, 4), (x, y, width, height), not {array.shape}."
        )
    _positive(array[:, 2:], len(array), "the rectangles' widths and heights")
    if count < 1:
        raise OptionError(f"there must be at least 1 point per image, not {count}.")
    return array
