"""Whether stored arrays are those of an arrangement: a model file may come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Shapes of the arrays, a letter for each length that must be the same wherever it stands: E arrangements, P parts, K
#: groups, S sizes, R rows of the refinement.
SHAPES: dict[str, tuple[str | int, ...]] = {
    "offsets": ("E", "P", 2),
    "visible": ("E", "P"),
    "source": ("E",),
    "group": ("E",),
    "group_offsets": ("K", "P", 2),
    "group_visible": ("K", "P"),
    "sizes": ("S",),
    "ratios": ("P", 2),
    "visibility": (6,),
    "error": (6,),
    "error_parts": ("P",),
    "base": ("P",),
    "poses": (2, "R", "3P"),
    "widths": (2,),
    "shift": ("R", "P", 2),
    "votes": (2, "R", "P"),
    "rate": ("P",),
}
_BOX: tuple[str | int, ...] = ("3P + 5", 4)
_INTEGERS = ("source", "group")
_SHARES = ("visible", "group_visible", "rate")
_POSITIVE = ("sizes", "widths")
#: Nothing that is learned comes near; beyond it products leave the range of single precision.
_LARGEST = 1e9


def check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check types, shapes and ranges of the arrays of :meth:`Arrangement.state`.

    Raises
    ------
    KeyError: an array is missing.
    ValueError: an array is not what an arrangement holds; the message names it.
    """
    shapes = {**SHAPES, "box": _BOX} if "box" in arrays else SHAPES
    lengths: dict[str | int, int] = {"P": len(arrays["ratios"])}
    lengths.update({"3P": 3 * lengths["P"], "3P + 5": 3 * lengths["P"] + 5})
    for name, shape in shapes.items():
        array = np.asarray(arrays[name])
        if array.ndim != len(shape) or array.dtype != (np.int64 if name in _INTEGERS else np.float64):
            raise ValueError(f"{name} of the arrangement is {array.dtype} with shape {array.shape}")
        for letter, length in zip(shape, array.shape, strict=True):
            wanted = letter if isinstance(letter, int) else lengths.setdefault(letter, length)
            if length != wanted or not length:
                raise ValueError(f"{name} of the arrangement has the shape {array.shape}")
        if not (np.abs(array) <= _LARGEST).all():
            raise ValueError(f"{name} of the arrangement holds values that are not finite or far too large")
        if name in _SHARES and not ((array >= 0) & (array <= 1)).all():
            raise ValueError(f"{name} of the arrangement does not lie in [0, 1]")
        if name in _POSITIVE and not (array > 0).all():
            raise ValueError(f"{name} of the arrangement is not positive")
    group = np.asarray(arrays["group"])
    if not ((group >= 0) & (group < lengths["K"])).all():
        raise ValueError("group of the arrangement names groups that do not exist")
