"""`PartPredictions`: what every detector returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.dataset import Skipped
from partscope.errors import DatasetError, OptionError
from partscope.handing_on import as_coco_results, as_fiftyone_keypoints, as_frame, as_key_points

if TYPE_CHECKING:
    import pandas
    import supervision

#: Arrays that a method may do without.
OPTIONAL = ("expected_error", "boxes")


@dataclass(frozen=True, eq=False)
class PartPredictions:
    """Parts located in N images; immutable, the arrays are copied.

    Parameters
    ----------
    parts: P part names.
    ids: N names of the images.
    points: (N, P, 2) float64 positions `(x, y)` in pixels of the upright image; NaN where not found.
    found: (N, P) bool: the method gave a position.
    score: (N, P) float64 in [0, 1]; 0 where not found. What it measures depends on the method and is documented there:
        of `linear` with its arrangement it is the probability that the part is visible, of others it orders the predictions.
    visible: (N, P) bool: the method believes that the part can be seen.
    failures: images that could not be read and have no row here, with the reason.
    expected_error: (N, P) float64 expected distance between the part and its point in pixels, if the part is visible; NaN
        where the method gives none and where the part is not found; None for a method that gives none at all.
    boxes: (N, 4) float64 bounding boxes of the objects `(x, y, width, height)` in pixels that the method predicts from what
        it found, not those that it was given; NaN rows where there is none; None for a method that predicts none.

    Raises
    ------
    DatasetError: shapes do not fit, a part that was found has no finite position or no score in [0, 1], an expected error
        is negative or infinite, or a predicted box is not finite or has no area.
    """

    parts: tuple[str, ...]
    ids: tuple[str, ...]
    points: NDArray[np.float64]
    found: NDArray[np.bool_]
    score: NDArray[np.float64]
    visible: NDArray[np.bool_]
    failures: tuple[Skipped, ...] = ()
    expected_error: NDArray[np.float64] | None = None
    boxes: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.parts))
        wanted = {
            "points": ((*shape, 2), np.float64),
            "found": (shape, np.bool_),
            "score": (shape, np.float64),
            "visible": (shape, np.bool_),
            "expected_error": (shape, np.float64),
            "boxes": ((shape[0], 4), np.float64),
        }
        arrays: dict[str, NDArray[Any]] = {}
        for name, (size, dtype) in wanted.items():
            if name in OPTIONAL and getattr(self, name) is None:
                continue
            arrays[name] = np.array(getattr(self, name), dtype=dtype)
            if arrays[name].shape != size:
                raise DatasetError(f"predictions: {name} must have shape {size}, not {arrays[name].shape}.")
        found, score = arrays["found"], arrays["score"]
        if not np.isfinite(arrays["points"][found]).all():
            raise DatasetError("predictions: a part that was found has no finite position.")
        arrays["points"][~found] = np.nan
        score[~found] = 0.0
        wrong = score[~((score >= 0) & (score <= 1))]
        if wrong.size:
            raise DatasetError(f"predictions: score must lie in [0, 1], not {wrong[0]}.")
        if "expected_error" in arrays:
            expected = arrays["expected_error"]
            expected[~found] = np.nan
            wrong = expected[(expected < 0) | np.isinf(expected)]
            if wrong.size:
                raise DatasetError(
                    f"predictions: expected_error must be finite and not negative, not {wrong[0]}."
                )
        if "boxes" in arrays:
            boxes = arrays["boxes"][~np.isnan(arrays["boxes"]).all(axis=1)]
            bad = boxes[~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1))]
            if len(bad):
                raise DatasetError(
                    f"predictions: boxes must be four finite numbers with an area, or NaN, not {bad[0].tolist()}."
                )
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls, parts: Sequence[str]) -> PartPredictions:
        """Return predictions for no image."""
        shape = (0, len(parts))
        return cls(
            tuple(parts),
            (),
            np.empty((*shape, 2)),
            np.empty(shape, bool),
            np.empty(shape),
            np.empty(shape, bool),
        )

    @classmethod
    def concatenate(cls, pieces: Sequence[PartPredictions]) -> PartPredictions:
        """Join predictions of the same parts."""
        if not pieces:
            raise DatasetError("predictions: there is nothing to join.")
        if any(piece.parts != pieces[0].parts for piece in pieces):
            raise DatasetError("predictions: only predictions of the same parts can be joined.")
        return cls(
            pieces[0].parts,
            tuple(name for piece in pieces for name in piece.ids),
            np.concatenate([piece.points for piece in pieces]),
            np.concatenate([piece.found for piece in pieces]),
            np.concatenate([piece.score for piece in pieces]),
            np.concatenate([piece.visible for piece in pieces]),
            tuple(failure for piece in pieces for failure in piece.failures),
            **{name: _joined(pieces, name) for name in OPTIONAL},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> PartPredictions:
        if not isinstance(index, slice):
            index = np.atleast_1d(np.asarray(index, dtype=None if np.size(index) else np.intp))
        take = np.arange(len(self))[index]
        return PartPredictions(
            self.parts,
            tuple(self.ids[i] for i in take),
            self.points[take],
            self.found[take],
            self.score[take],
            self.visible[take],
            self.failures,
            **{name: None if getattr(self, name) is None else getattr(self, name)[take] for name in OPTIONAL},
        )

    def with_parts(self, names: Sequence[str]) -> PartPredictions:
        """Return the predictions of these parts only, in this order; a DatasetError names an unknown part."""
        missing = [name for name in names if name not in self.parts]
        if missing:
            raise DatasetError(
                f"predictions: there is no part {missing[0]!r}; there are {', '.join(self.parts)}."
            )
        take = [self.parts.index(name) for name in names]
        return PartPredictions(
            tuple(names),
            self.ids,
            self.points[:, take],
            self.found[:, take],
            self.score[:, take],
            self.visible[:, take],
            self.failures,
            None if self.expected_error is None else self.expected_error[:, take],
            self.boxes,
        )

    @property
    def doubt(self) -> NDArray[np.float64]:
        """(N,) how doubtful each image is: what an annotator looks at first has the largest number.

        The mean of the parts' expected errors, weighted by their scores, divided by the object's size: the diagonal of the
        predicted box, or where there is none of the rectangle around the parts that were found. So a part counts as much
        as it is believed to be visible, and a small object far away is not less doubtful than a large one. NaN where the
        method gives no expected error, and where nothing was found or everything at one place.
        """
        if self.expected_error is None:
            return np.full(len(self), np.nan)
        known = np.isfinite(self.expected_error)
        weight = np.where(known, self.score, 0.0)
        # With no score above zero every part that was found counts alike.
        weight = np.where(weight.sum(axis=1, keepdims=True) > 0, weight, known)
        total = (weight * np.where(known, self.expected_error, 0.0)).sum(axis=1)
        low = np.where(self.found[..., None], self.points, np.inf).min(axis=1, initial=np.inf)
        high = np.where(self.found[..., None], self.points, -np.inf).max(axis=1, initial=-np.inf)
        size = np.hypot(*np.maximum(high - low, 0.0).T)
        if self.boxes is not None:
            diagonal = np.hypot(self.boxes[:, 2], self.boxes[:, 3])
            size = np.where(np.isfinite(diagonal), diagonal, size)
        share = weight.sum(axis=1) * size
        return np.asarray(np.where(share > 0, total / np.where(share > 0, share, 1.0), np.nan))

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield one flat record per image and part: `image, part, x, y, found, score, visible` (x, y None if not found).

        Where the method gives them, `expected_error` and the image's `doubt` follow, and the predicted box as `box_x, box_y,
        box_width, box_height`; None stands for NaN.
        """
        doubt, boxes = self.doubt, self.boxes
        for i, name in enumerate(self.ids):
            for p, part in enumerate(self.parts):
                found = bool(self.found[i, p])
                more: dict[str, float | None] = {}
                if self.expected_error is not None:
                    more["expected_error"] = _number(self.expected_error[i, p])
                    more["doubt"] = _number(doubt[i])
                if boxes is not None:
                    sides = (f"box_{side}" for side in ("x", "y", "width", "height"))
                    more.update(zip(sides, map(_number, boxes[i]), strict=True))
                x, y = self.points[i, p].tolist() if found else (None, None)
                yield {
                    "image": name,
                    "part": part,
                    "x": x,
                    "y": y,
                    "found": found,
                    "score": float(self.score[i, p]),
                    "visible": bool(self.visible[i, p]),
                    **more,
                }

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row per image and part with the columns of :meth:`records`; NaN stands for None.

        Raises
        ------
        MissingExtraError: pandas (in the extra `formats`) is not installed.
        """
        return as_frame(self.records())

    def to_coco(
        self, image_ids: Mapping[str, int] | None = None, category_id: int = 1, origin: str = "pixel"
    ) -> list[dict[str, Any]]:
        """Return the parts in COCO's format of key point results, one record per image, for `COCO.loadRes`.

        A key point is `x, y, v`: v = 2 for a part that is believed to be visible, 1 for a hidden one, and `0, 0, 0` for one
        that was not found; `score` is the mean over the parts that were found. A whole data set with images and categories
        is written by :func:`partscope.formats.write_predictions_coco`.

        Parameters
        ----------
        image_ids: COCO's id of each image by its name; by default images are numbered from 1.
        category_id: COCO's id of the objects' category.
        origin: `"pixel"` counts from the centre of the first pixel, as COCO's own annotations do; `"corner"` from the
            image's corner, as partscope does.

        Raises
        ------
        DatasetError: an image has no id.
        OptionError: `origin` is neither of the two.
        """
        if origin not in ("pixel", "corner"):
            raise OptionError(f"origin must be 'pixel' or 'corner', not {origin!r}.")
        shift = -0.5 if origin == "pixel" else 0.0
        return as_coco_results(
            self.ids, self.points, self.found, self.visible, self.score, image_ids, category_id, shift
        )

    def to_supervision(self) -> list[supervision.KeyPoints]:
        """Return one `supervision.KeyPoints` of one object per image, for its annotators.

        Positions are partscope's; a part that was not found lies at (0, 0), which the annotators leave out. The score is the
        key point's confidence, and `visible` what the method believes, where the installed version has it.

        Raises
        ------
        MissingExtraError: supervision (in the extra `supervision`) is not installed.
        """
        return as_key_points(self.points, self.found, self.visible, self.score)

    def to_fiftyone(self, sizes: ArrayLike, label: str = "object") -> list[dict[str, Any]]:
        """Return one record per image with the fields of FiftyOne's `Keypoints`; FiftyOne itself is not needed.

        `keypoints` holds one object with its `label`, its `points` in the order of `parts`, relative to the image's width and
        height, and their `confidence`, the scores. A part that was not found or is believed to be hidden is NaN, NaN.

        Parameters
        ----------
        sizes: (N, 2) width and height of the upright images in pixels.
        label: of the objects.

        Raises
        ------
        DatasetError: `sizes` have another shape, or one is not positive.
        """
        return as_fiftyone_keypoints(self.points, self.found & self.visible, self.score, sizes, label)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _joined(pieces: Sequence[PartPredictions], name: str) -> NDArray[np.float64] | None:
    """Join an optional array; rows of a piece that lacks it are NaN where another piece has it."""
    arrays = [getattr(piece, name) for piece in pieces]
    if all(array is None for array in arrays):
        return None
    width = 4 if name == "boxes" else len(pieces[0].parts)
    return np.concatenate(
        [
            np.full((len(piece), width), np.nan) if array is None else array
            for piece, array in zip(pieces, arrays, strict=True)
        ]
    )
