"""DeepLabCut's tables of labelled frames, as CSV or HDF5, brought to one form: cells by header and image.

The header has the rows `scorer`, `bodyparts`, `coords`, in projects with several animals `scorer`, `individuals`, `bodyparts`,
`coords`. Before the numbers stands the image: in one column as `labeled-data/VIDEO/img.png`, in newer versions in three.

HDF5 is read with h5py as pandas lays out a frame ("fixed"), number by number: pandas' own reader would run code that a file
holds in the form of a pickle.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partscope.errors import AnnotationError, MissingExtraError
from partscope.formats.reading import number, read_text

LEVELS = ("scorer", "individuals", "bodyparts", "coords")


@dataclass
class Table:
    """A table of labelled frames.

    columns: for each number (scorer, individual or None, bodypart, x or y).
    images: for each row where it stands and the image's path with `/`.
    values: (rows, columns), NaN where nothing is marked.
    several: the header tells individuals apart.
    """

    columns: list[tuple[str, str | None, str, str]]
    images: list[tuple[str, str]]
    values: list[list[float]]
    several: bool


def read_table(path: Path) -> Table:
    """Read a table of labelled frames, by its ending `.csv` or `.h5`.

    Raises
    ------
    AnnotationError: the file is missing, damaged or another table.
    MissingExtraError: h5py is not installed.
    """
    return _read_h5(path) if path.suffix.lower() in (".h5", ".hdf5") else _read_csv(path)


def _read_csv(path: Path) -> Table:
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    header: list[list[str]] = []
    images: list[tuple[str, str]] = []
    values: list[list[float]] = []
    columns: list[tuple[str, ...]] = []
    index = 1
    try:
        for row in rows:
            if not row:
                continue
            where = f"{path}, line {rows.line_num}"
            if not columns:
                header.append(row)
                if row[0] == "coords":
                    index = _index_columns(path, header)
                    columns = list(zip(*(line[index:] for line in header), strict=True))
                elif len(header) == len(LEVELS):
                    break
                continue
            if len(row) != index + len(columns):
                raise AnnotationError(
                    f"{where}: has {len(row)} columns where the header has {index + len(columns)}; correct it."
                )
            images.append((where, _image(row[:index])))
            try:
                values.append(
                    [math.nan if cell.strip() in ("", "nan", "NaN") else number(cell) for cell in row[index:]]
                )
            except ValueError as error:
                raise AnnotationError(f"{where}: does not parse ({error}); correct it.") from error
    except (csv.Error, ValueError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{path}, line {rows.line_num}: this is not valid CSV ({error}); correct it."
        ) from error
    names = [line[0] for line in header]
    return _table(path, names, columns, images, values)


def _index_columns(path: Path, header: list[list[str]]) -> int:
    """Return how many columns the image takes: one, or as many as stay empty before the header's names."""
    widths = {len(line) for line in header}
    if len(widths) > 1:
        raise AnnotationError(
            f"{path}: the lines of the header have different lengths; export the table again."
        )
    count = 1
    while count < len(header[0]) and all(not line[count] for line in header):
        count += 1
    return count


def _image(cells: list[str]) -> str:
    return "/".join(cell.replace("\\", "/").strip("/") for cell in cells if cell)


def _table(
    path: Path,
    names: list[str],
    columns: list[tuple[str, ...]],
    images: list[tuple[str, str]],
    values: list[list[float]],
) -> Table:
    several = tuple(names) == LEVELS
    if not several and tuple(names) != (LEVELS[0], *LEVELS[2:]):
        raise AnnotationError(
            f"{path}: the header must have the rows scorer, bodyparts, coords, or scorer, individuals, bodyparts, coords, not "
            f"{', '.join(names) or 'none'}; give a table CollectedData_….csv or .h5."
        )
    found = [column if several else (column[0], None, *column[1:]) for column in columns]
    for column in found:
        if column[3] not in ("x", "y"):
            raise AnnotationError(
                f"{path}: the column {column[3]!r} of {column[2]!r} is none of labelled frames, which have x and y alone; give "
                "a table CollectedData_….csv or .h5, not one of predictions."
            )
    if len(set(found)) != len(found) or not found:
        raise AnnotationError(
            f"{path}: a column of the header comes twice, or there is none; export the table again."
        )
    return Table([(str(a), b, str(c), str(d)) for a, b, c, d in found], images, values, several)


def _read_h5(path: Path) -> Table:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "formats", f"Reading {path}") from error
    if not path.is_file():
        raise AnnotationError(f"{path}: there is no such file; check the path.")
    try:
        with h5py.File(path, "r") as file:
            groups = [entry for entry in file.values() if isinstance(entry, h5py.Group)]
            if len(groups) != 1 or "block0_values" not in groups[0]:
                raise AnnotationError(
                    f"{path}: expected one table that pandas wrote in its fixed form; give CollectedData_….h5, or the CSV."
                )
            return _frame(path, groups[0])
    except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError, UnicodeDecodeError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{path}: the table cannot be read ({error}); export it again, or give the CSV."
        ) from error


def _frame(path: Path, group: Any) -> Table:
    names = [_text(group[f"axis0_level{i}"].attrs["name"]) for i in range(int(group.attrs["axis0_nlevels"]))]
    columns = _axis(group, "axis0")
    rows = _axis(group, "axis1")
    values = np.full((len(rows), len(columns)), np.nan)
    place = {column: i for i, column in enumerate(columns)}
    for block in range(int(group.attrs["nblocks"])):
        data = group[f"block{block}_values"]
        if data.dtype.kind not in "iuf":
            raise AnnotationError(f"{path}: a column holds no numbers; export the table again.")
        take = [place[column] for column in _axis(group, f"block{block}_items")]
        values[:, take] = np.asarray(data[()], dtype=np.float64).reshape(len(rows), len(take))
    images = [(f"{path}, row {i}", _image(list(row))) for i, row in enumerate(rows, start=1)]
    return _table(path, names, columns, images, values.tolist())


def _axis(group: Any, name: str) -> list[tuple[str, ...]]:
    """Return the entries of an axis as tuples, one level after the other."""
    if f"{name}_nlevels" not in group.attrs:
        return [(_text(entry),) for entry in group[name][()]]
    levels = []
    for i in range(int(group.attrs[f"{name}_nlevels"])):
        entries = [_text(entry) for entry in group[f"{name}_level{i}"][()]]
        levels.append([entries[code] if code >= 0 else "" for code in group[f"{name}_label{i}"][()].tolist()])
    return list(zip(*levels, strict=True))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r} is no text")
