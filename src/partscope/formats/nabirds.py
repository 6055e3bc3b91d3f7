"""NABirds: the layout of CUB-200-2011 (see :mod:`partscope.formats.cub`) with two more tables.

`sizes.txt` holds each image's width and height, against which the file is checked. `hierarchy.txt` holds for each class the one
above it; by default the classes of `image_class_labels.txt` are the labels, with `depth` those so many steps below the root.
Ids of images are UUIDs, parts are numbered from 0.

Positions are whole pixels and taken as given, as CUB's are: the data set states no origin.

What is lost in writing: the hierarchy, which is written with one step; partial boxes, classes or splits are refused, as in CUB.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from pathlib import Path

from partscope.dataset import PartDataset, Skipped
from partscope.errors import AnnotationError, DatasetError, OptionError
from partscope.formats.cub import read_cub
from partscope.formats.cub_writer import annotation_tables, one_name_each, write_tables
from partscope.formats.reading import Faults, number, read_mapping, relative_name
from partscope.formats.registry import reader, writer
from partscope.formats.writing import Written, check_unicode

FOLDER_NAME = "nabirds"
#: The root of the classes that is written.
_ROOT = "0"


def _recognise(path: Path) -> bool:
    return _find_folder(path) is not None


def _find_folder(path: Path) -> Path | None:
    for folder in (path, path / FOLDER_NAME):
        if (folder / "images.txt").is_file() and (folder / "sizes.txt").is_file():
            return folder
    return None


@reader(
    "nabirds",
    looks_for="a folder with images.txt and sizes.txt",
    recognise=_recognise,
    folder=True,
)
def read_nabirds(path: str | Path, on_error: str = "raise", depth: int | None = None) -> PartDataset:
    """Read NABirds, or any data set in its layout.

    Parameters
    ----------
    path: the folder that holds `images.txt`, or the one above it that holds `nabirds/`.
    on_error: as :func:`partscope.formats.cub.read_cub`.
    depth: label images by the class so many steps below the root of `hierarchy.txt`, or by their own where that is nearer to
        the root; by default always by their own.

    Raises
    ------
    AnnotationError: as :func:`partscope.formats.cub.read_cub`; an image has another size than `sizes.txt` says; the hierarchy
        does not name a class, or runs in a circle.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.cub.read_cub`; `depth` is negative.
    """
    folder = _find_folder(Path(path))
    if folder is None:
        raise AnnotationError(
            f"{path}: neither this folder nor {FOLDER_NAME} in it holds images.txt and sizes.txt; give the folder "
            "that holds them."
        )
    if depth is not None and depth < 0:
        raise OptionError(f"depth must be 0 or more, not {depth}.")
    dataset = read_cub(folder, on_error)
    faults = Faults(on_error)
    rows = read_mapping(
        folder / "images.txt", 2, "image id and path", lambda fields: fields[0], Faults("skip")
    )
    names = {relative_name(text): image for image, (_, text) in rows.items() if ".." not in text}
    sizes = read_mapping(folder / "sizes.txt", 3, "image id, width and height", _size, faults, set(rows))
    ancestors = {} if depth is None else _ancestors(folder, depth, faults, set(rows))
    samples = []
    for sample in dataset:
        image = names[sample.id]
        try:
            if image not in sizes:
                raise AnnotationError(
                    f"{folder / 'sizes.txt'}: image {image} ({sample.id}) has no line; add it."
                )
            line, size = sizes[image]
            if size != sample.size:
                raise AnnotationError(
                    f"{folder / 'sizes.txt'}, line {line}: {sample.id} has {size[0]}×{size[1]} pixels here but "
                    f"{sample.size[0]}×{sample.size[1]} in its file; restore the image."
                )
        except DatasetError as error:
            faults.add(image, error)
            continue
        if image not in faults:
            label = ancestors.get(image, sample.label)
            samples.append(dataclasses.replace(sample, label=label))
    splits = {names[sample.id]: sample.split for sample in dataset if sample.split is not None}
    titles = {image: name for name, image in names.items()}
    skipped: tuple[Skipped, ...] = faults.skipped(titles, splits)
    if not samples:
        raise DatasetError(
            f"{folder}: no image is left, {len(skipped)} were skipped; the first: {skipped[0].reason}"
        )
    return dataclasses.replace(dataset, samples=tuple(samples), skipped=(*dataset.skipped, *skipped))


def _size(fields: list[str]) -> tuple[int, int]:
    width, height = (int(number(field)) for field in fields)
    return width, height


def _ancestors(folder: Path, depth: int, faults: Faults, images: set[str]) -> dict[str, str]:
    """Return for each image the name of the class `depth` steps below the root."""
    file = folder / "hierarchy.txt"
    parents = {
        child: parent
        for child, (_, parent) in read_mapping(
            file, 2, "class id and the one above", _text, Faults("raise")
        ).items()
    }
    names = read_mapping(folder / "classes.txt", 2, "class id and name", _text, Faults("raise"))
    labels = read_mapping(
        folder / "image_class_labels.txt", 2, "image id and class id", _text, faults, images
    )
    found = {}
    for image, (_, label) in labels.items():
        way = _way(file, label, parents)
        above = way[max(len(way) - 1 - depth, 0)]
        if above not in names:
            raise AnnotationError(
                f"{file}: the class id {above!r} is not listed in classes.txt; list it there."
            )
        found[image] = names[above][1]
    return found


def _way(file: Path, label: str, parents: Mapping[str, str]) -> list[str]:
    """Return the classes from one up to its root."""
    way = [label]
    while way[-1] in parents:
        way.append(parents[way[-1]])
        if len(way) > len(parents) + 1:
            raise AnnotationError(f"{file}: the classes above {label!r} run in a circle; correct the table.")
    return way


def _text(fields: list[str]) -> str:
    return fields[0]


@writer("nabirds")
def write_nabirds(dataset: PartDataset, path: str | Path) -> Written:
    """Write a data set in the layout of NABirds; images belong in `images/`. Their ids are UUIDs made of their names.

    Raises
    ------
    DatasetError, PartscopeError: as :func:`partscope.formats.cub_writer.write_cub`.
    """
    dataset, images, lost = one_name_each(dataset, "nabirds")
    for sample in dataset:
        check_unicode(sample.id)
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, sample.id)) for sample in dataset]
    tables = annotation_tables(dataset, ids, first_part=0)
    tables["sizes.txt"] = [
        f"{image} {int(sample.size[0])} {int(sample.size[1])}"
        for image, sample in zip(ids, dataset, strict=True)
    ]
    classes = tables["classes.txt"]
    tables["hierarchy.txt"] = (
        None if classes is None else [f"{line.split(' ', 1)[0]} {_ROOT}" for line in classes]
    )
    if classes is not None:
        tables["classes.txt"] = [f"{_ROOT} all", *classes]
    write_tables(Path(path), tables)
    return Written(lost, images)
