"""Single vectors and frames of three dimensions, and a smooth curve through given values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def frame_along(direction: ArrayLike, up: ArrayLike) -> FloatArray:
    """Return an orthonormal frame as columns: along `direction`, to its left, and up as far as `up` allows."""
    # Plain numbers: numpy costs more than all else in a bird, called hundreds of times on single vectors.
    fx, fy, fz = _unit(*np.asarray(direction, dtype=np.float64).tolist())
    ux, uy, uz = np.asarray(up, dtype=np.float64).tolist()
    lx, ly, lz = _unit(uy * fz - uz * fy, uz * fx - ux * fz, ux * fy - uy * fx)
    return np.array(
        [
            [fx, lx, fy * lz - fz * ly],
            [fy, ly, fz * lx - fx * lz],
            [fz, lz, fx * ly - fy * lx],
        ]
    )


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    size = math.sqrt(x * x + y * y + z * z) + 1e-12
    return x / size, y / size, z / size


def turned(yaw: float, pitch: float, roll: float) -> FloatArray:
    """Return the frame turned by yaw to the left, then by pitch upward, then by roll to the right (degrees)."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(p), 0, -np.sin(p)], [0, 1, 0], [np.sin(p), 0, np.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(r), np.sin(r)], [0, -np.sin(r), np.cos(r)]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float64)


def smooth(knots: FloatArray, values: FloatArray, at: FloatArray) -> FloatArray:
    """Interpolate with a cubic Hermite curve whose slopes are central differences."""
    slopes = np.gradient(values, knots)
    i = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    span = knots[i + 1] - knots[i]
    s = (at - knots[i]) / span
    return np.asarray(
        (2 * s**3 - 3 * s**2 + 1) * values[i]
        + (s**3 - 2 * s**2 + s) * span * slopes[i]
        + (3 * s**2 - 2 * s**3) * values[i + 1]
        + (s**3 - s**2) * span * slopes[i + 1],
        dtype=np.float64,
    )


def norm(vector: FloatArray) -> float:
    """Return the Euclidean norm of a 3-vector."""
    return math.sqrt(float(vector @ vector))


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cross product of two 3-vectors."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
