"""Parts as single channels: those whose activation stays in one place of the object, and which differ from each other.

What a channel attends to is told by its squared activation inside the object. A channel is stable if that lies close
together, in one place relative to the object, in all images; the K parts are chosen greedily, the most stable first,
passing over channels that lie where a chosen one does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.discovery.frames import ObjectFrame
from partscope.discovery.images import BoolArray, KeptImage
from partscope.errors import DatasetError
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics

#: Two channels lie in different places if their centres are so far apart on average, in half extents of the object; chosen on
#: training images (benchmarks/discovery.py).
APART = 0.2

#: Share of the images in which a channel has to be active inside the object.
ACTIVE = 0.95

FloatArray = NDArray[np.float64]


def discover_channels(
    images: list[KeptImage],
    grids: FeatureGrids,
    base: Statistics,
    objects: list[BoolArray],
    frames: list[ObjectFrame],
    count: int,
    *,
    apart: float = APART,
) -> tuple[Discriminants, NDArray[np.intp]]:
    """Return `count` channels as discriminants with one weight each, and the channels' indices among the features (K,).

    The evidence is the activation, standardised over the background's cells.

    Parameters
    ----------
    base: background statistics of the images; objects, frames: the object's cells and place in each image.
    apart: see :data:`APART`; where too few channels differ so much, it is halved until enough do.

    Raises
    ------
    DatasetError: fewer channels than `count` are active in the objects.
    """
    at, centres, scatter, active = _places(images, grids, objects, frames)
    usable = np.flatnonzero(active.mean(axis=0) >= ACTIVE)
    if len(usable) < count:
        raise DatasetError(
            f"only {len(usable)} of {active.shape[1]} channels are active in the objects of the training images, too few for "
            f"{count} parts; name other layers, or ask for fewer parts."
        )
    order = usable[np.argsort(instability(centres, scatter)[usable], kind="stable")]
    chosen: list[int] = []
    while len(chosen) < count:
        chosen = []
        for channel in order.tolist():
            distances = [np.linalg.norm(at[:, channel] - at[:, k], axis=1).mean() for k in chosen]
            if all(distance >= apart for distance in distances):
                chosen.append(channel)
            if len(chosen) == count:
                break
        apart = apart / 2 if apart > 1e-3 else 0.0
    mean = base.total / base.cells
    deviation = np.sqrt(np.maximum(np.diag(base.outer) / base.cells - mean**2, 1e-12))
    weights = np.zeros((grids.features, count), dtype=np.float32)
    weights[chosen, np.arange(count)] = 1 / deviation[chosen]
    bias = (-mean / deviation)[chosen].astype(np.float32)
    return Discriminants(weights, bias), np.array(chosen, dtype=np.intp)


def instability(centres: FloatArray, scatter: FloatArray) -> FloatArray:
    """Return the mean squared distance of each channel's squared activation from its mean place in the object, (D,).

    It is the variance of the centres over the images, plus the mean variance within an image; without the latter a channel
    that is active everywhere, whose centre is always the middle of the box, would be the most stable.

    Parameters
    ----------
    centres: (N, D, 2) centre of the squared activation in each image, relative to the object, the sides folded together.
    scatter: (N, D) mean squared distance from it within the image.
    """
    return np.asarray(centres.var(axis=0).sum(axis=1) + scatter.mean(axis=0))


def _places(
    images: list[KeptImage], grids: FeatureGrids, objects: list[BoolArray], frames: list[ObjectFrame]
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Return of each image and channel where its squared activation lies in the object.

    Its centre (N, D, 2), the same folded, the scatter around the latter (N, D), and whether it is active at all (N, D).
    """
    shape = (len(images), grids.features)
    at, centres, scatter = np.zeros((*shape, 2)), np.zeros((*shape, 2)), np.zeros(shape)
    active = np.zeros(shape, dtype=np.bool_)
    cells_at = grids.cell_centres()
    for i, (image, cells, frame) in enumerate(zip(images, objects, frames, strict=True)):
        power = np.maximum(image.features(grids, cells).astype(np.float64), 0.0) ** 2
        mass = power.sum(axis=0)
        active[i] = mass > 0
        share = power / np.where(active[i], mass, 1.0)
        places = frame.folded(cells_at[cells])
        at[i] = share.T @ frame.relative(cells_at[cells])
        centres[i] = share.T @ places
        scatter[i] = share.T @ (places**2).sum(axis=1) - (centres[i] ** 2).sum(axis=1)
    return at, centres, np.maximum(scatter, 0.0), active
