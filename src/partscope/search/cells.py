"""Where a search gets its centres from: a recorded table here, a network in :mod:`partscope.search.network`.

A *cell* is one channel in one image. A search asks for cells in rounds; what an image is asked for in one round shares one
forward pass.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.int64]


class Cells(Protocol):
    """A table of centres that is filled as it is asked for.

    Attributes
    ----------
    shape: `(N, K)`, images and channels.
    """

    @property
    def shape(self) -> tuple[int, int]: ...

    def look(self, images: IntArray, channels: IntArray) -> NDArray[np.float32]:
        """Return the centres (M, 2) of M cells, `(x, y)` in image pixels, NaN where a channel has no centre.

        Cells are given by the positions of their image and channel, each once, ordered by image and then by channel.
        """
        ...


class RecordedCells:
    """Centres that are known already: searches are replayed on them at no cost.

    Parameters
    ----------
    centres: (N, K, 2).
    """

    def __init__(self, centres: ArrayLike) -> None:
        self.centres: NDArray[np.float32] = np.asarray(centres, dtype=np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        return self.centres.shape[0], self.centres.shape[1]

    def look(self, images: IntArray, channels: IntArray) -> NDArray[np.float32]:
        """See :class:`Cells`."""
        return self.centres[images, channels]
