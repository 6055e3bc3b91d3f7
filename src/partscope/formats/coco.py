"""COCO data sets with keypoints: `annotations/person_keypoints_….json` and what other tools write in that form.

One object per annotation, called `image#ANNOTATION_ID` where its image holds several. Its class is the category's name;
`object` stands for none. A category may have keypoints of its own: parts are those of all categories in order of first
appearance. A keypoint is `x, y, v`; v = 2 is a visible part, v = 0 one that is not marked, and v = 1 one that is marked but
occluded: not visible, or with `occluded="marked"` taken at its place.

An annotation without any keypoint marked says nothing of its parts; it is left out with a count, or with `unmarked="keep"` an
object without visible parts. Crowds and objects of categories without keypoints are left out with a count. Segmentations
and skeletons are not read.

**Origin.** COCO's own keypoints are indices of pixels, whole numbers from 0, boxes are distances from the corner. Other tools,
partscope too, write keypoints as distances from the corner. `origin="auto"` takes keypoints for indices, and adds 0.5, if
all are whole numbers below the image's size and the file does not say otherwise; `"pixel"` and `"corner"` settle it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.objects import OBJECT, Marked, Notes, Point, build_dataset, choice
from partscope.formats.reading import Faults, json_records, number, read_json
from partscope.formats.registry import beginning, reader

#: What partscope's own files say under `info`.
CORNER = "distances from the image's corner, pixel centres at +0.5"


def _recognise(path: Path) -> bool:
    if path.suffix.lower() != ".json" or not beginning(path).lstrip().startswith("{"):
        return False
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= set(content)


@reader("coco", looks_for="a .json file with images, annotations and categories", recognise=_recognise)
def read_coco(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "error",
    occluded: str = "hidden",
    unmarked: str = "skip",
    origin: str = "auto",
) -> PartDataset:
    """Read a COCO data set with keypoints (see the module).

    Parameters
    ----------
    path: the .json file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad objects out and lists them in `skipped`.
    images: the folder that `file_name` is relative to; by default that of the file.
    outside: `"error"`, or `"hidden"` for visible parts outside their image to count as not visible.
    occluded: `"hidden"` or `"marked"`: what a keypoint with v = 1 is.
    unmarked: `"skip"` or `"keep"` annotations without a marked keypoint.
    origin: `"auto"`, `"pixel"` or `"corner"`: what keypoints count from.

    Raises
    ------
    AnnotationError: the file does not parse or is no COCO data set; no category has keypoints; a record lacks a field, names
        an unknown image or category, or has another number of keypoints than its category.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    choice("occluded", occluded, ("hidden", "marked"))
    choice("unmarked", unmarked, ("skip", "keep"))
    choice("origin", origin, ("auto", "pixel", "corner"))
    content = read_json(path)
    categories = _categories(content, path)
    pictures = _pictures(content, path)
    parts = tuple(dict.fromkeys(part for _, names in categories.values() for part in names))
    if not parts:
        raise AnnotationError(
            f"{path}: no category has 'keypoints'; give a data set with keypoints, such as person_keypoints_val2017.json."
        )
    found = list(_annotations(content, path, pictures, categories, faults, notes, unmarked))
    shift = 0.5 if _counts_pixels(content, origin, found) else 0.0
    if shift:
        notes.add(
            "keypoints of {} objects are indices of pixels: 0.5 was added (origin='corner' if they are not).",
            len(found),
            quiet=True,
        )
    for entry in found:
        for name, x, y, v in entry.keypoints:
            if v == 2 or (v == 1 and occluded == "marked"):
                entry.item.points[name] = (x + shift, y + shift)
            elif v == 1:
                notes.add(
                    "{} occluded parts (v = 1) count as not visible; occluded='marked' takes their places."
                )
    return build_dataset(
        path,
        [entry.item for entry in found],
        parts,
        faults,
        notes,
        images=images,
        outside=outside,
    )


@dataclass
class _Entry:
    item: Marked
    keypoints: list[tuple[str, float, float, int]]


def _categories(content: dict[str, Any], path: Path) -> dict[Any, tuple[str, list[str]]]:
    found: dict[Any, tuple[str, list[str]]] = {}
    for i, record in enumerate(json_records(content, "categories", path)):
        key, name, names = record.get("id"), record.get("name"), record.get("keypoints")
        names = [] if names is None else names
        where = f"{path}: category {key if key is not None else f'number {i}'}"
        if not isinstance(key, (int, str)) or not isinstance(name, str):
            raise AnnotationError(f"{where}: has no 'id' or no 'name'; add it.")
        if not isinstance(names, list) or not all(isinstance(part, str) for part in names):
            raise AnnotationError(f"{where}: 'keypoints' must be a list of names, not {names!r}.")
        if len(set(names)) != len(names) or key in found:
            raise AnnotationError(f"{where}: comes twice or has a keypoint twice; rename one of them.")
        found[key] = name, names
    return found


def _pictures(content: dict[str, Any], path: Path) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for i, record in enumerate(json_records(content, "images", path)):
        key = record.get("id")
        if not isinstance(key, (int, str)) or not isinstance(record.get("file_name"), str):
            raise AnnotationError(f"{path}: image {i} of the list has no 'id' or no 'file_name'; add it.")
        if key in found:
            raise AnnotationError(f"{path}: the image id {key!r} comes twice; renumber one of them.")
        found[key] = record
    return found


def _annotations(
    content: dict[str, Any],
    path: Path,
    pictures: dict[Any, dict[str, Any]],
    categories: dict[Any, tuple[str, list[str]]],
    faults: Faults,
    notes: Notes,
    unmarked: str,
) -> Iterator[_Entry]:
    marked: set[Any] = set()
    for i, record in enumerate(json_records(content, "annotations", path)):
        where = f"{path}: annotation {record.get('id', f'number {i}')}"
        try:
            image, category = record.get("image_id"), record.get("category_id")
            if not isinstance(image, (int, str)) or image not in pictures:
                raise AnnotationError(
                    f"{where}: the image id {image!r} is not listed under 'images'; add the image."
                )
            if not isinstance(category, (int, str)) or category not in categories:
                raise AnnotationError(
                    f"{where}: the category id {category!r} is not listed under 'categories'; add it."
                )
            marked.add(image)
            label, names = categories[category]
            if not names:
                notes.add("{} annotations of categories without keypoints were left out.")
                continue
            if record.get("iscrowd") in (1, True):
                notes.add("{} annotations of crowds were left out.")
                continue
            keypoints = _keypoints(record, names, where)
            if unmarked == "skip" and not any(v for *_, v in keypoints):
                notes.add(
                    "{} annotations without a marked keypoint were left out; unmarked='keep' keeps them."
                )
                continue
            notes.add(
                "the segmentations of {} objects were not read.", int(bool(record.get("segmentation"))), True
            )
            yield _Entry(_object(record, pictures[image], label, where, i, notes), keypoints)
        except DatasetError as error:
            faults.add(where, error)
    notes.add("{} images without an annotation were left out.", len(set(pictures) - marked))


def _keypoints(record: dict[str, Any], names: list[str], where: str) -> list[tuple[str, float, float, int]]:
    values = record.get("keypoints")
    if values is None and not record.get("num_keypoints"):
        values = [0] * (3 * len(names))
    if not isinstance(values, list) or len(values) != 3 * len(names):
        count = len(values) if isinstance(values, list) else repr(values)
        raise AnnotationError(
            f"{where}: 'keypoints' must hold 3 numbers for each of {len(names)} parts, not {count}."
        )
    found = []
    for p, name in enumerate(names):
        x, y, v = values[3 * p : 3 * p + 3]
        try:
            if number(v) not in (0, 1, 2):
                raise ValueError(f"v must be 0, 1 or 2, not {v!r}")
            x, y = (number(x), number(y)) if number(v) else (0.0, 0.0)  # whatever stands there
            found.append((name, x, y, int(number(v))))
        except ValueError as error:
            raise AnnotationError(
                f"{where}: the keypoint {name!r} does not parse ({error}); correct it."
            ) from error
    return found


def _object(
    record: dict[str, Any], picture: dict[str, Any], label: str, where: str, i: int, notes: Notes
) -> Marked:
    sides = record.get("bbox")
    try:
        if record.get("bbox_marked") is False or sides == []:
            sides = None
        elif sides == [0, 0, 0, 0]:
            notes.add("{} boxes of zeros alone count as none.", quiet=True)
            sides = None
        x, y, width, height = (0.0, 0.0, 0.0, 0.0) if sides is None else (number(side) for side in sides)
        size = None
        if picture.get("width") is not None and picture.get("height") is not None:
            size = int(number(picture["width"])), int(number(picture["height"]))
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"{where}: 'bbox' must be [x, y, width, height] and the image's 'width' and 'height' numbers, not {sides!r}."
        ) from error
    split, instance = picture.get("split"), record.get("instance")
    return Marked(
        where,
        picture["file_name"],
        {},
        None if sides is None else (x, y, width, height),
        None if label == OBJECT else label,
        split if isinstance(split, str) else None,
        instance if isinstance(instance, str) else None,
        str(record.get("id", f"number {i}")),
        size,
    )


def _counts_pixels(content: dict[str, Any], origin: str, found: list[_Entry]) -> bool:
    """Return whether keypoints are indices of pixels, by the rule of the module's heading."""
    info = content.get("info")
    if origin != "auto":
        return origin == "pixel"
    if isinstance(info, dict) and ("partscope" in info or "partscope" in str(info.get("description", ""))):
        return False
    places: list[tuple[Point, tuple[int, int] | None]] = [
        ((x, y), entry.item.size) for entry in found for _, x, y, v in entry.keypoints if v
    ]
    return bool(places) and all(
        x == int(x) and y == int(y) and (size is None or (x < size[0] and y < size[1]))
        for (x, y), size in places
    )
