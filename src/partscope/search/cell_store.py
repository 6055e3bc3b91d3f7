"""A scan's folder that also keeps single cells: what a search looked at, beside the blocks of an exhaustive scan.

A file holds the cells of a few images of one round, `(image, channel)` and their centres. Cells are facts, whichever search asked
for them: a search that was killed, and another search in the same folder, find them again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from partscope.errors import PartscopeWarning
from partscope.places import exists, files_in, local_copy, remove
from partscope.scan_store import ScanStore

_KEY = "cells"


class CellStore(ScanStore):
    """Reads and writes cells in the folder of a scan of all channels; parameters and errors as :class:`ScanStore`."""

    def read_cells(self, shape: tuple[int, int, int]) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Return what is kept: cells (M, 2) and centres (M, R, 2) of each file, in the order of writing.

        A damaged file is removed with a warning, so that its cells are computed again.

        Parameters
        ----------
        shape: numbers of images, channels and ways from a channel to a point, (N, K, R).
        """
        kept = []
        for file in files_in(self.folder, "cells-*.safetensors"):
            try:
                kept.append(_read(file, shape))
            except MemoryError:
                raise
            except Exception as error:  # whatever damaged bytes lead the reader to
                warnings.warn(
                    f"{file}: the cells are damaged ({error}) and are computed again.",
                    PartscopeWarning,
                    stacklevel=2,
                )
                remove(file)
        return kept

    def write_cells(self, cells: NDArray[np.int32], centres: NDArray[np.float32]) -> None:
        """Write cells (M, 2) with their centres (M, R, 2) to the first file that is not there; a ScanError if it fails."""
        index = 0
        while exists(file := self.folder / f"cells-{index:06d}.safetensors"):
            index += 1
        cells, centres = np.ascontiguousarray(cells), np.ascontiguousarray(centres)
        facts = json.dumps({"sha256": _checksum(cells, centres)})
        self._write(file, save({"cells": cells, "centres": centres}, {_KEY: facts}))


def _read(file: Path, shape: tuple[int, int, int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    images, channels, ways = shape
    with local_copy(file) as copy, safe_open(copy, framework="numpy") as content:
        cells, centres = content.get_tensor("cells"), content.get_tensor("centres")
        facts = json.loads((content.metadata() or {})[_KEY])
    if cells.dtype != np.int32 or centres.dtype != np.float32 or centres.shape != (len(cells), ways, 2):
        raise ValueError(f"{len(cells)} cells with centres of shape {centres.shape}")
    if facts["sha256"] != _checksum(cells, centres):
        raise ValueError("its checksum does not fit its content")
    if cells.shape != (len(cells), 2) or (cells < 0).any() or (cells >= (images, channels)).any():
        raise ValueError("it holds cells that the scan does not have")
    return cells, centres


def _checksum(cells: NDArray[np.int32], centres: NDArray[np.float32]) -> str:
    digest = hashlib.sha256(cells.tobytes())
    digest.update(centres.tobytes())
    return digest.hexdigest()
