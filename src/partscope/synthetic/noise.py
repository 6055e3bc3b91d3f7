"""Smooth random fields."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int], octaves: int = 3
) -> NDArray[np.float32]:
    """Return a (height, width) field, roughly in [-1, 1] with mean 0: bicubic value noise, halved in size per octave.

    Parameters
    ----------
    shape: height and width in pixels.
    cells: height and width of the coarsest octave's grid.
    """
    height, width = shape
    total = np.zeros(shape, dtype=np.float32)
    weight = 1.0
    for octave in range(octaves):
        rows, columns = (min(max(2, n << octave), most) for n, most in zip(cells, shape, strict=True))
        grid = rng.uniform(-1.0, 1.0, (rows, columns)).astype(np.float32)
        field = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += weight * np.asarray(field, dtype=np.float32)
        weight *= 0.5
    return total
