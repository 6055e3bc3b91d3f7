"""The images that parts are discovered in: each one's features, kept in half precision, and what its box covers."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partscope.dataset import PartDataset, Skipped
from partscope.detectors.queries import Box, Query
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.grids import FeatureGrids
from partscope.linear.shrinkage import compact
from partscope.linear.statistics import Statistics
from partscope.progress import track
from partscope.views import box_mask, view

#: Cells of an image that stand for all its cells in the covariance; as in :mod:`partscope.linear`.
CELLS = 48

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class KeptImage:
    """One training image.

    Parameters
    ----------
    id: its name.
    maps: of each layer (K_l, h_l, w_l).
    size: width and height in pixels.
    box: `(x, y, width, height)` in pixels, or None.
    """

    id: str
    maps: list[Tensor]
    size: tuple[int, int]
    box: Box | None

    def inside(self, grids: FeatureGrids) -> BoolArray:
        """Return which cells of the common grid, (h·w,), have their centre in the box; all without a box."""
        rows, columns = grids.grid
        if self.box is None:
            return np.ones(rows * columns, dtype=np.bool_)
        size = (float(self.size[0]), float(self.size[1]))
        return np.asarray(box_mask((rows, columns), size, self.box).numpy().ravel())

    def features(self, grids: FeatureGrids, cells: BoolArray | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the features (M, D) of some cells of the common grid, given as a mask or by index."""
        return grids.sample(self.maps, grids.cell_centres()[cells])


def gather(
    dataset: PartDataset,
    grids: FeatureGrids,
    memory: int,
    *,
    use_boxes: bool,
    on_error: str = "raise",
    progress: bool = False,
) -> tuple[list[KeptImage], list[Skipped]]:
    """Read images, run the network once on each, and keep its maps; marked parts are not looked at.

    Parameters
    ----------
    memory: bytes that the maps may take; where those of all images would take more, evenly spaced images are read.
    use_boxes: keep the boxes, which then are inside their images.

    Raises
    ------
    ImageError, DatasetError: with `on_error="raise"`, an image cannot be read.
    OptionError: not even two images fit into the memory.
    """
    each = sum(2 * channels * rows * columns for channels, rows, columns in grids.shapes)
    most = memory // each
    if most < 2:
        raise OptionError(
            f"memory={memory:,} bytes hold the features of fewer than two images ({each:,} bytes each); give more."
        )
    chosen = np.arange(len(dataset))
    if len(dataset) > most:
        chosen = np.linspace(0, len(dataset) - 1, int(most)).round().astype(np.intp)
    kept: list[KeptImage] = []
    skipped: list[Skipped] = []
    samples = [dataset[int(i)] for i in chosen]
    for sample in track(samples, "features", total=len(samples), enabled=progress):
        try:
            image = Query.of(sample).open()
        except (ImageError, DatasetError) as error:
            if on_error == "raise":
                raise
            skipped.append(Skipped(sample.id, str(error)))
            continue
        seen = view(grids.backbone.preprocessing, image, "image")
        maps = [features[0] for features in grids(seen.inputs[None])]
        box = sample.box if use_boxes else None
        kept.append(KeptImage(sample.id, compact(maps), image.size, box))
    return kept, skipped


def background(images: list[KeptImage], grids: FeatureGrids) -> Statistics:
    """Return the statistics of cells drawn from the whole of every image, without any part.

    A draw depends on the image's name alone.
    """
    statistics = Statistics.zeros(0, grids.features)
    cells = len(grids.cell_centres())
    nothing = np.zeros((1, 0, grids.features), dtype=np.float32)
    for image in images:
        rng = np.random.default_rng(zlib.crc32(image.id.encode("utf-8", "surrogateescape")))
        drawn = np.sort(rng.choice(cells, min(CELLS, cells), replace=False))
        statistics.add(image.features(grids, drawn), nothing, np.zeros((1, 0), dtype=np.bool_))
    return statistics


def with_parts(base: Statistics, shown: BoolArray, at_parts: NDArray[np.float32]) -> Statistics:
    """Return statistics with the same background and these parts.

    Parameters
    ----------
    shown: (N, K) in which images each part was seen.
    at_parts: (N, K, D) its features there; not looked at where it was not seen.
    """
    total = np.where(shown[:, :, None], at_parts, 0).sum(axis=0, dtype=np.float64)
    return Statistics(
        base.images, base.cells, base.total, base.outer, shown.sum(axis=0).astype(np.float64), total
    )
