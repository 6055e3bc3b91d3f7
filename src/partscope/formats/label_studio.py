"""Label Studio's exports JSON and JSON-MIN: key points with labels, and rectangles as the objects' boxes.

Positions are per cent of the image's width and height, **measured from its top left corner**; times the size they are
partscope's pixels. A key point belongs to the rectangle that is its parent (`parentID`); without one to the only rectangle of
the task, or to the only one that it lies in. An object is called `image#REGION_ID` where its image holds several; its
class is the rectangle's label, `object` standing for none. A part that has no key point is not visible; key points have no
sign for "occluded".

A task that nobody has annotated is left out with a count, or with `unmarked="keep"` an object without visible parts; an
annotation that was submitted empty is one. Of several annotations of a task the last one counts, of those that were not
cancelled. A rectangle that is turned becomes the smallest upright one around it, with a count.

**Images.** A task names its image by an address: `/data/local-files/?d=birds/a.jpg`, `/data/upload/3/1f2e3d4c-a.jpg`, or one of
the web or of a cloud. It is looked for in the folder of images by as much of the address's end as is found there, and without
the eight signs that an upload puts before its name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.objects import OBJECT, Box, Marked, Notes, Point, build_dataset, choice, turned_box
from partscope.formats.reading import Faults, number, read_text
from partscope.formats.reading_xml import read_xml
from partscope.formats.registry import beginning, reader

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


def _recognise(path: Path) -> bool:
    if path.suffix.lower() != ".json" or not beginning(path).lstrip().startswith("["):
        return False
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return False
    full = isinstance(first.get("data"), dict) and bool({"annotations", "predictions"} & set(first))
    return full or ("annotation_id" in first and "image" in first)


@reader("label-studio", looks_for="a .json export of Label Studio, JSON or JSON-MIN", recognise=_recognise)
def read_label_studio(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "error",
    unmarked: str = "skip",
    parts: Sequence[str] | None = None,
    config: str | Path | None = None,
    field: str | None = None,
) -> PartDataset:
    """Read an export of Label Studio, JSON or JSON-MIN (see the module).

    Parameters
    ----------
    path: the .json file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad tasks out and lists them in `skipped`.
    images: the folder of images; by default that of the file.
    outside: `"error"`, or `"hidden"` for visible parts outside their image to count as not visible.
    unmarked: `"skip"` or `"keep"` tasks that nobody has annotated.
    parts: the part names in order; by default those of `config`, or of the key points in order of first appearance.
    config: the labelling configuration (XML), which names the parts in order; by default the file of the export's name that
        ends in `.xml`, where there is one.
    field: the entry of a task's data that is the image; by default `image`, or the only one.

    Raises
    ------
    AnnotationError: the file does not parse or is no export; a region lacks a field, is outside, or its object is not clear;
        a label is not among the parts.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    choice("unmarked", unmarked, ("skip", "keep"))
    base = Path(images) if images is not None else path.parent
    beside = path.with_suffix(".xml")
    if parts is None and (config is not None or beside.exists()):
        parts = _configured(Path(config) if config is not None else beside)
    names: dict[str, None] = dict.fromkeys(parts or ())
    objects: list[Marked] = []
    for where, task in _tasks(path):
        try:
            found = list(_objects(where, task, base, notes, unmarked, field))
            for part in (part for item in found for part in item.points):
                if parts is not None and part not in names:
                    raise AnnotationError(
                        f"{where}: the label {part!r} is not one of the parts {', '.join(names)}; add it."
                    )
                names.setdefault(part)
            objects += found
        except DatasetError as error:
            faults.add(where, error)
    return build_dataset(path, objects, tuple(names), faults, notes, images=base, outside=outside)


READ_MIN = reader("label-studio-min")(read_label_studio)


def _configured(path: Path) -> tuple[str, ...]:
    root = read_xml(path)
    found = tuple(
        label.get("value", "")
        for group in root.iter("KeyPointLabels")
        for label in group.iter("Label")
        if label.get("value")
    )
    if not found:
        raise AnnotationError(
            f"{path}: the labelling configuration names no KeyPointLabels; give the project's own."
        )
    return tuple(dict.fromkeys(found))


def _tasks(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(f"{path}: this is not valid JSON ({error}); correct the file.") from error
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise AnnotationError(
            f"{path}: expected a list of tasks, as Label Studio exports them; export JSON or JSON-MIN."
        )
    for i, task in enumerate(content, start=1):
        yield f"{path}: task {task.get('id', f'number {i}')}", task


@dataclass
class _Region:
    """A key point or rectangle; positions in pixels."""

    label: str
    key: str
    parent: str
    size: tuple[int, int]
    point: Point | None = None
    box: Box | None = None
    parts: dict[str, Point] = field(default_factory=dict)


def _objects(
    where: str, task: dict[str, Any], base: Path, notes: Notes, unmarked: str, field: str | None
) -> Iterator[Marked]:
    full = isinstance(task.get("data"), dict)
    data = task["data"] if full else {name: value for name, value in task.items() if isinstance(value, str)}
    image = _image(where, data, base, field, full)
    split = data.get("split")
    split = split if isinstance(split, str) else None
    results = _results(where, task, notes) if full else _minimal_results(task)
    if results is None:
        if unmarked == "skip":
            notes.add("{} tasks without an annotation were left out; unmarked='keep' keeps them.")
        else:
            yield Marked(where, image, {}, split=split)
        return
    regions = [region for result in results for region in _region(where, result, notes)]
    boxes = [region for region in regions if region.box is not None]
    loose = _Region("", "", "", (0, 0))
    for region in regions:
        if region.point is not None:
            owner = _owner(where, region, boxes, loose)
            if region.label in owner.parts:
                raise AnnotationError(
                    f"{where}: the part {region.label!r} of one object comes twice; remove one, or draw a rectangle around "
                    "each object."
                )
            owner.parts[region.label] = region.point
    keys = [region.key or f"{i}" for i, region in enumerate(boxes, start=1)]
    for region, key in zip(boxes, keys, strict=True):
        label = None if region.label == OBJECT else region.label
        yield Marked(where, image, region.parts, region.box, label, split, None, key, region.size)
    if loose.parts or not boxes:
        size = regions[0].size if regions else None
        yield Marked(where, image, loose.parts, split=split, number="0", size=size)


def _image(where: str, data: dict[str, Any], base: Path, name: str | None, full: bool) -> str:
    if name is None:
        texts = [key for key, value in data.items() if isinstance(value, str) and key != "split"]
        name = "image" if "image" in texts else texts[0] if full and len(texts) == 1 else None
    address = data.get(name) if name is not None else None
    if not isinstance(address, str) or not address:
        raise AnnotationError(
            f"{where}: the image is not clear among the entries {', '.join(map(str, data))}; name it with field='…'."
        )
    return _found(address, base)


def _found(address: str, base: Path) -> str:
    """Return the image of an address below the folder: as much of the address's end as is found there."""
    if "?d=" in address:
        text = unquote(address.split("?d=", 1)[1], errors="surrogateescape")
    elif re.match(r"^[a-z][a-z0-9+.-]*://", address) or address.startswith("/data/"):
        text = unquote(urlsplit(address).path, errors="surrogateescape")
    else:
        text = address
    steps = [step for step in text.replace("\\", "/").split("/") if step not in ("", ".")]
    if not steps or ".." in steps:
        return text
    for start in range(len(steps)):
        name = "/".join(steps[start:])
        if os.path.isfile(base / name):  # unlike Path, it takes a name that is too long
            return name
    short = _UPLOADED.sub("", steps[-1])
    if short and os.path.isfile(base / short):
        return short
    return "/".join(steps)


def _results(where: str, task: dict[str, Any], notes: Notes) -> list[Any] | None:
    """Return the regions of the task's last annotation, None where there is none."""
    annotations = task.get("annotations", [])
    if not isinstance(annotations, list) or not all(isinstance(entry, dict) for entry in annotations):
        raise AnnotationError(f"{where}: 'annotations' must be a list of objects; export the project again.")
    kept = [entry for entry in annotations if not entry.get("was_cancelled")]
    notes.add("{} tasks have several annotations, of which the last one was read.", int(len(kept) > 1))
    if not kept:
        return None
    results = kept[-1].get("result")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise AnnotationError(f"{where}: 'result' must be a list of regions; export the project again.")
    return results


def _minimal_results(task: dict[str, Any]) -> list[Any]:
    """Return the regions of a task of JSON-MIN, which holds values only, in the form of JSON."""
    return [
        {**value, "value": value}
        for entry in task.values()
        if isinstance(entry, list)
        for value in entry
        if isinstance(value, dict)
    ]


def _region(where: str, result: dict[str, Any], notes: Notes) -> Iterator[_Region]:
    value = result.get("value")
    kind = next(
        (name for name in ("keypointlabels", "rectanglelabels") if isinstance(value, dict) and name in value),
        None,
    )
    if kind is None or not isinstance(value, dict):
        notes.add(
            "{} results that are neither key points nor rectangles with a label were not read.", quiet=True
        )
        return
    labels = value[kind]
    try:
        if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
            raise ValueError(f"it must have one label, not {labels!r}")
        if number(result.get("image_rotation", 0)) != 0:
            raise ValueError("the image was turned in Label Studio; turn it back before it is marked")
        width, height = int(number(result.get("original_width"))), int(number(result.get("original_height")))
        x, y = number(value.get("x")) / 100 * width, number(value.get("y")) / 100 * height
        region = _Region(
            labels[0], str(result.get("id", "")), str(result.get("parentID") or ""), (width, height)
        )
        if kind == "keypointlabels":
            region.point = x, y
        else:
            sides = number(value.get("width")) / 100 * width, number(value.get("height")) / 100 * height
            turn = number(value.get("rotation", 0))
            notes.add("{} turned rectangles became the upright ones around them.", int(turn % 360 != 0))
            region.box = turned_box((x, y, *sides), turn, (x, y))
    except ValueError as error:
        raise AnnotationError(
            f"{where}: the region {result.get('id', labels)!r} does not parse ({error}); correct it."
        ) from error
    yield region


def _owner(where: str, region: _Region, boxes: list[_Region], loose: _Region) -> _Region:
    """Return the rectangle that a key point belongs to, or `loose` where there is none."""
    parents = [box for box in boxes if box.key and box.key == region.parent]
    if parents:
        return parents[0]
    if len(boxes) < 2:
        return boxes[0] if boxes else loose
    around = [
        box
        for box in boxes
        if box.box is not None and region.point is not None and _holds(box.box, region.point)
    ]
    if len(around) == 1:
        return around[0]
    raise AnnotationError(
        f"{where}: the key point {region.label!r} lies in {len(around)} of {len(boxes)} rectangles and names no parent, so its "
        "object is not clear; put it below its rectangle in the outliner."
    )


def _holds(box: Box, point: Point) -> bool:
    return box[0] <= point[0] <= box[0] + box[2] and box[1] <= point[1] <= box[1] + box[3]
