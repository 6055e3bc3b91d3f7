"""Far more features than images: the training rows' coordinates in a basis of their span, exact for a linear classifier.

Fifteen patches and an image have 20,480 features, a training set of 750 images and their mirror images 1,500 rows. The
solution of an L2-regularised linear problem lies in the span of its training rows: a component orthogonal to them all
changes no prediction and only adds to the penalty. So F features may be replaced by the rows' coordinates in an
orthonormal basis of any subspace that holds them, at most N numbers each: X = TQᵀ, fitted on T and turned back by
w = Qv, gives the same scores and the same norm, and therefore the same minimiser. The basis is taken from all training rows
at once. Each fold's rows lie in it too, so that one rotation is exact for every fold; it uses no label and no length
changes, so it tells a fold nothing of what it holds out.

T comes from the eigenvectors of the Gram matrix XXᵀ in float64, whose directions below its rounding error are dropped
(duplicates, constant features), and is brought into lower trapezoidal form, because the solver's time goes with the
number of entries that are not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, qr

from partscope.errors import DatasetError

FloatArray = NDArray[np.float64]

# Features that are held in float64 at once.
BLOCK = 2048
ALL_EQUAL = "the features of all training images are equal, so no classifier can tell them apart; check how they were made."


@dataclass(frozen=True, eq=False)
class Basis:
    """Orthonormal directions in feature space, Q = (rows − centre)ᵀ·mixing."""

    rows: NDArray[np.floating[Any]]
    centre: FloatArray
    mixing: FloatArray

    def turned_back(self, direction: FloatArray) -> FloatArray:
        """Return (K, F) coefficients of the features from (K, r) coefficients of the coordinates."""
        weights = direction @ self.mixing.T
        count = self.rows.shape[1]
        coef = np.empty((len(direction), count))
        for start in range(0, count, BLOCK):
            part = slice(start, start + BLOCK)
            coef[:, part] = weights @ (self.rows[:, part].astype(np.float64) - self.centre[part])
        return coef


def rotated(rows: NDArray[np.floating[Any]], centre: FloatArray) -> tuple[FloatArray, Basis | None]:
    """Return the rows less the centre as coordinates (N, r), r ≤ N, and the basis; as they are if F ≤ N."""
    count, width = rows.shape
    if width <= count:
        return rows.astype(np.float64) - centre, None
    gram = np.zeros((count, count))
    for start in range(0, width, BLOCK):
        part = slice(start, start + BLOCK)
        block = rows[:, part].astype(np.float64) - centre[part]
        gram += block @ block.T
    values, vectors = eigh(gram)
    kept = values > count * np.finfo(np.float64).eps * max(values[-1], 0.0)
    if not kept.any():  # the squares of tiny features are zero
        raise DatasetError(ALL_EQUAL)
    lengths = np.sqrt(values[kept])
    turn, upper = qr((vectors[:, kept] * lengths).T, mode="economic")
    # Q = XᵀU/√λ·turn, because X = U√λ(XᵀU/√λ)ᵀ and (U√λ)ᵀ = turn·upper.
    return np.ascontiguousarray(upper.T), Basis(rows, centre, (vectors[:, kept] / lengths) @ turn)
