"""Bounding boxes for images without other annotations: a CSV file or a COCO data set.

Positions are pixels of the upright image, x right, y down, measured from the image's top left corner.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partscope.errors import AnnotationError, DatasetError
from partscope.formats.reading import json_records, number, read_json, read_text, relative_name

Box = tuple[float, float, float, float]

_COLUMNS = ("image", "x", "y", "width", "height")


def read_boxes(path: str | Path) -> dict[str, Box]:
    """Read one bounding box `(x, y, width, height)` per image.

    Parameters
    ----------
    path: a `.json` file is read as a COCO data set (`images[].file_name` and `annotations[].bbox`), any other file as CSV
        with the columns `image,x,y,width,height` in any order, other columns being ignored.

    Returns
    -------
    Boxes by image: the path relative to the folder that is searched for images, with `/` between folders, as in the
    `image` column of located parts. Images without a box are not in it. A box may overflow its image, whose size is not
    known here.

    Raises
    ------
    AnnotationError: the file is missing, empty or does not parse; a column is missing; a box is not finite or has no
        area; an image has two different boxes, or a path that is absolute or leaves the folder.
    """
    path = Path(path)
    records = _coco_records(path) if path.suffix.lower() == ".json" else _csv_records(path)
    boxes: dict[str, Box] = {}
    for where, image, values in records:
        box = _parse_box(where, values)
        try:
            name = relative_name(image)
        except DatasetError as error:
            raise AnnotationError(f"{where}: {error}") from error
        if boxes.setdefault(name, box) != box:
            raise AnnotationError(
                f"{where}: the image {name} has a second box {box} beside {boxes[name]}; keep one box per image."
            )
    return boxes


def _csv_records(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows)]
        missing = [name for name in _COLUMNS if header.count(name) != 1]
        if missing:
            raise AnnotationError(
                f"{path}: the first line must name the column {missing[0]!r} once; "
                f"expected the columns {','.join(_COLUMNS)}, not {','.join(header)!r}."
            )
        take = [header.index(name) for name in _COLUMNS]
        for row in rows:
            if not row:
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise AnnotationError(
                    f"{where}: has {len(row)} columns where the first line has {len(header)}; correct it."
                )
            image, *values = (row[i] for i in take)
            yield where, image, values
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {rows.line_num}: this is not valid CSV ({error}); correct it."
        ) from error


def _coco_records(path: Path) -> Iterator[tuple[str, str, list[Any]]]:
    content = read_json(path)
    names = {}
    for i, record in enumerate(json_records(content, "images", path)):
        if not isinstance(record.get("file_name"), str) or not isinstance(record.get("id"), (int, str)):
            raise AnnotationError(f"{path}: image {i} of the list has no 'id' or no 'file_name'; add it.")
        names[record["id"]] = record["file_name"]
    for i, record in enumerate(json_records(content, "annotations", path)):
        where = f"{path}: annotation {record.get('id', f'number {i}')}"
        image, box = record.get("image_id"), record.get("bbox")
        if not isinstance(image, (int, str)) or image not in names:
            raise AnnotationError(
                f"{where}: the image id {image!r} is not listed under 'images'; add the image."
            )
        if not isinstance(box, list) or len(box) != 4:
            raise AnnotationError(f"{where}: 'bbox' must be [x, y, width, height], not {box!r}.")
        yield where, names[image], box


def _parse_box(where: str, values: list[Any]) -> Box:
    try:
        x, y, width, height = (number(value) for value in values)
    except ValueError as error:
        raise AnnotationError(
            f"{where}: the box {values} must be four finite numbers (x, y, width, height); correct it."
        ) from error
    if width <= 0 or height <= 0:
        raise AnnotationError(
            f"{where}: the box (x, y, width, height) = {(x, y, width, height)} has no area; correct it."
        )
    return x, y, width, height
