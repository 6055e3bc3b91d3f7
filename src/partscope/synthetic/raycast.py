"""Ellipsoids seen from infinitely far: for every pixel the nearest surface, in closed form.

With half axes as the columns of E, a point p lies on the ellipsoid where dᵀQd = 1, d = p − c, Q = (E Eᵀ)⁻¹. Along the
line of sight (z, towards the viewer) this is a quadratic, and its larger root is the surface that is seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Ellipsoids:
    """K solid ellipsoids.

    Parameters
    ----------
    centres: (K, 3) float64.
    axes: (K, 3, 3) float64, half axes as columns.
    """

    centres: FloatArray
    axes: FloatArray

    def transformed(self, matrix: FloatArray, offset: FloatArray) -> Ellipsoids:
        """Return them after p → `matrix` p + `offset`."""
        return Ellipsoids(self.centres @ matrix.T + offset, matrix @ self.axes)

    def extents(self) -> tuple[FloatArray, FloatArray]:
        """Return the exact lower and upper corners (K, 3) of their axis-parallel boxes."""
        half = np.sqrt((self.axes**2).sum(axis=2))
        return self.centres - half, self.centres + half


@dataclass(frozen=True)
class Surface:
    """What is seen of some ellipsoids in a window of H×W pixels, N of which show one.

    Parameters
    ----------
    mask: (H, W) bool.
    owner: (N,) index of the ellipsoid seen, in the order of `mask`'s true pixels.
    local: (N, 3) float32, the point seen in the ellipsoid's own axes, on the unit sphere.
    normals: (N, 3) float32, unit outward normals.
    """

    mask: NDArray[np.bool_]
    owner: NDArray[np.intp]
    local: NDArray[np.float32]
    normals: NDArray[np.float32]


def cast(solids: Ellipsoids, width: int, height: int) -> Surface:
    """Look at the ellipsoids along −z through a grid of pixels with centres at +0.5.

    Parameters
    ----------
    solids: in pixels, x right, y down, z towards the viewer.
    width, height: the window's size, from the origin.
    """
    depth = np.full((height, width), -np.inf, dtype=np.float32)
    owner = np.full((height, width), -1, dtype=np.int16)
    inverses = np.linalg.inv(solids.axes)
    quadrics = np.einsum("kji,kjl->kil", inverses, inverses)
    lower, upper = solids.extents()
    first = np.maximum(np.floor(lower[:, :2] - 0.5), 0).astype(int)
    last = np.minimum(np.ceil(upper[:, :2] + 0.5), (width, height)).astype(int)
    for k, (centre, q) in enumerate(zip(solids.centres, quadrics, strict=True)):
        (left, top), (right, bottom) = first[k], last[k]
        if right <= left or bottom <= top:
            continue
        x = np.arange(left, right) + 0.5 - centre[0]
        y = np.arange(top, bottom) + 0.5 - centre[1]
        zz = q[2, 2]
        xx, yy, xy = (
            q[0, 0] * zz - q[0, 2] ** 2,
            q[1, 1] * zz - q[1, 2] ** 2,
            q[0, 1] * zz - q[0, 2] * q[1, 2],
        )
        # The discriminant's cross term is completed to a square: rows and columns are prepared one by one in double
        # precision, and few operations are left for the (H, W) grid, in single.
        scale = np.sqrt(xx) / zz
        z = np.add.outer(_single(scale * (xy / xx) * y), _single(scale * x))
        np.square(z, out=z)
        np.subtract(_single((zz - (yy - xy**2 / xx) * y**2) / zz**2)[:, None], z, out=z)
        with np.errstate(invalid="ignore"):
            # Beside the ellipsoid the root is not a number, and no comparison holds.
            np.sqrt(z, out=z)
        z += _single(centre[2] - (q[1, 2] / zz) * y)[:, None]
        z -= _single((q[0, 2] / zz) * x)
        window = depth[top:bottom, left:right]
        seen = z > window
        np.copyto(window, z, where=seen)
        np.copyto(owner[top:bottom, left:right], np.int16(k), where=seen)
    mask = owner >= 0
    rows, columns = np.nonzero(mask)
    seen_by = owner[mask].astype(np.intp)
    points = np.stack([columns + np.float32(0.5), rows + np.float32(0.5), depth[mask]], axis=1).astype(
        np.float32
    )
    points -= solids.centres.astype(np.float32)[seen_by]
    matrices = inverses.astype(np.float32)[seen_by]
    local = np.einsum("nij,nj->ni", matrices, points)
    normals = np.einsum("nij,ni->nj", matrices, local)
    normals /= np.sqrt(np.einsum("ni,ni->n", normals, normals))[:, None] + 1e-12
    return Surface(mask, seen_by, local, normals)


def _single(values: FloatArray) -> NDArray[np.float32]:
    return values.astype(np.float32)
