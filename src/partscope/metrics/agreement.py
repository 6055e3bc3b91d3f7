"""Agreement of discovered with named parts over keypoints: NMI and ARI (protocol, section 5).

Each visible keypoint of a test image is labelled with the discovered part whose evidence is strongest at its position. How
well these labels tell the true part names apart is what NMI and ARI measure; neither needs a map from one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from partscope.errors import DatasetError


@dataclass(frozen=True)
class Agreement:
    """How well discovered parts go with named ones.

    Parameters
    ----------
    nmi: normalised mutual information (arithmetic mean of the entropies), in [0, 1].
    ari: adjusted Rand index, at most 1; 0 is expected of chance.
    keypoints: number of keypoints that were labelled.
    """

    nmi: float
    ari: float
    keypoints: int


def strongest_part(maps: ArrayLike, points: ArrayLike) -> NDArray[np.intp]:
    """Return the part whose map is largest at each point.

    Parameters
    ----------
    maps: (K, h, w) evidence, comparable between the parts; read bilinearly between the cells' centres, and beyond the
        outermost centres as on them.
    points: (M, 2) `(x, y)` as shares of the maps' width and height.

    Returns
    -------
    (M,) integers below K; the first of several that are equal.

    Raises
    ------
    DatasetError: shapes do not fit, or a value is not finite.
    """
    values, places = np.asarray(maps, dtype=np.float64), np.asarray(points, dtype=np.float64)
    if values.ndim != 3 or not len(values) or places.ndim != 2 or places.shape[1] != 2:
        raise DatasetError(
            f"strongest part: maps (K, h, w) and points (M, 2) are needed, not {values.shape} and {places.shape}."
        )
    if not (np.isfinite(values).all() and np.isfinite(places).all()):
        raise DatasetError("strongest part: maps and points must be finite; leave out what is not visible.")
    rows, columns = values.shape[1:]
    at = np.stack([places[:, 1] * rows - 0.5, places[:, 0] * columns - 0.5])
    read = np.stack([map_coordinates(part, at, order=1, mode="nearest") for part in values])
    return np.asarray(read.argmax(axis=0))


def part_agreement(discovered: ArrayLike, named: ArrayLike) -> Agreement:
    """Return the agreement of labels of keypoints.

    Parameters
    ----------
    discovered: (M,) discovered part of each keypoint.
    named: (M,) true part of each keypoint.

    Raises
    ------
    DatasetError: the lengths differ, or there is no keypoint.
    """
    found, true = np.asarray(discovered), np.asarray(named)
    if found.ndim != 1 or found.shape != true.shape or not len(found):
        raise DatasetError(
            f"agreement: one discovered and one true part per keypoint are needed, not {found.shape} and {true.shape}."
        )
    return Agreement(
        float(normalized_mutual_info_score(true, found)), float(adjusted_rand_score(true, found)), len(found)
    )
