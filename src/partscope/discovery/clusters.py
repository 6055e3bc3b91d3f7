"""Groups of object cells that look alike and lie alike: the first guess of the parts."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

from partscope.errors import DatasetError

#: Cells that are clustered at most; more cost time and change little.
MOST_CELLS = 16_000

#: Principal components of the standardised features that are kept.
COMPONENTS = 64

#: Weight of the position, in standard deviations, beside features of unit length.
POSITION = 0.5

#: Starts of k-means, of which the best is kept.
STARTS = 2


def cluster(
    features: NDArray[np.float32],
    positions: NDArray[np.float64],
    count: int,
    *,
    position: float = POSITION,
    random_state: int = 0,
) -> NDArray[np.intp]:
    """Divide cells into groups by k-means on the directions of their features and, beside these, their positions.

    Features are standardised, reduced to `COMPONENTS` principal components and brought to unit length, so that k-means
    compares directions ("spherical").

    Parameters
    ----------
    features: (M, D) of object cells.
    positions: (M, 2) relative to the object.
    count: number of groups K.
    position: weight of a position's standard deviation beside the features' length.
    random_state: seed of k-means' starts.

    Returns
    -------
    (M,) group of each cell; every group has one.

    Raises
    ------
    DatasetError: there are fewer different cells than groups.
    """
    spread = features.std(axis=0, dtype=np.float64)
    scaled = (features - features.mean(axis=0, dtype=np.float64)) / np.where(spread > 1e-6, spread, 1.0)
    kept = min(COMPONENTS, *scaled.shape)
    reduced = PCA(kept, svd_solver="randomized", random_state=random_state).fit_transform(scaled)
    length = np.linalg.norm(reduced, axis=1, keepdims=True)
    directions = reduced / np.maximum(length, 1e-9)
    deviation = positions.std(axis=0)
    placed = (positions - positions.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0)
    described = np.concatenate([directions, position * placed], axis=1).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # too few different cells: said below
        means = KMeans(count, n_init=STARTS, random_state=random_state).fit(described)
    groups = np.asarray(means.labels_, dtype=np.intp)
    different = len(np.unique(groups))
    if different < count:
        raise DatasetError(
            f"the objects in the training images have only {different} different cells, too few for {count} parts; give more "
            "images, or ask for fewer parts."
        )
    return groups
