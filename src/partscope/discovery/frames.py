"""Places relative to the object: what "stable inside the box" is measured in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.discovery.images import BoolArray, KeptImage
from partscope.grids import FeatureGrids

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ObjectFrame:
    """The object's middle and half its extent, as shares of the picture's width and height, (2,) each."""

    middle: FloatArray
    half: FloatArray

    @classmethod
    def of(cls, image: KeptImage, grids: FeatureGrids, cells: BoolArray) -> ObjectFrame:
        """Return the box's frame; without a box, that of the object's cells (h·w,), of which there is one at least."""
        if image.box is not None:
            x, y, width, height = np.array(image.box) / np.tile(np.array(image.size, dtype=np.float64), 2)
            return cls(np.array([x + width / 2, y + height / 2]), np.array([width, height]) / 2)
        centres = grids.cell_centres()[cells]
        rows, columns = grids.grid
        # Of cells spread evenly over an interval, √3 standard deviations are half its length.
        least = 0.5 / np.array([columns, rows])
        return cls(centres.mean(axis=0), np.maximum(np.sqrt(3) * centres.std(axis=0), least))

    def relative(self, points: FloatArray) -> FloatArray:
        """Return points relative to the object, (..., 2): 0 in its middle, −1 and 1 at its edges.

        Parameters
        ----------
        points: (..., 2) `(x, y)` as shares of the picture.
        """
        return np.asarray((points - self.middle) / self.half)

    def folded(self, points: FloatArray) -> FloatArray:
        """Return how far points lie from the object's vertical middle line, and how low: (..., 2), 1 at the object's edge.

        The side of the middle line is left out, since objects look to both sides.

        Parameters
        ----------
        points: (..., 2) `(x, y)` as shares of the picture.
        """
        relative = self.relative(points)
        return np.stack([np.abs(relative[..., 0]), relative[..., 1]], axis=-1)
