"""Templates in closed form: linear discriminant analysis against the statistics of natural images (Hariharan et al. 2012).

The means of all templates are compared with one background, whose mean and covariance are measured once: neighbouring cells
of any image are correlated in the same way wherever they lie, so that the covariance of a template of any shape is put
together from the covariances of two cells at each offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from partscope.classification.hog_cells import CellArray
from partscope.errors import DatasetError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """Mean and stationary covariance of the cells of natural images.

    Parameters
    ----------
    mean: (D,) mean of a cell.
    covariance: (2R+1, 2R+1, D, D): entry [R + dy, R + dx] is the covariance of a cell with the cell dy below and dx right.
    """

    mean: FloatArray
    covariance: FloatArray

    @classmethod
    def measure(cls, grids: Sequence[CellArray], reach: int) -> Background:
        """Measure the background on (h, w, D) grids up to offsets of `reach` cells.

        The sum for each offset is divided by the number of all cells instead of by that of its pairs: the estimate for far
        offsets is a little too small, but every template's covariance is positive semidefinite.

        Raises
        ------
        DatasetError: there is no grid.
        """
        if not grids:
            raise DatasetError("the background statistics need at least one image.")
        depth = grids[0].shape[2]
        count = sum(grid.shape[0] * grid.shape[1] for grid in grids)
        mean = sum(grid.sum(axis=(0, 1), dtype=np.float64) for grid in grids) / count
        span = 2 * reach + 1
        sums = np.zeros((span, span, depth, depth))
        for grid in grids:
            values = grid - mean
            rows, columns = values.shape[:2]
            for dy in range(min(reach, rows - 1) + 1):
                for dx in range(-min(reach, columns - 1), min(reach, columns - 1) + 1):
                    first = values[: rows - dy, max(0, -dx) : columns - max(0, dx)].reshape(-1, depth)
                    second = values[dy:, max(0, dx) : columns - max(0, -dx)].reshape(-1, depth)
                    sums[reach + dy, reach + dx] += first.T @ second
        # The covariance at the opposite offset is the transpose.
        for dy in range(1, reach + 1):
            for dx in range(-reach, reach + 1):
                sums[reach - dy, reach - dx] = sums[reach + dy, reach + dx].T
        return cls(mean, sums / count)

    def of_template(self, rows: int, columns: int) -> FloatArray:
        """Return the (rows·columns·D)² covariance of a template of that many cells, in the order of a flattened grid."""
        reach, depth = len(self.covariance) // 2, len(self.mean)
        if max(rows, columns) > reach + 1:
            raise ValueError(f"a template of {rows}×{columns} cells reaches farther than {reach} cells.")
        y, x = (axis.ravel() for axis in np.mgrid[:rows, :columns])
        pairs = self.covariance[reach + y[None] - y[:, None], reach + x[None] - x[:, None]]
        size = rows * columns * depth
        return np.asarray(pairs.transpose(0, 2, 1, 3).reshape(size, size))


@dataclass(frozen=True, eq=False)
class Whitening:
    """The background seen by a template of `rows` × `columns` cells, factorised once.

    Parameters
    ----------
    background: mean and covariances.
    rows, columns: the template's size in cells.
    ridge: added to the covariance's diagonal, as a share of its mean: the 13 values of a cell depend on each other linearly.
    """

    background: Background
    rows: int
    columns: int
    ridge: float = 0.05

    @cached_property
    def centre(self) -> FloatArray:
        """(rows·columns·D,) mean of the background."""
        return np.tile(self.background.mean, self.rows * self.columns)

    @cached_property
    def covariance(self) -> FloatArray:
        """The regularised covariance of the flattened template."""
        covariance = self.background.of_template(self.rows, self.columns)
        covariance[np.diag_indices_from(covariance)] += self.ridge * np.trace(covariance) / len(covariance)
        return covariance

    @cached_property
    def _factor(self) -> FloatArray:
        try:
            return np.asarray(np.tril(cho_factor(self.covariance, lower=True)[0]))
        except LinAlgError as error:
            raise DatasetError(
                "the images' gradients do not vary, so that no part model can be made from them; give photographs."
            ) from error

    def whiten(self, cells: NDArray[np.floating]) -> FloatArray:
        """Map (N, rows, columns, D) cells to (N, F) vectors whose covariance over the background is the identity."""
        flat = cells.reshape(len(cells), -1) - self.centre
        return np.asarray(solve_triangular(self._factor, flat.T, lower=True).T)

    def template(self, mean: NDArray[np.floating]) -> tuple[FloatArray, float]:
        """Return weights w and bias b of the discriminant between a class of this mean and the background.

        `w·x + b` is the logarithm of the likelihood ratio of two Gaussians with the background's covariance.

        Parameters
        ----------
        mean: (rows, columns, D) mean of the class.

        Returns
        -------
        (rows, columns, D) weights, and the bias.
        """
        flat = np.asarray(mean, dtype=np.float64).ravel()
        weights = np.asarray(cho_solve((self._factor, True), flat - self.centre))
        return weights.reshape(mean.shape), float(-0.5 * weights @ (flat + self.centre))
