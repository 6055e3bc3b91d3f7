"""What is checked before hours are spent: classes, boxes, and whether the images can be read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from partscope.classification.labels import check_classes, labels_of
from partscope.dataset import PartDataset, Skipped
from partscope.detectors import PartDetector
from partscope.detectors.queries import Query, check_on_error
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.table2.rows import REGIONS


def readable(dataset: PartDataset, on_error: str) -> tuple[PartDataset, tuple[Skipped, ...]]:
    """Return the images that can be read, and the others with the reason.

    With `on_error="skip"` all are decoded once, so that every row is measured on the same images; with `"raise"` the first
    row finds the first bad image.
    """
    check_on_error(on_error)
    if on_error == "raise":
        return dataset, ()
    failures: list[Skipped] = []
    kept: list[int] = []
    for i, sample in enumerate(dataset):
        try:
            Query.of(sample).open()
        except (ImageError, DatasetError) as error:
            failures.append(Skipped(sample.id, str(error)))
        else:
            kept.append(i)
    return (dataset[kept], tuple(failures)) if failures else (dataset, ())


def check_labels(train: PartDataset, test: PartDataset) -> None:
    """Refuse data that no classifier can be trained and tested on.

    Raises
    ------
    DatasetError: there is no image; a class name is missing; a class has fewer than two training images, or there is one
        class only; a test image's class has no training image.
    """
    for what, data in (("training", train), ("test", test)):
        if not len(data):
            raise DatasetError(f"{data.name}: there is no {what} image; check the split.")
    trained = labels_of(train, None)
    labels_of(test, None)
    check_classes(trained)
    known = set(trained.tolist())
    for sample in test:
        if sample.label not in known:
            raise DatasetError(
                f"{sample.id}: the test image's class {sample.label!r} has no training image; add some, or leave the class out."
            )


def usable_regions(
    wanted: Sequence[str] | None,
    splits: Sequence[PartDataset],
    detectors: tuple[PartDetector | None, PartDetector | None],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the regions to measure, and a remark where rows with the box are left out.

    Raises
    ------
    DatasetError: rows with the box are asked for and an image has none.
    OptionError: unknown region, or a detector that searches something else than its region.
    """
    for region in wanted or ():
        if region not in REGIONS:
            raise OptionError(f"regions must be some of {', '.join(REGIONS)}, not {region!r}.")
    for given, needs_box, name in zip(detectors, (False, True), ("detector", "box_detector"), strict=True):
        if given is None:
            continue
        if not hasattr(given, "train_ids_"):
            raise OptionError(f"{name} is not fitted; fit it, or leave it out to have one fitted here.")
        if given.needs_box != needs_box:
            raise OptionError(
                f"{name} must search the {'box' if needs_box else 'whole image'}, and this one searches the "
                f"{'whole image' if needs_box else 'box'}; give it as {'detector' if needs_box else 'box_detector'}."
            )
    without = [s.id for data in splits for s in data if s.box is None]
    if not without:
        return tuple(wanted or REGIONS), ()
    if wanted is not None and "crop" in wanted:
        raise DatasetError(
            f"{without[0]}: the image has no bounding box, which the rows with the box need; add one, or measure the region "
            "'image' alone."
        )
    total = int(np.sum([len(data) for data in splits]))
    return ("image",), (
        f"{len(without)} of {total} images have no bounding box, so the rows with the box are left out",
    )
