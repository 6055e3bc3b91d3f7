"""From the kept images to parts: background, object, parts, and where these lie in the training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.discovery.channels import APART, discover_channels
from partscope.discovery.combinations import ROUNDS, discover_combinations
from partscope.discovery.foreground import foreground, object_cells
from partscope.discovery.frames import ObjectFrame
from partscope.discovery.images import BoolArray, KeptImage, background
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics, decode
from partscope.linear.shrinkage import evidence_maps

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Discovered:
    """K parts, the most stable first.

    Parameters
    ----------
    discriminants: of the parts.
    channels: (K,) index of each part's channel among the features, or None where parts are combinations.
    rate: (K,) share of the images in which some cell of the object belongs to the part, at least one image.
    spread: (K,) root mean square distance from the mean place in the object, in half extents of the object.
    in_image, in_box: (K, 2) median place relative to the image and to the box; NaN where there are no boxes.
    base: background statistics of the images.
    """

    discriminants: Discriminants
    channels: NDArray[np.intp] | None
    rate: FloatArray
    spread: FloatArray
    in_image: FloatArray
    in_box: FloatArray
    base: Statistics


def discover(
    images: list[KeptImage],
    grids: FeatureGrids,
    count: int,
    *,
    by: str,
    shrinkage: float,
    position: float,
    random_state: int,
    rounds: int = ROUNDS,
    apart: float = APART,
) -> Discovered:
    """Discover `count` parts; the parameters are those of :class:`~partscope.discovery.PartDiscovery`.

    Parameters
    ----------
    images: all with boxes, or none.
    rounds: how often each part's cells are chosen anew, with combinations; apart: how far from each other channels lie.

    Raises
    ------
    DatasetError: there are too few different cells, or active channels, for so many parts.
    BackboneError: the features do not vary. OptionError: the shrinkage is too small.
    """
    base = background(images, grids)
    object_of = foreground(images, grids, base, shrinkage)
    objects = [object_cells(image, grids, object_of) for image in images]
    frames = [ObjectFrame.of(image, grids, cells) for image, cells in zip(images, objects, strict=True)]
    channels = None
    if by == "channels":
        discriminants, channels = discover_channels(images, grids, base, objects, frames, count, apart=apart)
    else:
        discriminants = discover_combinations(
            images,
            grids,
            base,
            objects,
            frames,
            count,
            shrinkage=shrinkage,
            position=position,
            rounds=rounds,
            random_state=random_state,
        )
    places, won = _look(images, grids, discriminants, objects)
    folded = np.stack([frame.folded(place) for frame, place in zip(frames, places, strict=True)])
    spread = np.sqrt(folded.var(axis=0).sum(axis=1))
    order = np.argsort(spread, kind="stable")
    in_box = np.full((count, 2), np.nan)
    if images[0].box is not None:
        low = np.stack([frame.middle - frame.half for frame in frames])
        side = np.stack([2 * frame.half for frame in frames])
        in_box = np.median((places - low[:, None]) / side[:, None], axis=0)
    rate = np.maximum(won.mean(axis=0), 1 / len(images))  # a place is found for every part
    return Discovered(
        Discriminants(np.ascontiguousarray(discriminants.weights[:, order]), discriminants.bias[order]),
        None if channels is None else channels[order],
        rate[order],
        spread[order],
        np.median(places, axis=0)[order],
        in_box[order],
        base,
    )


def _look(
    images: list[KeptImage], grids: FeatureGrids, discriminants: Discriminants, objects: list[BoolArray]
) -> tuple[FloatArray, BoolArray]:
    """Return where each part lies in each image, (N, K, 2) shares, and whether a cell of the object is its own, (N, K)."""
    count = len(discriminants.bias)
    places = np.zeros((len(images), count, 2))
    won = np.zeros((len(images), count), dtype=np.bool_)
    for i, (image, cells) in enumerate(zip(images, objects, strict=True)):
        maps = evidence_maps(grids, image.maps, discriminants)
        places[i] = decode(maps)
        won[i, np.unique(maps.reshape(count, -1)[:, cells].argmax(axis=0))] = True
    return places, won
