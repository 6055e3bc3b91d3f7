"""Centres from a network, kept in the folder of the scan as they are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset
from partscope.errors import DatasetError
from partscope.progress import track
from partscope.scan import BLOCK, open_annotated, scan_manifest
from partscope.search.cell_store import CellStore

IntArray = NDArray[np.int64]


class NetworkCells:
    """A table of centres, see :class:`partscope.search.cells.Cells`, that a network fills.

    What an image is asked for in one round costs one forward pass and a gradient map for each channel. With a folder, the
    cells are written every few images, and those of earlier searches and of an exhaustive scan in the same folder are read.

    Parameters
    ----------
    dataset: N images.
    rows: (n,) those of them that the search is about, by position: images that can be read.
    backbone: network with K channels.
    specs: R ways from a channel to a point that share their passes and are kept together.
    spec: the one that is asked for.
    folder: of the scan; in memory alone by default.
    progress: show a bar for each round on standard error.

    Attributes
    ----------
    computed: gradient maps that were computed, not read.

    Raises
    ------
    ScanError: the folder belongs to another scan, or cannot be written.
    """

    def __init__(
        self,
        dataset: PartDataset,
        rows: IntArray,
        backbone: Backbone,
        specs: Sequence[CentreSpec],
        spec: CentreSpec,
        *,
        folder: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self._dataset, self._rows, self._backbone = dataset, rows, backbone
        self._specs, self._way = tuple(specs), tuple(specs).index(spec)
        self._progress, self._round = progress, 0
        self.computed = 0
        shape = (len(dataset), backbone.channels, len(self._specs))
        self._known = np.zeros(shape[:2], dtype=bool)
        self._centres = np.full((*shape[:2], 2), np.nan, dtype=np.float32)
        self._store: CellStore | None = None
        if folder is not None:
            manifest = scan_manifest(dataset, backbone, self._specs, np.arange(shape[1]), BLOCK)
            self._store = CellStore(folder, manifest)
            self._recall(self._store, shape)

    def _recall(self, store: CellStore, shape: tuple[int, int, int]) -> None:
        images, channels, ways = shape
        for index, start in enumerate(range(0, images, BLOCK)):
            rows = min(BLOCK, images - start)
            block = store.read(index, (rows, ways, channels, 2))
            if block is not None and not block[1]:
                self._centres[start : start + rows] = block[0][:, self._way]
                self._known[start : start + rows] = True
        for cells, centres in store.read_cells(shape):
            self._centres[cells[:, 0], cells[:, 1]] = centres[:, self._way]
            self._known[cells[:, 0], cells[:, 1]] = True

    @property
    def shape(self) -> tuple[int, int]:
        """Images that the search is about, and channels."""
        return len(self._rows), self._backbone.channels

    def look(self, images: IntArray, channels: IntArray) -> NDArray[np.float32]:
        """See :class:`partscope.search.cells.Cells`.

        Raises
        ------
        ScanError: the cells cannot be written. ImageError, DatasetError: an image can no longer be read.
        """
        rows = self._rows[images]
        new = ~self._known[rows, channels]
        self._round += 1
        visited = np.unique(rows[new])
        blocks = [visited[start : start + BLOCK] for start in range(0, len(visited), BLOCK)]
        for block in track(
            blocks, f"round {self._round}, {new.sum():,} gradient maps", enabled=self._progress
        ):
            self._compute([(int(row), channels[new & (rows == row)]) for row in block])
        if self._store is not None:
            self._store.tidy()
        return self._centres[rows, channels]

    def _compute(self, wanted: list[tuple[int, IntArray]]) -> None:
        cells, found = [], []
        for row, channels in wanted:
            sample = self._dataset[row]
            image = open_annotated(sample)
            try:
                centres = channel_centres(
                    self._backbone, image, self._specs, channels=channels.tolist(), box=sample.box
                )
            except DatasetError as error:
                raise DatasetError(f"{sample.image}: {error}") from error
            cells.append(np.stack([np.full(len(channels), row), channels], axis=1).astype(np.int32))
            found.append(centres.numpy().astype(np.float32).swapaxes(0, 1))
        where, centres_found = np.concatenate(cells), np.concatenate(found)
        if self._store is not None:
            self._store.write_cells(where, centres_found)
        self._centres[where[:, 0], where[:, 1]] = centres_found[:, self._way]
        self._known[where[:, 0], where[:, 1]] = True
        self.computed += len(where)
