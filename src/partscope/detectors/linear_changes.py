"""What may be added to, taken from and merged with a fitted linear detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from partscope.dataset import PartDataset
from partscope.errors import DatasetError, OptionError
from partscope.linear.record import TrainingRecord

if TYPE_CHECKING:
    from partscope.detectors.linear import LinearDetector


def matching(detector: LinearDetector, dataset: PartDataset) -> PartDataset:
    """Return a data set with its parts in the detector's order.

    Raises
    ------
    DatasetError: no data set, or one without images.
    OptionError: other parts, or other pairs of left and right, which mirror images would mix up.
    """
    if not isinstance(dataset, PartDataset):
        raise DatasetError(
            f"a PartDataset is needed, not {type(dataset).__name__}; make one with load_dataset or dataset_from_arrays."
        )
    if not len(dataset):
        raise DatasetError(f"{dataset.name}: there is no image; give at least one with its parts.")
    if set(dataset.parts) != set(detector.parts_):
        raise OptionError(
            f"{dataset.name}: its parts are not those of the detector ({', '.join(detector.parts_)}); give the same parts."
        )
    ordered = dataset.with_parts(detector.parts_)
    if not np.array_equal(ordered.mirror, detector.mirror_):
        raise OptionError(
            f"{dataset.name}: its pairs of left and right parts are not those of the detector; give the same pairs."
        )
    return ordered


def check_learned_from(record: TrainingRecord, dataset: PartDataset, *, boxes: bool) -> None:
    """Check that the images have the annotation that was learned: taking away another one would spoil the sums.

    Parameters
    ----------
    boxes: whether the network saw the boxes alone.

    Raises
    ------
    OptionError: the marked parts (or boxes) of an image are others.
    """
    position = {name: index for index, name in enumerate(record.ids)}
    rows = [position[name] for name in dataset.ids]
    same = (record.visible[rows] == dataset.visible).all(axis=1)
    marked = dataset.visible[..., None]
    there, here = np.where(marked, record.points[rows], 0.0), np.where(marked, dataset.points, 0.0)
    same &= (there == here).all(axis=(1, 2))
    if boxes:
        same &= (record.boxes[rows] == dataset.boxes).all(axis=1)
    if not same.all():
        raise OptionError(
            f"{int((~same).sum())} images have another annotation than the one that was learned, among them "
            f"{dataset.ids[int(np.argmin(same))]}; give them as they were."
        )


def check_mergeable(detector: LinearDetector, other: LinearDetector) -> None:
    """Raise an OptionError where another detector's sums are not of the same features and parts."""
    if (
        other.parts_ != detector.parts_
        or not np.array_equal(other.mirror_, detector.mirror_)
        or other._feature_options() != detector._feature_options()
    ):
        raise OptionError(
            "only detectors with the same network, layers, region, flips, parts and pairs of parts can be merged; fit the "
            "shards with the same options, and flips=True, 'mapped' or False."
        )
