"""Parts as linear combinations of channels: from groups of cells to discriminants, sharpened until each part is one place.

A group of cells is a region; a part is a place. So the discriminants that follow from the groups choose in every image the
one cell of the object that is most theirs, new discriminants follow from these cells alone, and so on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.discovery.clusters import MOST_CELLS, POSITION, cluster
from partscope.discovery.frames import ObjectFrame
from partscope.discovery.images import BoolArray, KeptImage, with_parts
from partscope.errors import DatasetError
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics, solve
from partscope.linear.shrinkage import evidence_maps

#: How often each part's cells are chosen anew; chosen on training images (benchmarks/discovery.py).
ROUNDS = 3


def discover_combinations(
    images: list[KeptImage],
    grids: FeatureGrids,
    base: Statistics,
    objects: list[BoolArray],
    frames: list[ObjectFrame],
    count: int,
    *,
    shrinkage: float,
    position: float = POSITION,
    rounds: int = ROUNDS,
    random_state: int = 0,
) -> Discriminants:
    """Return the discriminants of `count` parts.

    Parameters
    ----------
    base: background statistics of the images.
    objects: for each image the cells (h·w,) of its object, at least one; frames: where the object lies.
    shrinkage: as in :func:`partscope.linear.solve`.
    position: weight of the position in the first guess, see :func:`~partscope.discovery.clusters.cluster`.
    rounds: how often the cells are chosen anew.
    random_state: seed of the first guess.

    Raises
    ------
    DatasetError: there are too few different cells for so many parts.
    """
    statistics = _first_guess(images, grids, base, objects, frames, count, position, random_state)
    discriminants = solve(statistics, shrinkage)
    every = np.ones((len(images), count), dtype=np.bool_)
    for _ in range(rounds):
        places = [
            _highest(grids, image, discriminants, cells) for image, cells in zip(images, objects, strict=True)
        ]
        at_parts = np.stack(
            [image.features(grids, place) for image, place in zip(images, places, strict=True)]
        )
        discriminants = solve(with_parts(base, every, at_parts), shrinkage)
    return discriminants


def _highest(
    grids: FeatureGrids, image: KeptImage, discriminants: Discriminants, cells: BoolArray
) -> NDArray[np.intp]:
    """Return of each part the cell of the object with the most evidence, (K,)."""
    maps = evidence_maps(grids, image.maps, discriminants)
    flat = np.where(cells, maps.reshape(len(maps), -1), -np.inf)
    return np.asarray(flat.argmax(axis=1))


def _first_guess(
    images: list[KeptImage],
    grids: FeatureGrids,
    base: Statistics,
    objects: list[BoolArray],
    frames: list[ObjectFrame],
    count: int,
    position: float,
    random_state: int,
) -> Statistics:
    """Cluster cells of the objects, and return statistics in which an image shows a part by the mean of its cells."""
    centres = grids.cell_centres()
    most = max(MOST_CELLS // len(images), 1)
    features, positions, owner = [], [], []
    for index, (image, cells, frame) in enumerate(zip(images, objects, frames, strict=True)):
        chosen = np.flatnonzero(cells)
        if len(chosen) > most:
            # Evenly through the object, row by row.
            chosen = chosen[np.linspace(0, len(chosen) - 1, most).round().astype(np.intp)]
        features.append(image.features(grids, chosen))
        positions.append(frame.folded(centres[chosen]))
        owner.append(np.full(len(chosen), index))
    cells_of_all = np.concatenate(features)
    if len(cells_of_all) < count:
        raise DatasetError(
            f"the objects in the {len(images)} training images cover only {len(cells_of_all)} cells, too few for {count} "
            "parts; give more images, or ask for fewer parts."
        )
    groups = cluster(
        cells_of_all, np.concatenate(positions), count, position=position, random_state=random_state
    )
    owners = np.concatenate(owner)
    shown = np.zeros((len(images), count), dtype=np.bool_)
    at_parts = np.zeros((len(images), count, grids.features), dtype=np.float32)
    for index in range(len(images)):
        own, group = cells_of_all[owners == index], groups[owners == index]
        for k in np.unique(group):
            shown[index, k] = True
            at_parts[index, k] = own[group == k].mean(axis=0)
    return with_parts(base, shown, at_parts)
