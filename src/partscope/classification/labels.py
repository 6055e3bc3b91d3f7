"""Class names: where they come from, and what is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.classification.scenes import ImagesLike, as_samples
from partscope.dataset import Sample
from partscope.errors import DatasetError


def labels_of(images: ImagesLike, y: Sequence[Any] | ArrayLike | None) -> NDArray[Any]:
    """Return the class names (N,) of images: `y`, or the labels of the samples.

    Raises
    ------
    DatasetError: a label is missing, or there are more or fewer than images.
    """
    samples: tuple[Sample, ...] | None = as_samples(images)
    if y is None:
        if samples is None:
            raise DatasetError("the class names are missing: give fit(X, y), or a data set with labels.")
        for sample in samples:
            if not (sample.label or "").strip():
                raise DatasetError(
                    f"{sample.id}: the image has no class name; label it, leave it out, or give fit(X, y)."
                )
        return np.array([sample.label for sample in samples], dtype=str)
    labels = np.asarray(y)
    count = len(images) if isinstance(images, (Sequence, np.ndarray)) else len(labels)
    if labels.ndim != 1 or len(labels) != count:
        raise DatasetError(
            f"there are class names of shape {labels.shape} for {count} images; give one per image."
        )
    return checked_labels(labels, count)


def checked_labels(labels: Sequence[Any] | NDArray[Any], count: int) -> NDArray[Any]:
    """Return `count` class names (or numbers) as an array.

    Raises
    ------
    DatasetError: another number of labels, or one that is missing: None, empty or NaN.
    """
    names = list(labels)
    if len(names) != count:
        raise DatasetError(f"there are {len(names)} labels for {count} rows of features.")
    for row, name in enumerate(names):
        if name is None or name != name or not str(name).strip():  # NaN differs from itself
            raise DatasetError(f"row {row} has no label; give every training image a class.")
    return np.asarray(names)


def check_classes(labels: Sequence[Any] | NDArray[Any]) -> int:
    """Return the number of images of the smallest class, at least two, from one label per training image.

    Raises
    ------
    DatasetError: a label is missing, there is one class only, or a class has fewer than two images.
    """
    classes, counts = np.unique(checked_labels(labels, len(labels)), return_counts=True)
    if len(classes) < 2:
        raise DatasetError(
            f"all {counts.sum()} training images belong to one class ({', '.join(map(repr, classes.tolist())) or 'none'}); "
            "a classifier needs at least two."
        )
    few = [repr(name) for name, count in zip(classes.tolist(), counts.tolist(), strict=True) if count < 2]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        what = "class" if len(few) == 1 else "classes"
        raise DatasetError(
            f"fewer than two training images in the {what} {', '.join(few[:5])}{more}; add images or leave the {what} out."
        )
    return int(counts.min())
