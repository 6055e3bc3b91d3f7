"""Located parts as files: a CSV table, or a COCO data set with keypoints.

Both hold positions in pixels of the upright image, x right, y down, measured from the image's top left corner so that a
pixel's centre is at +0.5. Numbers are written as the shortest text that reads back as the same float64. Both are written
whole or not at all.

The table has the columns `image,part,x,y,found,score,visible` and one row per image and part; `found` and `visible` are 1
or 0, and `x` and `y` are empty where the part was not found.

The COCO data set has one annotation per image. A keypoint is `x, y, v` with v = 2 for a part that was found and is
believed to be visible, v = 1 for one that was found but is believed to be hidden, and `0, 0, 0` for one that was not
found. `keypoint_scores` beside `keypoints` holds the parts' scores, `score` their mean over the parts that were found.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.atomic import atomic_write
from partscope.dataset import Skipped
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.reading import json_records, number, read_json, read_text
from partscope.predictions import PartPredictions

COLUMNS = ("image", "part", "x", "y", "found", "score", "visible")


def write_predictions_csv(predictions: PartPredictions, file: str | Path) -> None:
    """Write located parts as a table (see the module); `predictions.failures` have no rows and are the caller's to report.

    Raises
    ------
    DatasetError: an image occurs twice.
    PartscopeError: the file cannot be written.
    """
    _check_unique(predictions)
    lines = [",".join(COLUMNS)]
    for record in predictions.records():
        x, y = (repr(record["x"]), repr(record["y"])) if record["found"] else ("", "")
        found, visible = str(int(record["found"])), str(int(record["visible"]))
        lines.append(
            ",".join(
                [
                    quoted(record["image"]),
                    quoted(record["part"]),
                    x,
                    y,
                    found,
                    repr(record["score"]),
                    visible,
                ]
            )
        )
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
    images: dict[str, dict[str, tuple[float, float, bool, float, bool]]] = {}
    try:
        header = next(rows)
        if header != list(COLUMNS):
            raise AnnotationError(
                f"{path}: the first line must be {','.join(COLUMNS)!r}, not {','.join(header)!r}."
            )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            try:
                image, part, x, y, found, score, visible = row
                values = _parse_row(x, y, found, score, visible)
            except ValueError as error:
                raise AnnotationError(
                    f"{where}: {','.join(row)!r} does not parse; expected {','.join(COLUMNS)}, "
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
    points = np.array([[row[:2] for row in image] for image in table], dtype=np.float64)
    flags = np.array([[(row[2], row[4]) for row in image] for image in table], dtype=np.bool_)
    scores = np.array([[row[3] for row in image] for image in table], dtype=np.float64)
    return PartPredictions(names, tuple(images), points, flags[..., 0], scores, flags[..., 1])


def write_predictions_coco(
    predictions: PartPredictions,
    sizes: ArrayLike,
    file: str | Path,
    boxes: ArrayLike | None = None,
    skeleton: Sequence[tuple[str, str]] = (),
    category: str = "object",
) -> None:
    """Write located parts as a COCO data set (see the module).

    Parameters
    ----------
    predictions: N images and P parts; `failures` are listed under `info`.
    sizes: (N, 2) width and height of the upright images in pixels.
    boxes: (N, 4) boxes `(x, y, width, height)`, NaN rows where there is none. Without a box an annotation gets the
        smallest box around the parts that were found (all zero if none was), since the format asks for one.
    skeleton: pairs of part names to be joined by lines when shown.
    category: name of the objects.

    Raises
    ------
    DatasetError: shapes do not fit, an image occurs twice, or the skeleton names an unknown part.
    PartscopeError: the file cannot be written.
    """
    _check_unique(predictions)
    count = len(predictions)
    size_rows = _rows(sizes, (count, 2), "sizes")
    box_rows = np.full((count, 4), np.nan) if boxes is None else _rows(boxes, (count, 4), "boxes")
    for pair in skeleton:
        for name in pair:
            if name not in predictions.parts:
                raise DatasetError(
                    f"the skeleton names the unknown part {name!r}; the parts are {predictions.parts}."
                )
    content = {
        "info": {
            "description": "Parts located by partscope; positions in pixels, pixel centres at +0.5",
            "failures": [
                {"file_name": failure.id, "reason": failure.reason} for failure in predictions.failures
            ],
        },
        "images": [
            {"id": i + 1, "file_name": name, "width": int(size_rows[i, 0]), "height": int(size_rows[i, 1])}
            for i, name in enumerate(predictions.ids)
        ],
        "categories": [
            {
                "id": 1,
                "name": category,
                "supercategory": "",
                "keypoints": list(predictions.parts),
                "skeleton": [[predictions.parts.index(name) + 1 for name in pair] for pair in skeleton],
            }
        ],
        "annotations": [_annotation(predictions, i, box_rows[i]) for i in range(count)],
    }
    atomic_write(file, json.dumps(content, allow_nan=False, indent=1) + "\n")


def _annotation(predictions: PartPredictions, i: int, box: NDArray[np.float64]) -> dict[str, Any]:
    found = predictions.found[i]
    if np.isnan(box).all():
        points = predictions.points[i][found]
        box = np.concatenate([points.min(axis=0), np.ptp(points, axis=0)]) if found.any() else np.zeros(4)
    v = np.where(found, np.where(predictions.visible[i], 2, 1), 0)
    xy = np.where(found[:, None], predictions.points[i], 0.0)
    score = predictions.score[i]
    return {
        "id": i + 1,
        "image_id": i + 1,
        "category_id": 1,
        "bbox": box.tolist(),
        "area": float(box[2] * box[3]),
        "iscrowd": 0,
        "num_keypoints": int(found.sum()),
        "keypoints": [
            value for point, flag in zip(xy.tolist(), v.tolist(), strict=True) for value in (*point, flag)
        ],
        "keypoint_scores": score.tolist(),
        "score": float(score[found].mean()) if found.any() else 0.0,
    }


def read_predictions_coco(file: str | Path) -> PartPredictions:
    """Read what :func:`write_predictions_coco` wrote; a part that was not found reads as not visible.

    Raises
    ------
    AnnotationError: the file is missing or does not parse; there is not one category, or not one annotation per image; a
        record lacks a field or holds other values than it should.
    """
    path = Path(file)
    content = read_json(path)
    categories = json_records(content, "categories", path)
    if len(categories) != 1:
        raise AnnotationError(f"{path}: expected one category, not {len(categories)}; split the file.")
    records: dict[Any, dict[str, Any]] = {}
    try:
        parts = tuple(str(name) for name in categories[0]["keypoints"])
        for record in json_records(content, "annotations", path):
            if records.setdefault(record["image_id"], record) is not record:
                raise AnnotationError(
                    f"{path}: image {record['image_id']} has a second annotation; keep one of them."
                )
        images = [
            (str(record["file_name"]), records[record["id"]])
            for record in json_records(content, "images", path)
        ]
        keypoints = [[number(value) for value in record["keypoints"]] for _, record in images]
        scores = [[number(value) for value in record["keypoint_scores"]] for _, record in images]
        failures = content.get("info", {}).get("failures", [])
        skipped = tuple(Skipped(str(failure["file_name"]), str(failure["reason"])) for failure in failures)
        values = np.array(keypoints, dtype=np.float64).reshape(len(images), len(parts), 3)
        score = np.array(scores, dtype=np.float64).reshape(len(images), len(parts))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{path}: a record lacks a field or does not fit the others ({error}); expected a file that partscope wrote."
        ) from error
    v = values[..., 2]
    points = np.where((v > 0)[..., None], values[..., :2], np.nan)
    return PartPredictions(parts, tuple(name for name, _ in images), points, v > 0, score, v == 2, skipped)


def quoted(text: str) -> str:
    """Return a value of a CSV line, in quotes where it needs them."""
    # Before Python 3.13 csv.writer leaves a lone carriage return unquoted if lines end in a newline alone.
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\r\n') else text


def _parse_row(
    x: str, y: str, found: str, score: str, visible: str
) -> tuple[float, float, bool, float, bool]:
    if found not in ("0", "1") or visible not in ("0", "1") or (found == "0" and x + y != ""):
        raise ValueError
    point = (number(x), number(y)) if found == "1" else (np.nan, np.nan)
    return *point, found == "1", number(score), visible == "1"


def _rows(values: ArrayLike, shape: tuple[int, int], what: str) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0 and shape[0] == 0:
        return rows.reshape(shape)
    if rows.shape != shape:
        raise DatasetError(f"{what} must have shape {shape}, not {rows.shape}.")
    return rows


def _check_unique(predictions: PartPredictions) -> None:
    if len(set(predictions.ids)) != len(predictions.ids):
        twice = next(name for name in predictions.ids if predictions.ids.count(name) > 1)
        raise DatasetError(
            f"{twice}: the image occurs more than once; names of images must be unique in a file."
        )
