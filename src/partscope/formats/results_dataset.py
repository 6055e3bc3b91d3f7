"""Parts found as marked parts: to be written in any annotation format, corrected where people mark, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from partscope.dataset import PartDataset, Sample, clip_box
from partscope.errors import DatasetError
from partscope.formats.results import check_unique
from partscope.predictions import PartPredictions


def as_dataset(predictions: PartPredictions, files: Mapping[str, Path], sizes: ArrayLike) -> PartDataset:
    """Return a data set in which the parts that were found, and are believed to be visible, are marked.

    The predicted boxes become the objects' boxes, clipped to the images. Points outside their image count as not visible. Both
    are counted in `notes`; scores and expected errors have no place in a data set.

    Parameters
    ----------
    predictions: N images.
    files: the path of each image by its name.
    sizes: (N, 2) width and height of the upright images in pixels.

    Raises
    ------
    DatasetError: shapes do not fit, an image occurs twice, or its path is not given.
    """
    check_unique(predictions)
    rows = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if len(rows) != len(predictions):
        raise DatasetError(f"sizes must have shape ({len(predictions)}, 2), not {rows.shape}.")
    inside = np.asarray(((predictions.points >= 0) & (predictions.points <= rows[:, None])).all(axis=2))
    shown = np.asarray(predictions.found & predictions.visible)
    samples, clipped = [], 0
    for i, name in enumerate(predictions.ids):
        if name not in files:
            raise DatasetError(f"{name}: the path of the image is not given; add it.")
        size = int(rows[i, 0]), int(rows[i, 1])
        box = None
        if predictions.boxes is not None and np.isfinite(predictions.boxes[i]).all():
            x, y, width, height = predictions.boxes[i].tolist()
            if x < size[0] and y < size[1] and x + width > 0 and y + height > 0:
                box, changed = clip_box((x, y, width, height), size)
                clipped += changed
            else:
                clipped += 1
        samples.append(Sample(name, files[name], size, predictions.points[i], shown[i] & inside[i], box))
    outside = int((shown & ~inside).sum())
    notes = [
        f"{count} {what}"
        for count, what in (
            (outside, "parts were found outside their images and count as not visible."),
            (clipped, "predicted boxes overflow their images and were clipped to them or left out."),
        )
        if count
    ]
    return PartDataset(predictions.parts, tuple(samples), "located", notes=tuple(notes))
