"""Located parts in other libraries: a data frame, COCO's results, key points of supervision and FiftyOne. Arrays in, theirs out."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import DatasetError, MissingExtraError

if TYPE_CHECKING:
    import pandas
    import supervision

#: The type of each column of the frame; the others are numbers, NaN where there is none.
_TYPES = {"image": "object", "part": "object", "found": "bool", "visible": "bool"}


def as_frame(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return flat records, all with the same fields, as a frame.

    Raises
    ------
    MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "formats", "A data frame") from error
    rows = list(records)
    columns = list(rows[0]) if rows else ["image", "part", "x", "y", "found", "score", "visible"]
    return pandas.DataFrame(
        {
            name: pandas.Series([row[name] for row in rows], dtype=_TYPES.get(name, "float64"))
            for name in columns
        }
    )


def as_coco_results(
    ids: Sequence[str],
    points: NDArray[np.float64],
    found: NDArray[np.bool_],
    visible: NDArray[np.bool_],
    score: NDArray[np.float64],
    image_ids: Mapping[str, int] | None,
    category_id: int,
    shift: float,
) -> list[dict[str, Any]]:
    """Return one record per image in COCO's format of key point results.

    Parameters
    ----------
    ids, points, found, visible, score: as in :class:`partscope.predictions.PartPredictions`.
    image_ids: COCO's id of each image by its name; None numbers them from 1.
    category_id: COCO's id of the objects' category.
    shift: pixels that are added to positions.

    Raises
    ------
    DatasetError: an image has no id.
    """
    results = []
    for i, name in enumerate(ids):
        if image_ids is not None and name not in image_ids:
            raise DatasetError(f"{name}: the image has no COCO id; add it to image_ids.")
        keypoints: list[float] = []
        for (x, y), is_found, is_visible in zip(
            points[i].tolist(), found[i].tolist(), visible[i].tolist(), strict=True
        ):
            keypoints += (x + shift, y + shift, 2 if is_visible else 1) if is_found else (0.0, 0.0, 0)
        results.append(
            {
                "image_id": i + 1 if image_ids is None else int(image_ids[name]),
                "category_id": category_id,
                "keypoints": keypoints,
                "score": float(score[i][found[i]].mean()) if found[i].any() else 0.0,
            }
        )
    return results


def as_key_points(
    points: NDArray[np.float64],
    found: NDArray[np.bool_],
    visible: NDArray[np.bool_],
    score: NDArray[np.float64],
) -> list[supervision.KeyPoints]:
    """Return one `supervision.KeyPoints` of one object per image.

    Raises
    ------
    MissingExtraError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError("supervision", "supervision", "supervision.KeyPoints") from error
    known = inspect.signature(supervision.KeyPoints.__init__).parameters
    name = "keypoint_confidence" if "keypoint_confidence" in known else "confidence"
    result = []
    for i in range(len(points)):
        # Its annotators leave out what lies at (0, 0).
        xy = np.where(found[i][:, None], points[i], 0.0).astype(np.float32)
        more: dict[str, Any] = {name: score[i : i + 1].astype(np.float32)}
        if "visible" in known:
            more["visible"] = (found[i] & visible[i])[None]
        result.append(supervision.KeyPoints(xy=xy[None], class_id=np.zeros(1, dtype=int), **more))
    return result


def as_fiftyone_keypoints(
    points: NDArray[np.float64],
    shown: NDArray[np.bool_],
    score: NDArray[np.float64],
    sizes: ArrayLike,
    label: str,
) -> list[dict[str, Any]]:
    """Return one record per image with the fields of FiftyOne's `Keypoints`, of one object.

    Parameters
    ----------
    points, score: as in :class:`partscope.predictions.PartPredictions`.
    shown: (N, P) bool: which parts get a position.
    sizes: (N, 2) width and height of the upright images in pixels.
    label: of the object.

    Raises
    ------
    DatasetError: `sizes` have another shape, or one is not positive.
    """
    sides = np.asarray(sizes, dtype=np.float64)
    if len(points) == 0:
        return []
    if sides.shape != (len(points), 2) or not (np.isfinite(sides) & (sides > 0)).all():
        raise DatasetError(
            f"sizes must be the positive width and height of each of {len(points)} images, not an array of shape {sides.shape}"
            f"{'' if sides.shape != (len(points), 2) else ' with other values'}."
        )
    relative = np.where(shown[..., None], points / sides[:, None], np.nan)
    return [
        {
            "keypoints": [
                {"label": label, "points": at, "confidence": confidence},
            ]
        }
        for at, confidence in zip(relative.tolist(), score.tolist(), strict=True)
    ]
