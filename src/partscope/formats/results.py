"""Located parts as a CSV table.

Positions are in pixels of the upright image, x right, y down, measured from the image's top left corner so that a
pixel's centre is at +0.5. Numbers are written as the shortest text that reads back as the same float64. The file is written
whole or not at all.

The table has the columns `image,part,x,y,found,score,visible` and one row per image and part; `found` and `visible` are 1
or 0, and `x` and `y` are empty where the part was not found. Where the method says how far it may be off, the columns
`expected_error` (pixels) and `doubt` (of the image, see :attr:`PartPredictions.doubt`) follow; where it predicts the object's
box, `box_x,box_y,box_width,box_height`, the same in all rows of an image. They are empty where there is no number.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from partscope.atomic import atomic_write
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.reading import number, read_text
from partscope.predictions import PartPredictions

COLUMNS = ("image", "part", "x", "y", "found", "score", "visible")
ERROR_COLUMNS = ("expected_error", "doubt")
BOX_COLUMNS = ("box_x", "box_y", "box_width", "box_height")


def write_predictions_csv(predictions: PartPredictions, file: str | Path) -> None:
    """Write located parts as a table (see the module); `predictions.failures` have no rows and are the caller's to report.

    Raises
    ------
    DatasetError: an image occurs twice.
    PartscopeError: the file cannot be written.
    """
    check_unique(predictions)
    columns: tuple[str, ...] = COLUMNS
    columns += () if predictions.expected_error is None else ERROR_COLUMNS
    columns += () if predictions.boxes is None else BOX_COLUMNS
    lines = [",".join(columns)]
    lines += [",".join(_cell(record[column]) for column in columns) for record in predictions.records()]
    # A file name need not be valid Unicode; this way its own bytes are written.
    atomic_write(file, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def read_predictions_csv(file: str | Path) -> PartPredictions:
    """Read what :func:`write_predictions_csv` wrote.

    Parts are in the order of the first image's rows.

    Raises
    ------
    AnnotationError: the file is missing or empty; its header is another; a row does not parse or comes twice; an image
        lacks a part.
    """
    path = Path(file)
    rows = csv.reader(io.StringIO(read_text(path, "surrogateescape"), newline=""), strict=True)
    images: dict[str, dict[str, _Row]] = {}
    try:
        header = tuple(next(rows))
        with_error, with_box = header[7:9] == ERROR_COLUMNS, header[-4:] == BOX_COLUMNS
        columns = COLUMNS + ERROR_COLUMNS * with_error + BOX_COLUMNS * with_box
        if header != columns:
            raise AnnotationError(
                f"{path}: the first line must be {','.join(COLUMNS)!r}, not {','.join(header)!r}; only "
                f"{','.join(ERROR_COLUMNS + BOX_COLUMNS)!r}, or its first two or last four columns, may follow."
            )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            try:
                image, part, *texts = row
                values = _parse_row(dict(zip(columns[2:], texts, strict=True)))
            except ValueError as error:
                raise AnnotationError(
                    f"{where}: {','.join(row)!r} does not parse; expected {','.join(columns)}, "
                    "with found and visible as 1 or 0 and x, y empty if not found."
                ) from error
            parts = images.setdefault(image, {})
            if part in parts:
                raise AnnotationError(
                    f"{where}: the part {part!r} of {image} comes a second time; remove one of the rows."
                )
            parts[part] = values
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {rows.line_num}: this is not valid CSV ({error}); correct it."
        ) from error
    if not images:
        raise AnnotationError(f"{path}: there is no row, so the parts are not known.")
    names = tuple(next(iter(images.values())))
    for image, parts in images.items():
        if set(parts) != set(names):
            odd = sorted(set(parts) ^ set(names))[0]
            raise AnnotationError(
                f"{path}: the images must have the same parts, but {odd!r} differs for {image}."
            )
    table = [[parts[name] for name in names] for parts in images.values()]
    first = [image[0] for image in table]
    for image, rows_of in images.items():
        if len({row.box for row in rows_of.values()}) > 1:
            raise AnnotationError(f"{path}: the rows of {image} differ in the box; make them the same.")
    return PartPredictions(
        names,
        tuple(images),
        np.array([[(row.x, row.y) for row in image] for image in table]),
        np.array([[row.found for row in image] for image in table]),
        np.array([[row.score for row in image] for image in table]),
        np.array([[row.visible for row in image] for image in table]),
        expected_error=np.array([[row.expected_error for row in image] for image in table])
        if with_error
        else None,
        boxes=np.array([row.box or (np.nan,) * 4 for row in first]) if with_box else None,
    )


def quoted(text: str) -> str:
    """Return a value of a CSV line, in quotes where it needs them."""
    # Before Python 3.13 csv.writer leaves a lone carriage return unquoted if lines end in a newline alone.
    # And blanks at the beginning are left out by readers that take them for layout.
    needed = text.startswith(" ") or any(sign in text for sign in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if needed else text


class _Row(NamedTuple):
    """The values of a row of the table; without a box None, which unlike NaN equals itself."""

    x: float
    y: float
    found: bool
    score: float
    visible: bool
    expected_error: float
    box: tuple[float, ...] | None


def _parse_row(texts: dict[str, str]) -> _Row:
    x, y, found, visible = texts["x"], texts["y"], texts["found"], texts["visible"]
    if found not in ("0", "1") or visible not in ("0", "1") or (found == "0" and x + y != ""):
        raise ValueError
    point = (number(x), number(y)) if found == "1" else (np.nan, np.nan)
    expected = texts.get("expected_error", "")
    sides = [texts.get(column, "") for column in BOX_COLUMNS]
    return _Row(
        *point,
        found == "1",
        number(texts["score"]),
        visible == "1",
        np.nan if expected == "" else number(expected),
        tuple(number(side) for side in sides) if any(sides) else None,
    )


def _cell(value: Any) -> str:
    """Return a value of the table as text: flags as 1 or 0, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return quoted(value)
    return str(int(value)) if isinstance(value, bool) else repr(value)


def check_unique(predictions: PartPredictions) -> None:
    """Raise a DatasetError that names an image which occurs twice."""
    if len(set(predictions.ids)) != len(predictions.ids):
        twice = next(name for name in predictions.ids if predictions.ids.count(name) > 1)
        raise DatasetError(
            f"{twice}: the image occurs more than once; names of images must be unique in a file."
        )
