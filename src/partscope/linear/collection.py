"""From images to statistics: one pass over the training images, and the features that are kept for the shrinkage."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partscope.grids import FeatureGrids
from partscope.linear.mirroring import MirrorSums
from partscope.linear.shrinkage import HeldImage, compact
from partscope.linear.statistics import Statistics
from partscope.views import View

#: Background cells per image: more hardly change the covariance, and cost time in proportion.
CELLS = 48

#: Images whose products are formed at once.
BLOCK = 16

#: How mirror images are learned from: from their own passes, from those of a few and the map that these show, or not.
FLIPS = ("all", "mapped", "none")
#: With "mapped", one image in so many is passed mirrored too.
MAPPED_EVERY = 8

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What the statistics need of one image: the costly part, computed without regard to other images.

    Parameters
    ----------
    cells: (M, D) features of background cells.
    at_parts: (P, D) features at the parts.
    visible: (P,).
    shares: (P, 2) the parts' positions as shares of the region that the network saw.
    unit: (2,) size of that region, divided by the length that errors are measured in.
    kept: the layers' maps in half precision, where they are to be kept.
    both: the layers' maps of the image and of its mirror image, where these show what mirroring does.
    flipped: cells, parts and visibility of the mirror image, where it is learned from.
    """

    cells: NDArray[np.float32]
    at_parts: NDArray[np.float32]
    visible: NDArray[np.bool_]
    shares: FloatArray
    unit: FloatArray
    kept: list[Tensor] | None
    both: tuple[list[Tensor], list[Tensor]] | None
    flipped: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]] | None


def image_features(
    grids: FeatureGrids,
    mirror: NDArray[np.intp],
    flips: str,
    name: str,
    seen: View,
    points: FloatArray,
    visible: NDArray[np.bool_],
    length: float,
    keep: bool,
) -> ImageFeatures:
    """Pass an image through the network, and its mirror image where that is learned from.

    Parameters
    ----------
    grids: the network's features.
    mirror: (P,) index of the part that each part becomes in a mirrored image.
    flips: one of `FLIPS`.
    name: the image's id, which decides what background cells are taken.
    seen: the network's input and its place in the image.
    points: (P, 2) pixels of the image; not looked at where not visible.
    visible: (P,).
    length: what errors in this image are divided by, in pixels.
    keep: whether its maps are kept.
    """
    extent = np.array(seen.extent)
    shares = (np.where(visible[:, None], points, 0.0) - np.array(seen.origin)) / extent
    # A part may lie a little outside a box.
    shares = np.clip(shares, 0.0, 1.0)
    cells = _background(name, grids)
    maps = [features[0] for features in grids(seen.inputs[None])]
    own = grids.sample(maps, cells), grids.sample(maps, shares)
    both = flipped = None
    if flips == "all" or (flips == "mapped" and _is_mapped(name)):
        other = [features[0] for features in grids(seen.inputs.flip(-1)[None])]
        both = (maps, other)
        if flips == "all":
            mirrored = np.stack([1 - shares[mirror, 0], shares[mirror, 1]], axis=1)
            flipped = (grids.sample(other, cells), grids.sample(other, mirrored), visible[mirror])
    kept = compact(maps) if keep else None
    return ImageFeatures(*own, visible, shares, extent / length, kept, both, flipped)


class Collector:
    """Takes the features of images one by one and adds them to the statistics of their fold.

    Parameters
    ----------
    grids: the network's features.
    parts: number of parts P.
    folds: number of groups; the i-th image that comes belongs to the group i mod folds.
    """

    def __init__(self, grids: FeatureGrids, parts: int, folds: int) -> None:
        self.statistics = [Statistics.zeros(parts, grids.features) for _ in range(folds)]
        self.mirror_sums = MirrorSums.zeros([channels for channels, _, _ in grids.shapes])
        self.held: list[HeldImage] = []
        self._count = 0
        self._waiting: list[list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]] = [
            [] for _ in range(folds)
        ]

    def add(self, image: ImageFeatures) -> None:
        """Add an image; the order in which they come decides the group and how the sums are rounded."""
        index, self._count = self._count, self._count + 1
        fold = index % len(self.statistics)
        self._waiting[fold].append((image.cells, image.at_parts, image.visible))
        if image.kept is not None:
            self.held.append(HeldImage(index, fold, image.kept, image.shares, image.visible, image.unit))
        if image.both is not None:
            self.mirror_sums.add(*image.both)
        if image.flipped is not None:
            self._waiting[fold].append(image.flipped)
        if len(self._waiting[fold]) >= BLOCK:
            self._flush(fold)

    def finish(self) -> None:
        """Add what waits to be added."""
        for fold in range(len(self.statistics)):
            self._flush(fold)

    def _flush(self, fold: int) -> None:
        if self._waiting[fold]:
            cells, at_parts, visible = zip(*self._waiting[fold], strict=True)
            self.statistics[fold].add(np.concatenate(cells), np.stack(at_parts), np.stack(visible))
            self._waiting[fold] = []


def kept_images(grids: FeatureGrids, images: int, folds: int, memory: int) -> NDArray[np.bool_]:
    """Return which of so many images have their maps kept, (N,): all, or evenly spaced ones that fit.

    Parameters
    ----------
    images: number of images.
    folds: number of groups; whole rounds of groups are kept.
    memory: bytes of features that may be kept, in half precision.
    """
    each = sum(2 * channels * rows * columns for channels, rows, columns in grids.shapes)
    every = max(-(-images * each // max(memory, 1)), 1)
    return np.asarray((memory >= each) & (np.arange(images) // folds % every == 0))


def _is_mapped(name: str) -> bool:
    """Whether an image shows what mirroring does to features; its id alone decides, so that shards agree."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape")) % MAPPED_EVERY == 0


def _background(name: str, grids: FeatureGrids) -> FloatArray:
    """Return the centres of the background cells of an image: a draw that its name alone decides."""
    centres = grids.cell_centres()
    count = min(CELLS, len(centres))
    chosen = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape"))).choice(
        len(centres), count, replace=False
    )
    return centres[np.sort(chosen)]
