"""What is asked for, regions of images, and what comes back, their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import Skipped
from partscope.detectors.queries import Query
from partscope.errors import OptionError


@dataclass(frozen=True, eq=False)
class Views:
    """The regions of one image that go through the network.

    Parameters
    ----------
    query: the image; its box is not looked at.
    boxes: (V, 4) `(x, y, width, height)` in pixels of the upright image, inside it; a row of NaN is missing and gives zeros.
    mirrored: each warped region is flipped left to right. The boxes are still those of the image as it is.
    """

    query: Query
    boxes: NDArray[np.float64]
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Extracted:
    """Feature vectors of M of N images.

    Parameters
    ----------
    features: (M, V, D) float32, in the order of the images; zeros for missing views.
    failures: the N − M images that could not be read, with the reason.
    kept: (M,) positions of the images that could.
    """

    features: NDArray[np.float32]
    failures: tuple[Skipped, ...]
    kept: NDArray[np.intp]


def common_count(views: Sequence[Views]) -> int:
    """Return V, after a look at the shape of all boxes: a wrong one is found here, before the first image."""
    counts = set()
    for item in views:
        boxes = np.asarray(item.boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "fiu":
            raise OptionError(
                f"{item.query.label}: boxes must be numbers of shape (views, 4), not {boxes.dtype} of shape {boxes.shape}."
            )
        missing = np.isnan(boxes)
        if (missing.any(axis=1) & ~missing.all(axis=1)).any():
            raise OptionError(
                f"{item.query.label}: a box is NaN in part; give four numbers, or four NaN for a missing one."
            )
        counts.add(len(boxes))
    if len(counts) > 1:
        raise OptionError(
            f"all images must have the same number of boxes, not {min(counts)} to {max(counts)}; fill up with NaN rows."
        )
    return counts.pop() if counts else 0
