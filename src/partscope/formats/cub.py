"""The layout of CUB-200-2011: text tables beside a folder `images/`.

| file | columns | if it is missing |
|---|---|---|
| `images.txt` | image id, path below `images/` | error |
| `parts/parts.txt` | part id, name (may hold blanks) | error |
| `parts/part_locs.txt` | image id, part id, x, y, visible (1 or 0) | error |
| `bounding_boxes.txt` | image id, x, y, width, height | no boxes |
| `image_class_labels.txt` | image id, class id | no labels |
| `classes.txt` | class id, name | class ids serve as labels |
| `train_test_split.txt` | image id, 1 for training or 0 for test | no splits |

Ids are any text without blanks and need not be contiguous. Positions are pixels of the upright image with x right and y
down, and are taken as given: the data set states no origin, so nothing is added or subtracted.

The official annotations hold boxes that overflow their images by a few pixels: these are clipped, counted in
`PartDataset.notes`, and warned about once. A visible part outside its image (0 and the width or height themselves count
as inside) is a fault, since a guess at the right place would enter the error that is measured on it.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partscope.dataset import PartDataset, Sample, check_box, clip_box
from partscope.errors import AnnotationError, DatasetError, ImageError, PartscopeWarning
from partscope.formats.reading import Faults, number, read_mapping, read_rows, relative_name
from partscope.formats.registry import reader
from partscope.images import image_size
from partscope.places import exists, is_file, is_folder

FOLDER_NAME = "CUB_200_2011"

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Location:
    """A line of part_locs.txt, kept with its place so that a fault found later can name it."""

    where: str
    x: float
    y: float
    visible: bool


@dataclass(frozen=True)
class _Tables:
    """The annotation tables of the folder, keyed by image id; None where an optional file is missing."""

    folder: Path
    images: dict[str, str]
    parts: dict[str, str]
    locations: dict[str, dict[str, _Location]]
    boxes: dict[str, tuple[int, Box]] | None
    labels: dict[str, tuple[int, str]] | None
    splits: dict[str, tuple[int, str]] | None


def _recognise(path: Path) -> bool:
    for folder in (path, path / FOLDER_NAME):
        if (folder / "images.txt").is_file():
            return not (folder / "sizes.txt").is_file()  # that is NABirds
    return False


@reader(
    "cub",
    looks_for="a folder with images.txt and parts/parts.txt",
    recognise=_recognise,
    folder=True,
)
def read_cub(path: str | Path, on_error: str = "raise") -> PartDataset:
    """Read CUB-200-2011, or any data set in its layout.

    Parameters
    ----------
    path: the folder that holds `images.txt`, or the folder above it that holds `CUB_200_2011/`.
    on_error: `"raise"` stops at the first bad item. `"skip"` leaves out every image with a fault, ignores a line
        that belongs to no listed image, and lists both in `skipped`; a missing or empty table is an error all the same.

    Returns
    -------
    The data set, in the order of `images.txt`; a sample's id is its path below `images/`, its label the class name as in
    `classes.txt`, its split `"train"` or `"test"`.

    Raises
    ------
    AnnotationError: a table is missing or empty; a line does not parse, comes twice, or names an unknown image, part or
        class; an image has no line in a table; a part is not finite or outside its image.
    DatasetError: a path leaves `images/`; a box has no area or lies outside its image; no image is left.
    ImageError: an image is missing or its header cannot be read.
    OptionError: `on_error` is neither of the two.
    """
    faults = Faults(on_error)
    tables = _read_tables(_find_folder(Path(path)), faults)
    samples: list[Sample] = []
    clipped = 0
    for image in tables.images:
        if image in faults:
            continue
        try:
            sample, was_clipped = _build_sample(tables, image)
        except (DatasetError, ImageError) as error:
            faults.add(image, error)
            continue
        samples.append(sample)
        clipped += was_clipped
    splits = {image: split for image, (_, split) in (tables.splits or {}).items()}
    skipped = faults.skipped(tables.images, splits)
    if not samples:
        raise DatasetError(
            f"{tables.folder}: no image is left, {len(skipped):,} items were skipped; the first: {skipped[0].reason}"
        )
    notes: tuple[str, ...] = ()
    if clipped:
        notes = (
            f"{clipped:,} of {len(samples):,} bounding boxes overflow their images and were clipped to them.",
        )
        warnings.warn(f"{tables.folder}: {notes[0]}", PartscopeWarning, stacklevel=2)
    return PartDataset(
        tuple(tables.parts.values()),
        tuple(samples),
        tables.folder.resolve().name,
        skipped=skipped,
        notes=notes,
    )


def _find_folder(path: Path) -> Path:
    for folder in (path, path / FOLDER_NAME):
        if is_file(folder / "images.txt"):
            return folder
    if not exists(path):
        raise AnnotationError(f"{path}: there is no such folder; check the path.")
    if not is_folder(path):
        raise AnnotationError(f"{path}: this is a file; give the folder that holds images.txt.")
    raise AnnotationError(
        f"{path}: neither this folder nor {FOLDER_NAME} in it holds images.txt; give the folder that holds it."
    )


def _read_tables(folder: Path, faults: Faults) -> _Tables:
    images = _read_images(folder / "images.txt", faults)
    parts = _read_parts(folder / "parts" / "parts.txt")
    boxes_file, labels_file, splits_file = (
        folder / name for name in ("bounding_boxes.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    return _Tables(
        folder=folder,
        images=images,
        parts=parts,
        locations=_read_locations(folder / "parts" / "part_locs.txt", images, parts, faults),
        boxes=read_mapping(boxes_file, 5, "image id, x, y, width and height", _parse_box, faults, images)
        if exists(boxes_file)
        else None,
        labels=_read_labels(labels_file, images, faults) if exists(labels_file) else None,
        splits=read_mapping(
            splits_file, 2, "image id and 1 (train) or 0 (test)", _parse_split, faults, images
        )
        if exists(splits_file)
        else None,
    )


def _read_images(path: Path, faults: Faults) -> dict[str, str]:
    images: dict[str, str] = {}
    ids: dict[str, str] = {}
    rows = read_mapping(path, 2, "image id and path", lambda fields: fields[0], faults)
    for image, (line, text) in rows.items():
        images[image] = text
        try:
            name = relative_name(text)
        except DatasetError as error:
            faults.add(image, DatasetError(f"{path}, line {line}: {error}"))
            continue
        images[image] = name
        if name in ids:
            message = (
                f"{path}, line {line}: the image {name} is listed a second time, "
                f"under the ids {ids[name]} and {image}; remove one of the lines."
            )
            faults.add(image, AnnotationError(message))
        ids.setdefault(name, image)
    return images


def _read_parts(path: Path) -> dict[str, str]:
    # A fault in the list of parts concerns every image, so it is never skipped.
    rows = read_mapping(path, 2, "part id and name", lambda fields: fields[0], Faults("raise"))
    return {part: name for part, (_, name) in rows.items()}


def _read_locations(
    path: Path, images: dict[str, str], parts: dict[str, str], faults: Faults
) -> dict[str, dict[str, _Location]]:
    locations: dict[str, dict[str, _Location]] = {image: {} for image in images}
    expected = "image id, part id, x, y and visible (1 or 0)"
    for line, image, (part, x, y, visible) in read_rows(path, 5, expected, _parse_location, faults, images):
        where = f"{path}, line {line}"
        if part not in parts:
            message = (
                f"{where}: the part id {part!r} is not listed in parts.txt; list the part or remove the line."
            )
            faults.add(image, AnnotationError(message))
        elif part in locations[image]:
            message = f"{where}: the part {parts[part]!r} of image {image} comes a second time; remove one of the lines."
            faults.add(image, AnnotationError(message))
        elif visible and not (math.isfinite(x) and math.isfinite(y)):
            message = (
                f"{where}: the part {parts[part]!r} is marked visible at ({x}, {y}); "
                "give a finite position or mark it not visible."
            )
            faults.add(image, AnnotationError(message))
        else:
            locations[image][part] = _Location(where, x, y, visible)
    return locations


def _read_labels(path: Path, images: dict[str, str], faults: Faults) -> dict[str, tuple[int, str]]:
    rows = read_mapping(path, 2, "image id and class id", lambda fields: fields[0], faults, images)
    classes_file = path.with_name("classes.txt")
    if not exists(classes_file):
        return rows
    classes = read_mapping(classes_file, 2, "class id and name", lambda fields: fields[0], Faults("raise"))
    labels: dict[str, tuple[int, str]] = {}
    for image, (line, label) in rows.items():
        if label not in classes:
            message = (
                f"{path}, line {line}: the class id {label!r} is not listed in classes.txt; list it there."
            )
            faults.add(image, AnnotationError(message))
            continue
        labels[image] = line, classes[label][1]
    return labels


def _parse_box(fields: list[str]) -> Box:
    x, y, width, height = (number(field) for field in fields)
    return x, y, width, height


def _parse_split(fields: list[str]) -> str:
    return {"1": "train", "0": "test"}[_flag(fields[0])]


def _parse_location(fields: list[str]) -> tuple[str, float, float, bool]:
    part, x, y, visible = fields
    if "_" in x + y:  # Python reads 1_0 as 10
        raise ValueError
    return part, float(x), float(y), _flag(visible) == "1"


def _flag(text: str) -> str:
    if text not in ("0", "1"):
        raise ValueError
    return text


def _build_sample(tables: _Tables, image: str) -> tuple[Sample, bool]:
    """Return the sample of an image and whether its box was clipped."""
    name = tables.images[image]
    file = tables.folder / "images" / name
    size = image_size(file)
    points = np.full((len(tables.parts), 2), np.nan)
    visible = np.zeros(len(tables.parts), dtype=np.bool_)
    for index, (part, part_name) in enumerate(tables.parts.items()):
        location = tables.locations[image].get(part)
        if location is None:
            raise _missing_line(
                tables.folder / "parts" / "part_locs.txt", image, name, f"the part {part_name!r}"
            )
        if not location.visible:
            continue
        if not (0 <= location.x <= size[0] and 0 <= location.y <= size[1]):
            raise AnnotationError(
                f"{location.where}: the part {part_name!r} of {name} at ({location.x}, {location.y}) lies outside "
                f"the image of {size[0]}×{size[1]} pixels; correct it or mark it not visible."
            )
        points[index], visible[index] = (location.x, location.y), True
    box, clipped = None, False
    if tables.boxes is not None:
        boxes_file = tables.folder / "bounding_boxes.txt"
        if image not in tables.boxes:
            raise _missing_line(boxes_file, image, name, "a bounding box")
        line, given = tables.boxes[image]
        box, clipped = clip_box(check_box(given, size, f"{boxes_file}, line {line} ({name})"), size)
    if tables.labels is not None and image not in tables.labels:
        raise _missing_line(tables.folder / "image_class_labels.txt", image, name, "a class")
    if tables.splits is not None and image not in tables.splits:
        raise _missing_line(tables.folder / "train_test_split.txt", image, name, "a split")
    label = None if tables.labels is None else tables.labels[image][1]
    split = None if tables.splits is None else tables.splits[image][1]
    return Sample(name, file, size, points, visible, box, label, split), clipped


def _missing_line(path: Path, image: str, name: str, what: str) -> AnnotationError:
    return AnnotationError(f"{path}: image {image} ({name}) has no line for {what}; add it.")
