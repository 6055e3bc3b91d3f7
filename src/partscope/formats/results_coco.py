"""Located parts as a COCO data set with keypoints, in the pixels of :mod:`partscope.formats.results`.

It has one annotation per image. A keypoint is `x, y, v` with v = 2 for a part that was found and is
believed to be visible, v = 1 for one that was found but is believed to be hidden, and `0, 0, 0` for one that was not
found. `keypoint_scores` beside `keypoints` holds the parts' scores, `score` their mean over the parts that were found. Where
the method gives them, `keypoint_expected_errors` holds pixels, `doubt` the image's doubt and `predicted_box` the box, null
standing for no number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.atomic import atomic_write
from partscope.dataset import Skipped
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.reading import json_records, number, read_json
from partscope.formats.results import check_unique
from partscope.predictions import PartPredictions


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
        predicted box, or the smallest one around the parts that were found (all zero if none was), since the format asks
        for one.
    skeleton: pairs of part names to be joined by lines when shown.
    category: name of the objects.

    Raises
    ------
    DatasetError: shapes do not fit, an image occurs twice, or the skeleton names an unknown part.
    PartscopeError: the file cannot be written.
    """
    check_unique(predictions)
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
    more: dict[str, Any] = {}
    if predictions.expected_error is not None:
        more["keypoint_expected_errors"] = _nullable(predictions.expected_error[i])
        more["doubt"] = _nullable(predictions.doubt[i : i + 1])[0]
    if predictions.boxes is not None:
        predicted = predictions.boxes[i]
        more["predicted_box"] = None if np.isnan(predicted).all() else predicted.tolist()
        box = np.where(np.isnan(box).all(), predicted, box)
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
        **more,
    }


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


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
        named = {key for _, record in images for key in record}
        expected, boxes = (
            _optional([record.get(key) for _, record in images], width) if key in named else None
            for key, width in (("keypoint_expected_errors", len(parts)), ("predicted_box", 4))
        )
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
    names = tuple(name for name, _ in images)
    return PartPredictions(parts, names, points, v > 0, score, v == 2, skipped, expected, boxes)


def _optional(rows: Sequence[list[Any] | None], width: int) -> NDArray[np.float64]:
    """Return rows of numbers and nulls as an array (N, width), NaN where there is none."""
    filled = [
        [np.nan] * width if row is None else [np.nan if value is None else number(value) for value in row]
        for row in rows
    ]
    return np.array(filled, dtype=np.float64).reshape(len(rows), width)


def _rows(values: ArrayLike, shape: tuple[int, int], what: str) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0 and shape[0] == 0:
        return rows.reshape(shape)
    if rows.shape != shape:
        raise DatasetError(f"{what} must have shape {shape}, not {rows.shape}.")
    return rows
