"""Writing for Label Studio (see :mod:`partscope.formats.label_studio`): annotations, and parts found as pre-annotations.

Beside the file `NAME.json` stands `NAME.xml`, the labelling configuration that fits it: paste it into the project's settings
under *Labeling Interface*. Images are addressed as `prefix` and their name; the default, `/data/local-files/?d=`, is that of
Label Studio's local storage, whose root must then be the folder of images.

What is lost: the class of an object without a box, the names of objects in JSON-MIN and of the only object of an image, and a
billionth of a pixel in positions, since they are per cent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.errors import DatasetError
from partscope.formats.objects import OBJECT
from partscope.formats.reading_xml import check_xml_text, xml_text
from partscope.formats.registry import writer
from partscope.formats.results import check_unique
from partscope.formats.writing import Losses, Named, Written, by_image, common_split, named
from partscope.predictions import PartPredictions

#: How Label Studio addresses files of its local storage.
LOCAL = "/data/local-files/?d="
#: How large a key point is drawn, in per cent of the image's width.
_DOT = 0.6


def label_studio_config(parts: Sequence[str], labels: Sequence[str] = (OBJECT,)) -> str:
    """Return the labelling configuration for key points of these parts and rectangles of these classes.

    Raises
    ------
    DatasetError: a name holds a control character.
    """
    check_xml_text(*parts, *labels)
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    points = ElementTree.SubElement(view, "KeyPointLabels", name="part", toName="image", opacity="0.9")
    for part in parts:
        ElementTree.SubElement(points, "Label", value=part)
    boxes = ElementTree.SubElement(view, "RectangleLabels", name="object", toName="image")
    for label in labels:
        ElementTree.SubElement(boxes, "Label", value=label)
    return xml_text(view)


@writer("label-studio", ".json")
def write_label_studio(dataset: PartDataset, path: str | Path, prefix: str = LOCAL) -> Written:
    """Write marked parts as an export JSON of Label Studio, with the labelling configuration beside it.

    Parameters
    ----------
    path: the .json file.
    prefix: what stands before an image's name in its address.

    Raises
    ------
    DatasetError: the data set is empty; of several objects of an image one has no box, which tells them apart; a name holds
        what the configuration cannot.
    PartscopeError: a file cannot be written.
    """
    return _write(dataset, Path(path), prefix, minimal=False)


@writer("label-studio-min", ".json")
def write_label_studio_min(dataset: PartDataset, path: str | Path, prefix: str = LOCAL) -> Written:
    """Write marked parts as an export JSON-MIN of Label Studio; everything else as :func:`write_label_studio`."""
    return _write(dataset, Path(path), prefix, minimal=True)


def _write(dataset: PartDataset, path: Path, prefix: str, minimal: bool) -> Written:
    items, losses, tasks = named(dataset), Losses(), []
    losses.reserved_label(items)
    for i, (image, group) in enumerate(by_image(items).items(), start=1):
        if len(group) > 1 and any(item.sample.box is None for item in group):
            raise DatasetError(
                f"{image}: of its {len(group)} objects one has no box, and Label Studio tells objects apart by theirs; give "
                "every object a box, or write csv or coco."
            )
        losses.without([item for item in group if item.sample.box is None], "label")
        if len(group) == 1:
            losses.without(group, "instance")
        split = common_split(group, losses)
        data = {
            "image": prefix + quote(image, errors="surrogateescape"),
            **({} if split is None else {"split": split}),
        }
        results = [
            result for k, item in enumerate(group) for result in _results(dataset.parts, item, f"{i}-{k}")
        ]
        tasks.append(_minimal(i, data, results) if minimal else _full(i, data, results))
    labels = [label for label in dict.fromkeys(dataset.labels) if label is not None]
    config = label_studio_config(
        dataset.parts, labels if len(labels) and None not in dataset.labels else [OBJECT, *labels]
    )
    atomic_write(path.with_suffix(".xml"), config)
    atomic_write(path, json.dumps(tasks, allow_nan=False, indent=1) + "\n")
    return Written(losses.texts(), {item.image: item.sample.image for item in items})


def _full(i: int, data: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": i, "data": data, "annotations": [{"id": i, "was_cancelled": False, "result": results}]}


def _minimal(i: int, data: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a task of JSON-MIN; the regions' ids and parents are further entries, which others leave alone."""
    values: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        kept = ("original_width", "original_height", "id", "parentID")
        value = {**result["value"], **{name: result[name] for name in kept if name in result}}
        values.setdefault(result["from_name"], []).append(value)
    return {**data, "id": i, **values, "annotator": 1, "annotation_id": i}


def _results(parts: Sequence[str], item: Named, key: str) -> list[dict[str, Any]]:
    sample = item.sample
    key = key if item.instance is None else item.instance
    found = []
    if sample.box is not None:
        found.append(
            _rectangle(sample.box, sample.size, OBJECT if sample.label is None else sample.label, key)
        )
    for p in np.flatnonzero(sample.visible).tolist():
        point = _keypoint(sample.points[p].tolist(), sample.size, parts[p], f"{key}/{p}")
        found.append({**point, "parentID": key} if sample.box is not None else point)
    return found


def _region(size: Sequence[float], key: str, type: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": key,
        "type": type,
        "from_name": "part" if type == "keypointlabels" else "object",
        "to_name": "image",
        "original_width": int(size[0]),
        "original_height": int(size[1]),
        "image_rotation": 0,
        "value": value,
    }


def _keypoint(point: Sequence[float], size: Sequence[float], part: str, key: str) -> dict[str, Any]:
    x, y = (value / side * 100 for value, side in zip(point, size, strict=True))
    return _region(size, key, "keypointlabels", {"x": x, "y": y, "width": _DOT, "keypointlabels": [part]})


def _rectangle(box: Sequence[float], size: Sequence[float], label: str, key: str) -> dict[str, Any]:
    x, y, width, height = (value / side * 100 for value, side in zip(box, (*size, *size), strict=True))
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return _region(size, key, "rectanglelabels", value)


def pre_annotation(
    predictions: PartPredictions, i: int, size: Sequence[float], model_version: str, label: str = OBJECT
) -> dict[str, Any]:
    """Return what was found in image `i` as one prediction of a task: `model_version`, `score` and `result`.

    Parameters
    ----------
    predictions: at least i + 1 images.
    i: the image's row.
    size: width and height of the upright image in pixels.
    model_version: how Label Studio calls the set of pre-annotations.
    label: the class of the rectangle.
    """
    shown = predictions.found[i] & predictions.visible[i]
    results, parent = [], {}
    if predictions.boxes is not None and np.isfinite(predictions.boxes[i]).all():
        results.append(_rectangle(predictions.boxes[i].tolist(), size, label, f"{i}"))
        parent = {"parentID": f"{i}"}
    for p in np.flatnonzero(shown).tolist():
        point = _keypoint(predictions.points[i, p].tolist(), size, predictions.parts[p], f"{i}/{p}")
        results.append({**point, "score": float(predictions.score[i, p]), **parent})
    score = float(predictions.score[i][shown].mean()) if shown.any() else 0.0
    return {"model_version": model_version, "score": score, "result": results}


def write_predictions_label_studio(
    predictions: PartPredictions,
    sizes: ArrayLike,
    file: str | Path,
    *,
    model_version: str = "partscope",
    prefix: str = LOCAL,
    label: str = OBJECT,
) -> None:
    """Write parts found as tasks with pre-annotations, in the order of the predictions, to be corrected in Label Studio.

    Parts that were found and are believed to be visible are key points with their scores; the predicted box is a rectangle.
    A task's prediction has the mean score of its parts, by which Label Studio can order tasks, and the task's data the entry
    `doubt` where the method gives one. The labelling configuration is written beside the file, ending in `.xml`.

    Parameters
    ----------
    predictions: N images; `failures` have no task and are the caller's to report.
    sizes: (N, 2) width and height of the upright images in pixels.
    file: the .json file.
    model_version: how Label Studio calls the set of pre-annotations.
    prefix: what stands before an image's name in its address.
    label: the class of the rectangles.

    Raises
    ------
    DatasetError: shapes do not fit, an image occurs twice, or a name holds a control character.
    PartscopeError: a file cannot be written.
    """
    check_unique(predictions)
    path, rows = Path(file), np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if len(rows) != len(predictions):
        raise DatasetError(f"sizes must have shape ({len(predictions)}, 2), not {rows.shape}.")
    tasks = []
    for i, name in enumerate(predictions.ids):
        doubt = predictions.doubt[i]
        tasks.append(
            {
                "data": {
                    "image": prefix + quote(name, errors="surrogateescape"),
                    **({"doubt": float(doubt)} if np.isfinite(doubt) else {}),
                },
                "predictions": [pre_annotation(predictions, i, rows[i].tolist(), model_version, label)],
            }
        )
    atomic_write(path.with_suffix(".xml"), label_studio_config(predictions.parts, [label]))
    atomic_write(path, json.dumps(tasks, allow_nan=False, indent=1) + "\n")
