"""Arrangements as shapes: part positions relative to the object's own place and size, with their mirror images.

The unit of length in an image of W×H pixels is √(W·H), so that a shape keeps its form whatever the image's aspect. An
object's size is the diagonal of the rectangle around its visible parts, its place that rectangle's centre: both come from
the annotation of the parts alone, so no bounding box is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Size of an object, relative to √(W·H), where no training image shows two parts.
LONE_PART_SIZE = 0.3
#: Weight of visibility beside position where shapes are compared.
VISIBILITY_WEIGHT = 0.3


@dataclass(frozen=True, eq=False)
class Shapes:
    """E training arrangements and their mirror images, and K groups of them.

    Parameters
    ----------
    offsets: (E, P, 2) part positions relative to the object's place, in object sizes; 0 where not visible.
    visible: (E, P) 1 where visible, else 0.
    source: (E,) index of the training image.
    group: (E,) index of the group.
    group_offsets: (K, P, 2) mean offsets of the groups' visible parts.
    group_visible: (K, P) share of visible parts.
    size_mean, size_spread: of the logarithm of the object size relative to √(W·H).
    sizes: (S,) object sizes that the coarse search tries.
    """

    offsets: FloatArray
    visible: FloatArray
    source: NDArray[np.int64]
    group: NDArray[np.int64]
    group_offsets: FloatArray
    group_visible: FloatArray
    size_mean: float
    size_spread: float
    sizes: FloatArray


def make_shapes(
    points: FloatArray,
    visible: BoolArray,
    sizes: FloatArray,
    mirror: NDArray[np.intp],
    groups: int,
    scales: int,
) -> Shapes:
    """Turn training arrangements into shapes.

    Parameters
    ----------
    points: (N, P, 2) in [0, 1] of the image; at least one image shows a part.
    visible: (N, P).
    sizes: (N, 2) width and height of the images in pixels.
    mirror: (P,) the part that each part becomes in a mirrored image.
    groups, scales: at most how many groups of similar shapes, and how many object sizes.
    """
    used = np.flatnonzero(visible.any(axis=1))
    seen = visible[used]
    place = np.where(
        seen[..., None], points[used] * (sizes[used] / unit_of(sizes[used])[:, None])[:, None], np.nan
    )
    low, high = np.nanmin(place, axis=1), np.nanmax(place, axis=1)
    size = np.hypot(*(high - low).T)
    known = size > 0
    size = np.where(known, size, np.median(size[known]) if known.any() else LONE_PART_SIZE)
    offsets = (place - ((low + high) / 2)[:, None]) / size[:, None, None]
    offsets = np.nan_to_num(np.concatenate([offsets, offsets[:, mirror] * (-1.0, 1.0)]))
    both = np.concatenate([seen, seen[:, mirror]]).astype(np.float64)
    group = _groups(offsets, both, groups)
    members = np.eye(group.max() + 1)[group].T  # (K, E)
    shown = members @ both
    log_size = np.log(size)
    ends = np.quantile(log_size, [0.02, 0.98])
    return Shapes(
        offsets=offsets,
        visible=both,
        source=np.concatenate([used, used]).astype(np.int64),
        group=group,
        group_offsets=np.einsum("ke,epd->kpd", members, offsets) / np.maximum(shown, 1)[..., None],
        group_visible=shown / members.sum(axis=1, keepdims=True),
        size_mean=float(log_size.mean()),
        size_spread=float(log_size.std()) + 0.1,
        sizes=np.exp(np.linspace(ends[0] - 0.05, ends[1] + 0.05, scales)),
    )


def unit_of(size: FloatArray) -> FloatArray:
    """Return √(W·H) of image sizes (…, 2): the unit of length of shapes."""
    return np.asarray(np.sqrt(size[..., 0] * size[..., 1]))


def _groups(offsets: FloatArray, visible: FloatArray, groups: int) -> NDArray[np.int64]:
    """Return the group of each shape by k-means, parts that are not visible standing at their mean."""
    mean = offsets.sum(axis=0) / np.maximum(visible.sum(axis=0), 1)[:, None]
    filled = np.where(visible[..., None] > 0, offsets, mean)
    features = np.concatenate([filled.reshape(len(filled), -1), VISIBILITY_WEIGHT * visible], axis=1)
    count = min(groups, len(np.unique(features.round(9), axis=0)))
    found = KMeans(count, n_init=1, max_iter=30, random_state=0).fit(features).labels_
    return np.asarray(np.unique(found, return_inverse=True)[1], dtype=np.int64)
