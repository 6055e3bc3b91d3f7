"""Predicted classes as files: a CSV table or a JSON document, both written whole or not at all and read back exactly.

The table has the columns `image,class` and one column `score:<name>` per class name, so that nothing of the scores is lost;
the JSON document has the same, and the images that could not be read under `failures`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partscope.atomic import atomic_write
from partscope.classification.result import ClassPredictions
from partscope.dataset import Skipped
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.reading import number, read_json, read_text
from partscope.formats.results import quoted

_SCORE = "score:"
_FORMAT = "partscope classes"


def write_classes_csv(predictions: ClassPredictions, file: str | Path) -> None:
    """Write predicted classes as a table (see the module); `failures` have no rows and are the caller's to report.

    Raises
    ------
    PartscopeError: the file cannot be written.
    """
    lines = [["image", "class", *(f"{_SCORE}{name}" for name in predictions.classes)]]
    lines += [
        [name, label, *map(repr, row)]
        for name, label, row in zip(
            predictions.ids, predictions.labels, predictions.scores.tolist(), strict=True
        )
    ]
    text = "".join(",".join(map(quoted, line)) + "\n" for line in lines)
    # A file name need not be valid Unicode; this way its own bytes are written.
    atomic_write(file, text.encode("utf-8", "surrogateescape"))


def read_classes_csv(file: str | Path) -> ClassPredictions:
    """Read what :func:`write_classes_csv` wrote; a table has no failures.

    Raises
    ------
    AnnotationError: the file is missing or empty, its header is another, or a row does not parse, contradicts its scores
        or comes twice.
    """
    path = Path(file)
    rows = csv.reader(io.StringIO(read_text(path, "surrogateescape"), newline=""), strict=True)
    ids: list[str] = []
    scores: list[list[float]] = []
    try:
        header = next(rows)
        if (
            header[:2] != ["image", "class"]
            or len(header) < 3
            or not all(h.startswith(_SCORE) for h in header[2:])
        ):
            raise AnnotationError(
                f"{path}: the first line must be 'image,class' and a column '{_SCORE}<name>' per class, not "
                f"{','.join(header)!r}."
            )
        classes = tuple(name.removeprefix(_SCORE) for name in header[2:])
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            try:
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} values for {len(header)} columns")
                values = [number(value) for value in row[2:]]
            except ValueError as error:
                raise AnnotationError(f"{where}: the row does not parse ({error}); correct it.") from error
            _check_label(where, row[0], row[1], classes, values)
            ids.append(row[0])
            scores.append(values)
    except csv.Error as error:
        raise AnnotationError(
            f"{path}, line {rows.line_num}: this is not valid CSV ({error}); correct it."
        ) from error
    return _read(path, ids, classes, scores)


def write_classes_json(predictions: ClassPredictions, file: str | Path) -> None:
    """Write predicted classes as a JSON document: `format, classes, images` (`image, class, scores`), `failures`.

    Raises
    ------
    PartscopeError: the file cannot be written.
    """
    content = {
        "format": _FORMAT,
        "classes": list(predictions.classes),
        "images": [{**one, "scores": list(one["scores"].values())} for one in predictions.records()],
        "failures": [{"image": one.id, "reason": one.reason} for one in predictions.failures],
    }
    atomic_write(file, json.dumps(content, allow_nan=False, indent=1) + "\n")


def merge_classes(files: Sequence[Path], out: Path) -> int:
    """Join predicted classes of several runs over other images, in the order given, and return the number of images.

    Parameters
    ----------
    files: all written by :func:`write_classes_csv`, or all by :func:`write_classes_json`, as `out` will be.

    Raises
    ------
    AnnotationError: a file cannot be read, has other classes than the first, or an image is in two of them.
    PartscopeError: the file cannot be written.
    """
    is_json = files[0].suffix.lower() == ".json"
    pieces = [(read_classes_json if is_json else read_classes_csv)(file) for file in files]
    seen: dict[str, Path] = {}
    for file, piece in zip(files, pieces, strict=True):
        if piece.classes != pieces[0].classes:
            raise AnnotationError(
                f"{file}: its classes are not those of {files[0]}; merge results of one classifier."
            )
        for name in piece.ids:
            if seen.setdefault(name, file) is not file:
                raise AnnotationError(
                    f"{file}: the image {name} is in {seen[name]} as well; merge each once."
                )
    joined = ClassPredictions(
        tuple(seen),
        pieces[0].classes,
        np.concatenate([piece.scores for piece in pieces]),
        tuple(failure for piece in pieces for failure in piece.failures),
    )
    (write_classes_json if is_json else write_classes_csv)(joined, out)
    return len(joined)


def holds_classes(file: Path) -> bool:
    """Whether a `.csv` or `.json` file holds predicted classes; AnnotationError if it cannot be read."""
    if file.suffix.lower() == ".json":
        content = read_json(file)
        return content.get("format") == _FORMAT
    return read_text(file, "surrogateescape").startswith("image,class,")


def read_classes_json(file: str | Path) -> ClassPredictions:
    """Read what :func:`write_classes_json` wrote.

    Raises
    ------
    AnnotationError: the file is missing or does not parse, or a record lacks a field, contradicts its scores or comes twice.
    """
    path = Path(file)
    content = read_json(path)
    if content.get("format") != _FORMAT:
        raise AnnotationError(
            f"{path}: the format is {content.get('format')!r}, not {_FORMAT!r}; give a file that partscope wrote."
        )
    try:
        classes = tuple(str(name) for name in content["classes"])
        ids = [str(one["image"]) for one in content["images"]]
        scores = [[number(value) for value in one["scores"]] for one in content["images"]]
        labels = [str(one["class"]) for one in content["images"]]
        failures = tuple(Skipped(str(one["image"]), str(one["reason"])) for one in content["failures"])
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path}: a record lacks a field or does not fit ({error}); expected a file that partscope wrote."
        ) from error
    for name, label, values in zip(ids, labels, scores, strict=True):
        if len(values) != len(classes):
            raise AnnotationError(f"{path}: {name} has {len(values)} scores for {len(classes)} classes.")
        _check_label(str(path), name, label, classes, values)
    return _read(path, ids, classes, scores, failures)


def _check_label(where: str, name: str, label: str, classes: Sequence[str], values: Sequence[float]) -> None:
    best = classes[int(np.argmax(values))] if values else None
    if label != best:
        raise AnnotationError(f"{where}: {name} has the class {label!r}, but {best!r} has the highest score.")


def _read(
    path: Path,
    ids: Sequence[str],
    classes: Sequence[str],
    scores: Sequence[Sequence[float]],
    failures: tuple[Skipped, ...] = (),
) -> ClassPredictions:
    table = np.array(scores, dtype=np.float64).reshape(len(ids), len(classes))
    try:
        return ClassPredictions(tuple(ids), tuple(classes), table, failures)
    except DatasetError as error:
        raise AnnotationError(f"{path}: {error}") from error
