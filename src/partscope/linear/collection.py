"""From images to statistics: one pass over the training images, and the features that are kept for the shrinkage."""

from __future__ import annotations

import zlib

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


class Collector:
    """Takes images one by one and adds them to the statistics of their fold.

    Parameters
    ----------
    grids: the network's features.
    mirror: (P,) index of the part that each part becomes in a mirrored image.
    folds: number of groups; image i belongs to the group i mod folds.
    flips: one of `FLIPS`; with `"all"` each image's mirror image is added to the statistics.
    memory: bytes of features that may be kept.
    images: number of images that will come. Where their features would not fit into `memory`, those of evenly spaced
        images are kept.
    """

    def __init__(
        self, grids: FeatureGrids, mirror: NDArray[np.intp], folds: int, flips: str, memory: int, images: int
    ) -> None:
        self.grids = grids
        self.statistics = [Statistics.zeros(len(mirror), grids.features) for _ in range(folds)]
        self.mirror_sums = MirrorSums.zeros([channels for channels, _, _ in grids.shapes])
        self.held: list[HeldImage] = []
        self._mirror = mirror
        self._flips = flips
        self._memory = memory
        self._images = images
        self._count = 0
        self._waiting: list[list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]] = [
            [] for _ in range(folds)
        ]

    def add(
        self, name: str, seen: View, points: FloatArray, visible: NDArray[np.bool_], length: float
    ) -> None:
        """Add an image.

        Parameters
        ----------
        name: its id, which decides what background cells are taken.
        seen: the network's input and its place in the image.
        points: (P, 2) pixels of the image; not looked at where not visible.
        visible: (P,).
        length: what errors in this image are divided by, in pixels.
        """
        index, self._count = self._count, self._count + 1
        fold = index % len(self.statistics)
        extent = np.array(seen.extent)
        shares = (np.where(visible[:, None], points, 0.0) - np.array(seen.origin)) / extent
        # A part may lie a little outside a box.
        shares = np.clip(shares, 0.0, 1.0)
        cells = _background(name, self.grids)
        maps = [features[0] for features in self.grids(seen.inputs[None])]
        self._waiting[fold].append((self.grids.sample(maps, cells), self.grids.sample(maps, shares), visible))
        if self._keeps(index, maps):
            self.held.append(HeldImage(index, fold, compact(maps), shares, visible, extent / length))
        if self._flips == "all" or (self._flips == "mapped" and _is_mapped(name)):
            flipped = [features[0] for features in self.grids(seen.inputs.flip(-1)[None])]
            self.mirror_sums.add(maps, flipped)
        if self._flips == "all":
            mirrored = np.stack([1 - shares[self._mirror, 0], shares[self._mirror, 1]], axis=1)
            at_parts = self.grids.sample(flipped, mirrored)
            self._waiting[fold].append((self.grids.sample(flipped, cells), at_parts, visible[self._mirror]))
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

    def _keeps(self, index: int, maps: list[Tensor]) -> bool:
        each = sum(2 * features.nelement() for features in maps)
        every = -(-self._images * each // max(self._memory, 1))
        return self._memory >= each and index // len(self.statistics) % max(every, 1) == 0


def _is_mapped(name: str) -> bool:
    """Whether an image shows what mirroring does to features; its id alone decides, so that shards agree."""
    return zlib.crc32(name.encode()) % MAPPED_EVERY == 0


def _background(name: str, grids: FeatureGrids) -> FloatArray:
    """Return the centres of the background cells of an image: a draw that its name alone decides."""
    centres = grids.cell_centres()
    count = min(CELLS, len(centres))
    chosen = np.random.default_rng(zlib.crc32(name.encode())).choice(len(centres), count, replace=False)
    return centres[np.sort(chosen)]
