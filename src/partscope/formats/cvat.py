"""CVAT for images 1.1: the XML that CVAT exports, with points, skeletons and boxes.

Positions are **measured from the image's top left corner**, as partscope's are; nothing is converted.

A `<skeleton>` is an object: its points are the parts, its label is the class (`object` stands for none). Single `<points>` are
an object with those of their group (in CVAT: key G); without a group all those of the image, together with its only box, are one
object. A `<box>` belongs to the object of its group, or, where there is one object and one box in the image, to that; a box
without points is an object without visible parts. Objects are called `image#GROUP` where their image holds several, or by
their number, from 1, where they have no group.

A point with `outside="1"` is not visible. One with `occluded="1"` is not visible either, or with `occluded="marked"` taken at
its place. An image without any shape is left out with a count, or with `unmarked="keep"` an object without visible parts.
A turned box becomes the smallest upright one around it, with a count. Other shapes, and tracks, are counted and not read. `subset` of an image is its split.

What is lost in writing: names of objects that are no numbers, counted, and a name where an image holds one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.objects import OBJECT, Box, Marked, Notes, Point, build_dataset, choice, turned_box
from partscope.formats.reading import Faults, number
from partscope.formats.reading_xml import read_xml
from partscope.formats.registry import beginning, reader


def _recognise(path: Path) -> bool:
    return path.suffix.lower() == ".xml" and "<annotations" in beginning(path)


@reader("cvat", looks_for="an .xml export 'CVAT for images 1.1'", recognise=_recognise)
def read_cvat(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "error",
    occluded: str = "hidden",
    unmarked: str = "skip",
) -> PartDataset:
    """Read an export "CVAT for images 1.1" (see the module).

    Parameters
    ----------
    path: the .xml file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad images out and lists them in `skipped`.
    images: the folder of images; by default that of the file, or `images` in it where there is one.
    outside: `"error"`, or `"hidden"` for visible parts outside their image to count as not visible.
    occluded: `"hidden"` or `"marked"`: what a point that CVAT calls occluded is.
    unmarked: `"skip"` or `"keep"` images without a shape.

    Raises
    ------
    AnnotationError: the file is no such XML or has a document type; a shape lacks an attribute, or its object is not clear.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    choice("occluded", occluded, ("hidden", "marked"))
    choice("unmarked", unmarked, ("skip", "keep"))
    root = read_xml(path)
    if root.tag != "annotations":
        raise AnnotationError(
            f"{path}: expected <annotations>, not <{root.tag}>; export 'CVAT for images 1.1'."
        )
    if root.find("track") is not None:
        raise AnnotationError(f"{path}: this is an export for video (<track>); export 'CVAT for images 1.1'.")
    names: dict[str, None] = dict.fromkeys(_declared(root))
    objects: list[Marked] = []
    for i, image in enumerate(root.iter("image"), start=1):
        where = f"{path}: image {image.get('name') or f'number {i}'}"
        try:
            found = list(_objects(where, image, notes, occluded, unmarked))
            names.update(dict.fromkeys(part for item in found for part in item.points))
            objects += found
        except DatasetError as error:
            faults.add(where, error)
    folder = path.parent / "images"
    return build_dataset(
        path,
        objects,
        tuple(names),
        faults,
        notes,
        images=images,
        outside=outside,
        folder=folder if folder.is_dir() else path.parent,
    )


def _declared(root: Element) -> Iterator[str]:
    """Yield the parts that the task declares: points that stand alone, and the points of skeletons."""
    for label in root.iter("label"):
        name = label.findtext("name")
        if name and label.findtext("type") == "points":
            yield name


@dataclass
class _Object:
    label: str | None = None
    box: Box | None = None
    points: dict[str, Point] = field(default_factory=dict)
    skeleton: bool = False


def _objects(where: str, image: Element, notes: Notes, occluded: str, unmarked: str) -> Iterator[Marked]:
    name = image.get("name")
    if not name:
        raise AnnotationError(f"{where}: the attribute 'name' is missing; add it.")
    size = None
    if image.get("width") is not None and image.get("height") is not None:
        size = _whole(where, image, "width"), _whole(where, image, "height")
    groups: dict[str, _Object] = {}
    loose: _Object | None = None
    boxes: list[Element] = []
    for shape in image:
        if shape.tag == "skeleton":
            key = _group(shape, groups)
            item = groups.setdefault(key, _Object())
            if item.skeleton:
                raise AnnotationError(
                    f"{where}: the group {key} holds two skeletons; give each a group of its own."
                )
            item.skeleton, item.label = True, shape.get("label")
            for point in shape.iter("points"):
                _add(where, item, point, notes, occluded)
        elif shape.tag == "points":
            grouped = shape.get("group_id", "0") != "0"
            loose = loose if grouped or loose is not None else _Object()
            owner = groups.setdefault(shape.get("group_id", "0"), _Object()) if grouped else loose
            _add(where, owner or _Object(), shape, notes, occluded)
        elif shape.tag == "box":
            boxes.append(shape)
        else:
            notes.add(f"{{}} shapes of the kind <{shape.tag}> were not read.", quiet=shape.tag == "tag")
    if loose is not None:
        groups[_free(groups)] = loose
    for shape in boxes:
        key = shape.get("group_id", "0")
        alone = len(groups) == 1 and len(boxes) == 1
        if key == "0" or key not in groups:
            key = next(iter(groups)) if alone and key == "0" else key if key != "0" else _free(groups)
        item = groups.setdefault(key, _Object())
        if item.box is not None:
            raise AnnotationError(
                f"{where}: the group {key} holds two boxes; give each object a group of its own."
            )
        item.box = _box(where, shape, notes)
        item.label = item.label if item.skeleton else shape.get("label")
    if not groups and unmarked == "skip":
        notes.add("{} images without a shape were left out; unmarked='keep' keeps them.")
        return
    for key, item in (groups or {"1": _Object()}).items():
        label = None if item.label == OBJECT else item.label
        yield Marked(where, name, item.points, item.box, label, image.get("subset"), None, key, size)


def _group(shape: Element, groups: dict[str, _Object]) -> str:
    key = shape.get("group_id", "0")
    return key if key != "0" else _free(groups)


def _free(groups: dict[str, _Object]) -> str:
    """Return the lowest number, from 1, that is no group's."""
    return next(str(i) for i in range(1, len(groups) + 2) if str(i) not in groups)


def _add(where: str, item: _Object, point: Element, notes: Notes, occluded: str) -> None:
    part = point.get("label")
    if not part:
        raise AnnotationError(f"{where}: a point has no label; add it.")
    if part in item.points:
        raise AnnotationError(
            f"{where}: the part {part!r} of one object comes twice; remove one, or group the points of each object (key G)."
        )
    if point.get("outside", "0") == "1":
        return
    if point.get("occluded", "0") == "1" and occluded == "hidden":
        notes.add("{} occluded parts count as not visible; occluded='marked' takes their places.")
        return
    text = point.get("points", "")
    try:
        if ";" in text:
            raise ValueError(
                "it holds several points, which have no names; mark them one by one or as a skeleton"
            )
        x, y = (number(value) for value in text.split(","))
    except ValueError as error:
        raise AnnotationError(
            f"{where}: the point {part!r} at {text!r} does not parse ({error}); correct it."
        ) from error
    item.points[part] = x, y


def _box(where: str, shape: Element, notes: Notes) -> Box:
    try:
        left, top, right, bottom = (number(shape.get(side)) for side in ("xtl", "ytl", "xbr", "ybr"))
        turn = number(shape.get("rotation", "0"))
    except ValueError as error:
        raise AnnotationError(
            f"{where}: a box does not parse ({error}); it needs xtl, ytl, xbr and ybr."
        ) from error
    notes.add("{} turned boxes became the upright ones around them.", int(turn % 360 != 0))
    return turned_box((left, top, right - left, bottom - top), turn, ((left + right) / 2, (top + bottom) / 2))


def _whole(where: str, image: Element, name: str) -> int:
    try:
        return int(image.get(name, ""))
    except ValueError as error:
        raise AnnotationError(f"{where}: {name} must be a whole number, not {image.get(name)!r}.") from error
