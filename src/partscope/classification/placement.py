"""Placing parts: how well a template fits at every position of a grid, and the best compromise with a quadratic deformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


def responses(cells: NDArray[np.floating], weights: FloatArray, bias: FloatArray) -> FloatArray:
    """Score templates at every position of a grid where they fit.

    Parameters
    ----------
    cells: (h, w, D) grid.
    weights, bias: (T, a, b, D) and (T,) templates.

    Returns
    -------
    (T, h−a+1, w−b+1) scores.
    """
    rows, columns = weights.shape[1:3]
    windows = np.lib.stride_tricks.sliding_window_view(cells, (rows, columns), axis=(0, 1))
    shape = windows.shape[:2]
    # sliding_window_view puts the window last: (h', w', D, a, b).
    flat = windows.transpose(0, 1, 3, 4, 2).reshape(shape[0] * shape[1], -1)
    templates = weights.reshape(len(weights), -1).astype(flat.dtype)
    scores = (templates @ flat.T).astype(np.float64) + bias[:, None]
    return np.asarray(scores.reshape(len(weights), *shape))


@dataclass(frozen=True, eq=False)
class Deformation:
    """Where a part is expected on each axis, relative to its root, and how far it strays: independent Gaussians.

    Parameters
    ----------
    anchor: `(x, y)` expected position in cells.
    variance: `(x, y)` squared cells.
    """

    anchor: tuple[float, float]
    variance: tuple[float, float]

    def cost(self, axis: int, count: int, origins: NDArray[np.floating]) -> FloatArray:
        """Return the (R, count) negative logarithms of the density on one axis (0 is x) for R positions of the root."""
        offset = np.arange(count)[None] - (np.asarray(origins, dtype=np.float64)[:, None] + self.anchor[axis])
        variance = self.variance[axis]
        return np.asarray(offset**2 / (2 * variance) + 0.5 * np.log(2 * np.pi * variance))


def distance_transform(
    scores: FloatArray, row_cost: FloatArray, column_cost: FloatArray
) -> tuple[FloatArray, IntArray]:
    """Return, for every position of the root, the best score less cost over all positions of the part, and where it is.

    The cost is separable, so that rows and columns are maximised one after the other; each maximum is taken over all
    positions, which is exact and, on grids of twenty cells, faster than the lower envelope of parabolas (Felzenszwalb and
    Huttenlocher 2012).

    Parameters
    ----------
    scores: (H, W) of the part at every position.
    row_cost, column_cost: (R, H) and (Q, W), for R×Q positions of the root.

    Returns
    -------
    (R, Q) values, and (R, Q, 2) positions `(x, y)`; of equal ones the first in reading order of the columns, then rows.
    """
    by_row = scores[None] - row_cost[:, :, None]  # (R, H, W)
    best_row = by_row.argmax(axis=1)  # (R, W)
    value = np.take_along_axis(by_row, best_row[:, None], axis=1)[:, 0]
    total = value[:, None] - column_cost[None]  # (R, Q, W)
    x = total.argmax(axis=2)  # (R, Q)
    y = np.take_along_axis(best_row, x, axis=1)
    return np.take_along_axis(total, x[:, :, None], axis=2)[:, :, 0], np.stack([x, y], axis=2)
