"""Evidence maps → likelihood ratios: how much likelier a map is with the part in a cell than without the part.

A detector's map is a score of unknown scale. For one part and one image let `L` be its map with `A` cells; the model is
that the part is in cell `c` with a probability proportional to `exp(a·L[c] + b) / A`, and absent with one proportional
to 1. The two numbers `(a, b)` of each part maximise the likelihood of the training annotation: a concave problem, solved
by Newton's method. Each part's are drawn towards those of all parts together, which decide where a part has few examples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Weight of the pull towards the values of all parts together, in images.
PULL = 2.0
#: Bound of the log likelihood ratio of a cell: no single map decides alone.
BOUND = 30.0


def cells_of(points: FloatArray, grid: tuple[int, int]) -> NDArray[np.intp]:
    """Return the flat index of the cell of an (h, w) grid that holds each point (…, 2), in [0, 1]; NaN gives cell 0."""
    rows, columns = grid
    place = np.nan_to_num(points)
    x = np.clip((place[..., 0] * columns).astype(np.intp), 0, columns - 1)
    y = np.clip((place[..., 1] * rows).astype(np.intp), 0, rows - 1)
    return np.asarray(y * columns + x)


def calibrate(maps: NDArray[np.floating], points: FloatArray, visible: BoolArray) -> FloatArray:
    """Fit the two numbers per part that turn its map into a log likelihood ratio.

    Parameters
    ----------
    maps: (N, P, h, w) evidence of images that the evidence was not fitted on.
    points: (N, P, 2) in [0, 1] of the image.
    visible: (N, P).

    Returns
    -------
    (P, 2): scale and offset of each part. A map without any variation gets scale 0.
    """
    images, parts, rows, columns = maps.shape
    flat = maps.reshape(images, parts, -1).astype(np.float32)
    # The maps' own spread makes the numbers comparable between parts and detectors.
    unit = np.asarray(flat.std(axis=2).mean(axis=0), dtype=np.float64)
    flat = flat / np.where(unit > 0, unit, 1.0).astype(np.float32)[:, None]
    at_part = np.take_along_axis(flat, cells_of(points, (rows, columns))[..., None], axis=2)[..., 0]
    together = np.tile([1.0, 0.0], (parts, 1))
    for pull, step in ((np.array([0.1, 0.1]), "all"), (np.array([PULL, PULL]), "each")):
        centre = np.tile([1.0, 0.0], (parts, 1)) if step == "all" else together
        values = centre.copy()
        for _ in range(12):
            gradient, curvature = _derivatives(flat, at_part.astype(np.float64), visible, values)
            if step == "all":
                gradient = np.tile(gradient.sum(axis=0), (parts, 1))
                curvature = np.tile(curvature.sum(axis=0), (parts, 1, 1))
            gradient = gradient - pull * (values - centre)
            change = np.linalg.solve(curvature + np.diag(pull), gradient[..., None])[..., 0]
            values = values + np.clip(change, -1.0, 1.0)
            values[:, 0] = np.maximum(values[:, 0], 0.0)
            if np.abs(change).max() < 1e-4:
                break
        together = values
    together[:, 0] = np.where(unit > 0, together[:, 0] / np.where(unit > 0, unit, 1.0), 0.0)
    return np.asarray(together)


def _derivatives(
    flat: NDArray[np.float32], at_part: FloatArray, visible: BoolArray, values: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return gradient (P, 2) and negated Hessian (P, 2, 2) of the log likelihood at `values` (P, 2)."""
    power = flat * values[:, :1].astype(np.float32)
    power += (values[:, 1:] - np.log(flat.shape[2])).astype(np.float32)
    highest = np.maximum(power.max(axis=2), 0.0)
    np.exp(np.subtract(power, highest[..., None], out=power), out=power)
    first = np.einsum("npc,npc->np", power, flat)
    second = np.einsum("npc,npc->np", power, flat * flat)
    mass = power.sum(axis=2)
    total = mass + np.exp(-highest)
    mass, first, second = (np.asarray(x / total, dtype=np.float64) for x in (mass, first, second))
    gradient = np.stack([np.where(visible, at_part, 0.0) - first, visible - mass], axis=2).sum(axis=0)
    cross = first - first * mass
    curvature = np.stack([second - first**2, cross, cross, mass - mass**2], axis=2).sum(axis=0)
    return gradient, curvature.reshape(-1, 2, 2)


def likelihood_ratios(maps: NDArray[np.floating], values: FloatArray) -> FloatArray:
    """Return the likelihood ratios (P, h, w) of one image's maps (P, h, w) with the numbers of :func:`calibrate`."""
    log = np.asarray(maps, dtype=np.float64) * values[:, :1, None] + values[:, 1:, None]
    return np.asarray(np.exp(np.clip(log, -BOUND, BOUND)))
