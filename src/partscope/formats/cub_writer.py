"""Writing a data set's annotations in the layout of CUB-200-2011 (see :mod:`partscope.formats.cub`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError
from partscope.formats.reading import relative_name
from partscope.formats.registry import writer
from partscope.formats.writing import Losses, Written, check_unicode, make_folder, named, one_object_each

#: Samples with the ids of their images.
Rows = Sequence[tuple[str, Sample]]

_SPLITS = {"train": 1, "test": 0}


@writer("cub")
def write_cub(dataset: PartDataset, path: str | Path) -> Written:
    """Write a data set in the layout of CUB-200-2011 (see :func:`write_cub_annotations`); images belong in `images/`.

    Raises
    ------
    DatasetError, PartscopeError: as :func:`write_cub_annotations`; an image holds several objects.
    """
    dataset, images, lost = one_name_each(dataset, "cub")
    write_cub_annotations(dataset, path)
    return Written(lost, images)


def one_name_each(dataset: PartDataset, format: str) -> tuple[PartDataset, dict[str, Path], tuple[str, ...]]:
    """Return the data set with its images' names as ids, where the images belong, and what that loses."""
    items, losses = named(dataset), Losses()
    one_object_each(items, format)
    losses.without(items, "instance")
    samples = tuple(dataclasses.replace(item.sample, id=item.image) for item in items)
    images = {f"images/{item.image}": item.sample.image for item in items}
    return dataclasses.replace(dataset, samples=samples), images, losses.texts()


def write_cub_annotations(dataset: PartDataset, folder: str | Path) -> None:
    """Write the annotation tables of `dataset` to `folder`, which is created; the image files are the caller's.

    Images, parts and classes are numbered from 1, images and parts in the data set's order and classes by name. The image
    paths are the samples' ids: the file of a sample belongs at `folder/images/<id>`. Positions and boxes are written as
    the shortest text that reads back as the same float64; a part that is not visible as `0.0 0.0 0`. Tables for boxes,
    labels and splits are left out where no sample has one.

    Raises
    ------
    DatasetError: the layout cannot hold the data set: it has no sample, an id is no path below a folder, a name holds a
        line break, only some samples have a box, label or split, a split is neither `train` nor `test`; or `folder` holds
        a table of another data set that this one would leave standing.
    PartscopeError: a file cannot be written.
    """
    ids = [str(i) for i in range(1, len(dataset) + 1)]
    write_tables(Path(folder), annotation_tables(dataset, ids))


def annotation_tables(
    dataset: PartDataset, ids: Sequence[str], first_part: int = 1
) -> dict[str, list[str] | None]:
    """Return the lines of each table, None for one that the data set does not need.

    Parameters
    ----------
    ids: N ids of the images.
    first_part: the number of the first part.

    Raises
    ------
    DatasetError: as :func:`write_cub_annotations`.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.name}: there is no image to write.")
    for sample in dataset:
        if relative_name(sample.id) != sample.id:
            raise DatasetError(
                f"{sample.id!r}: the id must be the image's path in its shortest form to be written."
            )
    for name in (*dataset.parts, *dataset.ids, *(label for label in dataset.labels if label is not None)):
        _check_name(name)
    rows = list(zip(ids, dataset, strict=True))
    return {
        "images.txt": [f"{i} {sample.id}" for i, sample in rows],
        "parts/parts.txt": [f"{p} {name}" for p, name in enumerate(dataset.parts, start=first_part)],
        "parts/part_locs.txt": list(_location_lines(rows, first_part)),
        "bounding_boxes.txt": _box_lines(dataset, rows),
        **_class_tables(dataset, rows),
        "train_test_split.txt": _split_lines(dataset, rows),
    }


def write_tables(folder: Path, tables: dict[str, list[str] | None]) -> None:
    """Write the tables to the folder, which is created; errors as :func:`write_cub_annotations`."""
    for file, lines in tables.items():
        if lines is None and (folder / file).exists():
            raise DatasetError(
                f"{folder / file}: this table of another data set would be mixed with the new ones; "
                "remove it or choose an empty folder."
            )
    make_folder(folder / "parts")
    for file, lines in tables.items():
        if lines is not None:
            atomic_write(folder / file, "".join(f"{line}\n" for line in lines))


def _location_lines(rows: Rows, first_part: int) -> Iterable[str]:
    for i, sample in rows:
        for p, ((x, y), visible) in enumerate(
            zip(sample.points.tolist(), sample.visible, strict=True), start=first_part
        ):
            yield f"{i} {p} {x!r} {y!r} 1" if visible else f"{i} {p} 0.0 0.0 0"


def _box_lines(dataset: PartDataset, rows: Rows) -> list[str] | None:
    if not _all_or_none(dataset, "bounding box", [sample.box for sample in dataset]):
        return None
    return [f"{i} {' '.join(repr(value) for value in sample.box or ())}" for i, sample in rows]


def _class_tables(dataset: PartDataset, rows: Rows) -> dict[str, list[str] | None]:
    if not _all_or_none(dataset, "label", dataset.labels):
        return {"classes.txt": None, "image_class_labels.txt": None}
    number = {label: c for c, label in enumerate(sorted(set(map(str, dataset.labels))), start=1)}
    return {
        "classes.txt": [f"{c} {label}" for label, c in number.items()],
        "image_class_labels.txt": [f"{i} {number[str(sample.label)]}" for i, sample in rows],
    }


def _split_lines(dataset: PartDataset, rows: Rows) -> list[str] | None:
    if not _all_or_none(dataset, "split", [sample.split for sample in dataset]):
        return None
    for sample in dataset:
        if sample.split not in _SPLITS:
            raise DatasetError(
                f"{sample.id}: the CUB layout knows the splits train and test, not {sample.split!r}; rename it."
            )
    return [f"{i} {_SPLITS[str(sample.split)]}" for i, sample in rows]


def _all_or_none(dataset: PartDataset, what: str, values: Sequence[object]) -> bool:
    """Return whether the samples have the thing; an error where only some do, which the layout cannot say."""
    without = [sample.id for sample, value in zip(dataset, values, strict=True) if value is None]
    if without and len(without) < len(values):
        raise DatasetError(
            f"{without[0]}: has no {what} where other images have one; give it one or remove the others."
        )
    return not without


def _check_name(name: str) -> None:
    if not name or name != name.strip(" \t") or "\n" in name or "\r" in name:
        raise DatasetError(
            f"the name {name!r} cannot be written to a line of text; rename it without line breaks and outer blanks."
        )
    check_unicode(name)
