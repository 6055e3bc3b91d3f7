"""Writing marked parts as a COCO data set with keypoints (see :mod:`partscope.formats.coco`).

Positions are written as partscope has them, which `info.partscope` says. What COCO has no field for gets one of its own that
other readers ignore: `split` of an image, `instance` of an object whose name is no number that can be its id, and
`bbox_marked: false` where no box was marked and the smallest one around the visible parts stands in its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.errors import DatasetError
from partscope.formats.coco import CORNER
from partscope.formats.objects import OBJECT
from partscope.formats.registry import writer
from partscope.formats.writing import Losses, Named, Written, by_image, common_split, named


@writer("coco", ".json")
def write_coco(dataset: PartDataset, path: str | Path, skeleton: Sequence[tuple[str, str]] = ()) -> Written:
    """Write marked parts as a COCO data set.

    Parameters
    ----------
    path: the .json file.
    skeleton: pairs of part names to be joined by lines when shown.

    Raises
    ------
    DatasetError: the data set is empty, or the skeleton names an unknown part.
    PartscopeError: the file cannot be written.
    """
    items, losses = named(dataset), Losses()
    for name in (name for pair in skeleton for name in pair):
        if name not in dataset.parts:
            raise DatasetError(
                f"the skeleton names the unknown part {name!r}; the parts are {dataset.parts}."
            )
    losses.reserved_label(items)
    groups = by_image(items)
    pictures = {image: i for i, image in enumerate(groups, start=1)}
    labels = {label: c for c, label in enumerate(dict.fromkeys(_label(item) for item in items), start=1)}
    lines = [[dataset.parts.index(name) + 1 for name in pair] for pair in skeleton]
    content = {
        "info": {"description": f"{dataset.name}; keypoints are {CORNER}", "partscope": {"origin": "corner"}},
        "images": [_picture(i, image, groups[image], losses) for image, i in pictures.items()],
        "categories": [
            {"id": c, "name": label, "supercategory": "", "keypoints": list(dataset.parts), "skeleton": lines}
            for label, c in labels.items()
        ],
        "annotations": [
            _annotation(item, key, pictures[item.image], labels[_label(item)])
            for item, key in zip(items, _ids(items), strict=True)
        ],
    }
    atomic_write(path, json.dumps(content, allow_nan=False, indent=1) + "\n")
    return Written(losses.texts(), {item.image: item.sample.image for item in items})


def _label(item: Named) -> str:
    return OBJECT if item.sample.label is None else item.sample.label


def _picture(i: int, image: str, group: list[Named], losses: Losses) -> dict[str, Any]:
    width, height = group[0].sample.size
    split = common_split(group, losses)
    more = {} if split is None else {"split": split}
    return {"id": i, "file_name": image, "width": int(width), "height": int(height), **more}


def _ids(items: Sequence[Named]) -> list[int]:
    """Return an id for each annotation: the object's own where it is a number and nobody else's."""
    own = [int(item.instance) if item.instance and _is_id(item.instance) else 0 for item in items]
    taken = {key for key in own if key and own.count(key) == 1} if any(own) else set()
    ids, free = [], 1
    for key in own:
        if key in taken:
            ids.append(key)
            continue
        while free in taken:
            free += 1
        taken.add(free)
        ids.append(free)
    return ids


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text and int(text) > 0


def _annotation(item: Named, key: int, picture: int, category: int) -> dict[str, Any]:
    sample, more = item.sample, {}
    if item.instance is not None and item.instance != str(key):
        more["instance"] = item.instance
    points = sample.points[sample.visible]
    if sample.box is not None:
        box = list(sample.box)
    else:
        box = [*points.min(axis=0), *np.ptp(points, axis=0)] if len(points) else [0.0] * 4
    keypoints: list[float] = []
    for (x, y), visible in zip(sample.points.tolist(), sample.visible.tolist(), strict=True):
        keypoints += (x, y, 2) if visible else (0, 0, 0)
    return {
        "id": key,
        "image_id": picture,
        "category_id": category,
        "bbox": [float(side) for side in box],
        "area": float(box[2] * box[3]),
        "iscrowd": 0,
        "num_keypoints": len(points),
        "keypoints": keypoints,
        **({} if sample.box is not None else {"bbox_marked": False}),
        **more,
    }
