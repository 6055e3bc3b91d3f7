"""Gradient histograms on a grid of cells, as part models use them, and their mirror image.

A cell has 13 values: the histogram of 9 unsigned orientations under each of the four block norms that a cell takes part in,
summed over the norms (9 values) and over the orientations (4 values). These are the contrast-insensitive ones of the 31
values of Felzenszwalb et al. (2010); the contrast-sensitive ones need signed orientations, which scikit-image's HOG has not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import hog

from partscope.dataset import FloatArray
from partscope.detectors.queries import Box

CellArray = NDArray[np.float32]

#: Side of a cell in pixels.
CELL = 8
_ORIENTATIONS = 9
#: Values of a cell: 9 orientations and 4 block norms.
DEPTH = _ORIENTATIONS + 4
#: Bin k of a mirrored image is bin 8 − k; of the four norms (up-left, up-right, down-left, down-right) the sides change.
_MIRROR = np.array([*range(_ORIENTATIONS - 1, -1, -1), *(_ORIENTATIONS + np.array([1, 0, 3, 2]))])


def hog_cells(grey: FloatArray) -> CellArray:
    """Describe a (h, w) grey image, in whole cells of 8 pixels, by (h/8 − 2, w/8 − 2, 13) float32: its inner cells."""
    blocks = hog(
        np.ascontiguousarray(grey),
        orientations=_ORIENTATIONS,
        pixels_per_cell=(CELL, CELL),
        cells_per_block=(2, 2),
        block_norm="L2-Hys",
        feature_vector=False,
    )
    # The cell in the middle of 2×2 blocks is the last cell of the first block, …, the first cell of the last one.
    norms = np.stack(
        [
            blocks[:-1, :-1, 1, 1],
            blocks[:-1, 1:, 1, 0],
            blocks[1:, :-1, 0, 1],
            blocks[1:, 1:, 0, 0],
        ],
        axis=2,
    )
    return np.concatenate([norms.sum(axis=2), norms.sum(axis=3)], axis=2).astype(np.float32)


def mirror_cells(cells: CellArray) -> CellArray:
    """Return the cells (…, h, w, 13) of the mirrored image.

    It is exact but for gradients on the edge of an orientation bin; those of the outermost rows are taken as horizontal, which
    is such an edge, and touch the norms of the outer cells.
    """
    return cells[..., ::-1, :][..., _MIRROR]


def grey_crop(image: Image.Image, box: Box, side: int, margin: int) -> FloatArray:
    """Warp a box to `side` × `side` grey pixels with `margin` pixels of its surroundings on every side.

    Beyond the border of the image there is its reflection: pixels repeated in rows would have exactly horizontal gradients,
    which are on the edge of an orientation bin and do not mirror.

    Parameters
    ----------
    image: upright RGB image.
    box: `(x, y, width, height)` in pixels, with area inside the image.
    side, margin: pixels of the warped box.

    Returns
    -------
    (side + 2·margin, side + 2·margin) float64, values 0 to 255.
    """
    starts, sizes, pads = [], [], []
    for start, length, limit in ((box[0], box[2], image.width), (box[1], box[3], image.height)):
        scale = side / length
        low = max(start - margin / scale, 0.0)
        high = min(start + length + margin / scale, float(limit))
        before = int(np.clip(np.rint(margin - (start - low) * scale), 0, side + margin - 1))
        size = int(np.clip(np.rint((high - low) * scale), 1, side + 2 * margin - before))
        starts.append((low, high))
        sizes.append(size)
        pads.append((before, side + 2 * margin - before - size))
    (left, right), (top, bottom) = starts
    # In floats, not rounded to whole grey values: gradients are then rarely exactly horizontal, and mirror exactly.
    grey = image.convert("L").convert("F")
    warped = grey.resize((sizes[0], sizes[1]), Image.Resampling.BILINEAR, (left, top, right, bottom))
    return np.pad(np.asarray(warped, dtype=np.float64), (pads[1], pads[0]), mode="symmetric")
