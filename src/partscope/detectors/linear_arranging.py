"""The linear detector's arrangement: learned from held-out evidence and from the features where parts were found."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partscope.arrangement import Arrangement
from partscope.errors import PartscopeWarning
from partscope.grids import FeatureGrids
from partscope.linear.mirroring import MirrorMap
from partscope.linear.record import TrainingRecord
from partscope.linear.shrinkage import HeldImage


def features_at(
    grids: FeatureGrids, maps: Sequence[Tensor], places: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the features (P, F) of every layer, without context, at points (P, 2) as shares of the input's side."""
    return replace(grids, context=()).sample(maps, np.clip(places, 0.0, 1.0))


def with_mirror_images(
    features: NDArray[np.float32], mirroring: MirrorMap | None, mirror: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return features (..., P, F) and those of the mirror images, (..., 2, P, F); (..., 1, P, F) where they are unknown."""
    if mirroring is None:
        return features[..., None, :, :]
    return np.stack([features, mirroring.cells(features)[..., mirror, :]], axis=-3)


def arrange(
    record: TrainingRecord,
    grids: FeatureGrids,
    region: str,
    mirror: NDArray[np.intp],
    mirroring: MirrorMap | None,
    fresh: Sequence[HeldImage],
) -> tuple[Arrangement | None, TrainingRecord]:
    """Learn the arrangement of the parts from the images that have held-out evidence.

    Parameters
    ----------
    region: what the network saw, see :mod:`partscope.views`.
    mirror: (P,) the part that each part becomes in a mirrored image.
    fresh: the last of these images; their features at the points found are taken from their maps and noted in the record.
        Of the others it has them, unless they were learned from without an arrangement; such images are left out.

    Returns
    -------
    The arrangement, None where there is nothing to learn it from, and the record with all features.
    """
    old = int(record.held.sum()) - len(fresh)
    known = record.described
    known[old:] = True
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} of {len(known)} held-out images were learned without an arrangement; it is learned from "
            "the others.",
            PartscopeWarning,
            stacklevel=5,
        )
    rows = np.flatnonzero(known)
    visible = record.visible[record.held][known]
    if len(visible) < 2 or not visible.any():
        warnings.warn(
            f"the arrangement of the parts needs two held-out images that show parts, and there are {len(visible)}: each part "
            "is placed by its own evidence, without an expected error; give more images, or more memory.",
            PartscopeWarning,
            stacklevel=5,
        )
        return None, record
    origin, extent = np.zeros((len(record), 2)), record.sizes
    if region == "crop":
        origin, extent = record.boxes[:, :2], record.boxes[:, 2:]
    points = (record.points - origin[:, None]) / extent[:, None]
    noted: list[NDArray[np.float16]] = []

    def describe(index: int, places: NDArray[np.float64]) -> NDArray[np.float32]:
        row = int(rows[index])
        if row < old:
            noted.append(record.features[row])
        else:
            limit = float(np.finfo(np.float16).max)
            found = features_at(grids, fresh[row - old].maps, places)
            noted.append(np.clip(found, -limit, limit).astype(np.float16))
        return with_mirror_images(noted[-1].astype(np.float32), mirroring, mirror)

    arrangement = Arrangement.fit(
        points[record.held][known],
        visible,
        extent[record.held][known],
        mirror,
        record.evidence[known].astype(np.float32),
        record.boxes[record.held][known] if region == "image" else None,
        describe,
    )
    features = np.full((len(known), *noted[0].shape), np.nan, dtype=np.float16)
    features[rows] = noted
    return arrangement, replace(record, features=features)
