"""`StaticPrior`: where a part lies when nobody looks at the image.

A position is relative to the image, `(x/W, y/H)`, or to the object's box, `((x - left)/w, (y - top)/h)`. The prior stands
beside every figure: a detector that does no better than it has not looked at the image either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.dataset import PartDataset
from partscope.errors import DatasetError, OptionError
from partscope.predictions import PartPredictions

FloatArray = NDArray[np.float64]
Frame = Literal["image", "box"]
Statistic = Literal["median", "mean"]

_STATISTICS: dict[str, Callable[..., ArrayLike]] = {"median": np.median, "mean": np.mean}


@dataclass(frozen=True, eq=False)
class StaticPrior:
    """Typical part positions of a training set, relative to the image and to the box.

    Parameters
    ----------
    parts: P part names.
    image: (P, 2) float64, `(x/W, y/H)` in the image; NaN for a part that was never visible.
    box: (P, 2) float64, the position relative to the box, 0 at its left and top and 1 at its right and bottom; NaN for
        a part that was never visible in an image with a box.
    visibility: (P,) float64, share of the training images in which the part is visible.
    statistic: `"median"` (coordinate-wise) or `"mean"`, how the positions were summed up.

    Raises
    ------
    DatasetError: shapes do not fit, or a part name occurs twice.
    OptionError: unknown statistic.
    """

    parts: tuple[str, ...]
    image: FloatArray
    box: FloatArray
    visibility: FloatArray
    statistic: Statistic = "median"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        count = len(self.parts)
        if len(set(self.parts)) != count:
            raise DatasetError(f"prior: part names must be unique, not {self.parts}.")
        for name, wanted in (("image", (count, 2)), ("box", (count, 2)), ("visibility", (count,))):
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != wanted:
                raise DatasetError(f"prior: {name} must have shape {wanted}, not {array.shape}.")
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        _check_statistic(self.statistic)

    @classmethod
    def fit(cls, dataset: PartDataset, statistic: Statistic = "median") -> StaticPrior:
        """Sum up the part positions of `dataset` over the images in which each part is visible.

        The box prior uses the images that have a box.

        Raises
        ------
        DatasetError: the data set is empty, or no part is visible in any of its images.
        OptionError: unknown statistic.
        """
        reduce = _STATISTICS[_check_statistic(statistic)]
        visible = dataset.visible
        if not visible.any():
            raise DatasetError(
                f"{dataset.name}: no part is visible in any of the {len(dataset)} training images, so there is nothing "
                "to learn part positions from; check the annotations and the split."
            )
        points, boxes = dataset.points, dataset.boxes
        in_image = points / dataset.sizes[:, None]
        in_box = (points - boxes[:, None, :2]) / boxes[:, None, 2:]

        def typical(relative: FloatArray) -> FloatArray:
            known = np.asarray(np.isfinite(relative).all(axis=2))
            rows = [
                reduce(relative[known[:, p], p], axis=0) if known[:, p].any() else np.full(2, np.nan)
                for p in range(len(dataset.parts))
            ]
            return np.array(rows, dtype=np.float64)

        return cls(dataset.parts, typical(in_image), typical(in_box), visible.mean(axis=0), statistic)

    @property
    def has_box(self) -> bool:
        """Whether any part has a position relative to the box."""
        return bool(np.isfinite(self.box).any())

    def positions(
        self, sizes: ArrayLike, boxes: ArrayLike | None = None, kind: Frame = "image"
    ) -> FloatArray:
        """Return the prior positions in N images.

        Parameters
        ----------
        sizes: (N, 2) width and height of the upright images in pixels.
        boxes: (N, 4) `(x, y, width, height)` in pixels, NaN where there is none; needed by `kind="box"` alone.
        kind: `"image"` or `"box"`, what the positions are relative to.

        Returns
        -------
        (N, P, 2) float64 pixels; NaN where the part has no prior or the image no box.

        Raises
        ------
        OptionError: unknown `kind`, or `"box"` without boxes.
        DatasetError: `sizes` or `boxes` have the wrong shape.
        """
        size = np.asarray(sizes, dtype=np.float64)
        if size.ndim != 2 or size.shape[1] != 2:
            raise DatasetError(f"prior: sizes must have shape (N, 2), not {size.shape}.")
        if kind == "image":
            return self.image * size[:, None]
        if kind != "box":
            raise OptionError(f"a prior is relative to 'image' or 'box', not {kind!r}.")
        if boxes is None:
            raise OptionError("a prior relative to the box needs the boxes; give them or use kind='image'.")
        box = np.asarray(boxes, dtype=np.float64)
        if box.shape != (len(size), 4):
            raise DatasetError(f"prior: boxes must have shape ({len(size)}, 4), not {box.shape}.")
        return box[:, None, :2] + self.box * box[:, None, 2:]

    def aligned(self, names: Sequence[str]) -> StaticPrior:
        """Return the prior of these parts in this order; a part that it does not know has no position (NaN)."""
        index = {name: i for i, name in enumerate(self.parts)}
        image, box = np.full((2, len(names), 2), np.nan)
        visibility = np.zeros(len(names))
        for row, name in enumerate(names):
            if name in index:
                image[row], box[row] = self.image[index[name]], self.box[index[name]]
                visibility[row] = self.visibility[index[name]]
        return StaticPrior(tuple(names), image, box, visibility, self.statistic)

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return `image`, `box` and `visibility`; part names and statistic are text and belong in a file's header."""
        return {"image": self.image.copy(), "box": self.box.copy(), "visibility": self.visibility.copy()}

    @classmethod
    def from_arrays(
        cls, parts: Sequence[str], arrays: Mapping[str, ArrayLike], statistic: Statistic = "median"
    ) -> StaticPrior:
        """Rebuild a prior from :meth:`to_arrays`; a DatasetError names a missing array."""
        missing = [name for name in ("image", "box", "visibility") if name not in arrays]
        if missing:
            raise DatasetError(f"prior: the array {missing[0]!r} is missing; the model file is incomplete.")
        image, box, visibility = (
            np.asarray(arrays[name], dtype=np.float64) for name in ("image", "box", "visibility")
        )
        return cls(tuple(parts), image, box, visibility, statistic)


def prior_predictions(prior: StaticPrior, dataset: PartDataset, kind: Frame = "image") -> PartPredictions:
    """Return the prior's positions as predictions, so that the baseline is evaluated by the same code as any method.

    A part is found where the prior has a position. `score` is its visibility rate in training, and it is believed
    visible where that is at least one half.

    Raises
    ------
    OptionError: unknown `kind`.
    """
    points = prior.positions(dataset.sizes, dataset.boxes, kind)
    found = np.asarray(np.isfinite(points).all(axis=2))
    rate = np.broadcast_to(prior.visibility, found.shape)
    return PartPredictions(
        parts=prior.parts,
        ids=dataset.ids,
        points=points,
        found=found,
        score=np.where(found, rate, 0.0),
        visible=found & (rate >= 0.5),
    )


def _check_statistic(statistic: str) -> str:
    if statistic not in _STATISTICS:
        raise OptionError(f"the prior's statistic must be 'median' or 'mean', not {statistic!r}.")
    return statistic
