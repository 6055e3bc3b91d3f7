"""Marked parts as a plain table, for everything that has no format of its own.

The columns `image,part,x,y,visible` in any order, one row per object and part. `visible` is 1 or 0 (or TRUE or FALSE) and may be
missing: then a part with a position, neither empty nor NaN, is visible. `x` and `y` are whatever where it is 0. Blanks behind a
comma are none of what follows, unless in quotes. Semicolons or tabs may stand for the commas, as spreadsheets write them; between
semicolons a number may have a decimal comma. A part without a row is not visible,
which is counted. Further columns are optional and the same in all rows of an object: `instance` (tells the objects of one
image apart), `class`, `split`, and `box_x,box_y,box_width,box_height`. Others are left alone, with a note.

Positions are partscope's own: pixels of the upright image, x right, y down, a pixel's centre at +0.5; nothing is converted.
Nothing is lost, but symmetric pairs that were given by hand instead of by the names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.errors import AnnotationError
from partscope.formats.objects import Box, Marked, Notes, Point, build_dataset
from partscope.formats.reading import Faults, number, read_text
from partscope.formats.registry import beginning, reader, writer
from partscope.formats.results import BOX_COLUMNS, quoted
from partscope.formats.writing import Written, named

NEEDED = ("image", "part", "x", "y")
#: As people, spreadsheets and pandas write it.
_VISIBLE = {"1": True, "0": False, "true": True, "false": False, "1.0": True, "0.0": False}
#: What may stand between columns, and the columns that are numbers.
DELIMITERS = (",", ";", "\t")
_NUMBERS = ("x", "y", *BOX_COLUMNS)
OPTIONAL = ("visible", "instance", "class", "split", *BOX_COLUMNS)


def _recognise(path: Path) -> bool:
    if path.suffix.lower() != ".csv":
        return False
    return any(_has_needed(beginning(path), delimiter) for delimiter in DELIMITERS)


def _has_needed(text: str, delimiter: str) -> bool:
    """Whether the first line names the columns that must be there, with this between them."""
    first = text.split("\n", 1)[0].strip("\r")
    return set(NEEDED) <= {name.strip(' "') for name in first.split(delimiter)}


@reader("csv", looks_for="a .csv file with the columns image,part,x,y,visible", recognise=_recognise)
def read_csv(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "error",
) -> PartDataset:
    """Read marked parts from a table (see the module).

    Parameters
    ----------
    path: the file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad objects out and lists them in `skipped`.
    images: the folder that the names of images are relative to; by default that of the file.
    outside: `"error"`, or `"hidden"` for visible parts outside their images to count as not visible.

    Raises
    ------
    AnnotationError: the file is missing, empty or no CSV; a column is missing; a row does not parse, comes twice, or
        contradicts another one of its object; a part is outside its image.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    objects: dict[tuple[str, str], Marked] = {}
    listed: dict[tuple[str, str], set[str]] = {}
    parts: dict[str, None] = {}
    for where, row in _rows(path, notes):
        key = row["image"], row.get("instance", "")
        name = "#".join(filter(None, key))
        try:
            item, part, place = _parse(where, row)
            parts.setdefault(part)
            known = objects.setdefault(key, item)
            if part in listed.setdefault(key, set()):
                raise AnnotationError(
                    f"{where}: the part {part!r} of {name} comes a second time; remove one of the rows."
                )
            for what in ("box", "label", "split"):
                if getattr(known, what) != getattr(item, what):
                    raise AnnotationError(
                        f"{where}: the {what} {getattr(item, what)!r} of {name} is {getattr(known, what)!r} in an earlier "
                        "row; make them the same."
                    )
        except AnnotationError as error:
            faults.add(name, error)
            continue
        listed[key].add(part)
        if place is not None:
            known.points[part] = place
    missing = sum(len(parts) - len(rows) for rows in listed.values())
    notes.add("{} parts have no row for their object and count as not visible.", missing)
    good = [item for key, item in objects.items() if "#".join(filter(None, key)) not in faults]
    return build_dataset(path, good, tuple(parts), faults, notes, images=images, outside=outside)


def _rows(path: Path, notes: Notes) -> Iterator[tuple[str, dict[str, str]]]:
    text = read_text(path, "surrogateescape")
    delimiter = next((sign for sign in DELIMITERS if _has_needed(text, sign)), ",")
    rows = csv.reader(
        io.StringIO(text, newline=""), strict=True, skipinitialspace=delimiter != "\t", delimiter=delimiter
    )
    try:
        header = [name.strip() for name in next(rows)]
        for name in NEEDED:
            if header.count(name) != 1:
                raise AnnotationError(
                    f"{path}: the first line must name the column {name!r} once; expected "
                    f"{','.join(NEEDED)},visible and as you need them {','.join(OPTIONAL[1:])}, not {','.join(header)!r}."
                )
        for name in (*OPTIONAL, *header):
            if header.count(name) > 1:
                raise AnnotationError(f"{path}: the column {name!r} comes twice; remove one of the two.")
        for name in header:
            if name not in (*NEEDED, *OPTIONAL):
                notes.add(f"the column {name!r} was not read ({{}} rows).", 0, quiet=True)
        for row in rows:
            if not row:
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise AnnotationError(
                    f"{where}: has {len(row)} columns where the first line has {len(header)}; correct it."
                )
            for name in header:
                if name not in (*NEEDED, *OPTIONAL):
                    notes.add(f"the column {name!r} was not read ({{}} rows).", quiet=True)
            values = dict(zip(header, row, strict=True))
            if delimiter == ";":
                values |= {name: values[name].replace(",", ".") for name in _NUMBERS if name in values}
            yield where, values
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {rows.line_num}: this is not valid CSV ({error}); correct it."
        ) from error


def _parse(where: str, row: dict[str, str]) -> tuple[Marked, str, Point | None]:
    try:
        placed = any(row[axis].strip().lower() not in ("", "nan") for axis in "xy")
        visible = _VISIBLE.get(row["visible"].strip().lower()) if "visible" in row else placed
        if visible is None or not row["image"] or not row["part"].strip():
            raise ValueError("image and part must be there, and visible 1 or 0")
        place = (number(row["x"]), number(row["y"])) if visible else None
        sides = [row.get(column, "").strip() for column in BOX_COLUMNS]
        box: Box | None = None
        if any(sides):
            x, y, width, height = (number(side) for side in sides)
            box = x, y, width, height
    except ValueError as error:
        raise AnnotationError(
            f"{where}: {','.join(row.values())!r} does not parse ({error}); expected {','.join(row)}."
        ) from error
    label, split, instance = (row.get(column) or None for column in ("class", "split", "instance"))
    return Marked(where, row["image"], {}, box, label, split, instance), row["part"], place


@writer("csv", ".csv")
def write_csv(dataset: PartDataset, path: str | Path) -> Written:
    """Write marked parts as a table; a column that no object needs is left out.

    Raises
    ------
    DatasetError: the data set is empty, or a name cannot be told from none.
    PartscopeError: the file cannot be written.
    """
    items = named(dataset)
    values = {
        "instance": [item.instance for item in items],
        "class": [item.sample.label for item in items],
        "split": [item.sample.split for item in items],
    }
    used = [column for column, column_values in values.items() if any(column_values)]
    boxes = any(item.sample.box for item in items)
    lines = [",".join((*NEEDED, "visible", *used, *(BOX_COLUMNS if boxes else ())))]
    for i, item in enumerate(items):
        more = [quoted(values[column][i] or "") for column in used]
        more += [repr(side) for side in item.sample.box] if item.sample.box else [""] * (4 * boxes)
        for part, (x, y), visible in zip(
            dataset.parts, item.sample.points.tolist(), item.sample.visible.tolist(), strict=True
        ):
            place = [repr(x), repr(y), "1"] if visible else ["", "", "0"]
            lines.append(",".join([quoted(item.image), quoted(part), *place, *more]))
    # A file name need not be valid Unicode; this way its own bytes are written.
    atomic_write(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return Written((), {item.image: item.sample.image for item in items})
