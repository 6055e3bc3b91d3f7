"""What a detector remembers of its training images beside their statistics: annotation and held-out evidence.

The static prior and the spatial model are not sums over images; from this record they can be learned anew when images are
added or removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset, Sample
from partscope.errors import OptionError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


#: What is kept in half precision; model files hold the same bits as integers.
_HALVES = ("evidence", "features")


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """N training images.

    Parameters
    ----------
    ids: their ids.
    points: (N, P, 2) pixels, NaN where not visible.
    visible: (N, P).
    sizes: (N, 2) width and height in pixels.
    boxes: (N, 4), NaN rows where there is none.
    held: (N,) whether there is held-out evidence.
    evidence: (number of held, P, h, w) float16, made by discriminants that had not seen the image.
    features: (number of held, P, F) float16, the network's features at the points where the parts were found; F is 0
        without a spatial model.
    """

    ids: tuple[str, ...]
    points: FloatArray
    visible: BoolArray
    sizes: FloatArray
    boxes: FloatArray
    held: BoolArray
    evidence: NDArray[np.float16]
    features: NDArray[np.float16]

    @classmethod
    def of(
        cls, dataset: PartDataset, indices: NDArray[np.intp], evidence: NDArray[np.float32]
    ) -> TrainingRecord:
        """Return the record of a data set; `evidence` (M, P, h, w) belongs to the images at `indices` (M,), ascending."""
        held = np.zeros(len(dataset), dtype=np.bool_)
        held[indices] = True
        limit = float(np.finfo(np.float16).max)
        kept = np.clip(evidence, -limit, limit).astype(np.float16)
        none = np.zeros((len(kept), len(dataset.parts), 0), dtype=np.float16)
        return cls(
            dataset.ids, dataset.points, dataset.visible, dataset.sizes, dataset.boxes, held, kept, none
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def described(self) -> BoolArray:
        """(number of held,) whether the features at the points found are known."""
        known = ~np.isnan(self.features).any(axis=(1, 2))
        return np.asarray(known if self.features.shape[2] else np.zeros_like(known))

    def joined(self, other: TrainingRecord) -> TrainingRecord:
        """Return the record of both sets of images.

        Raises
        ------
        OptionError: an image is in both.
        """
        twice = set(self.ids) & set(other.ids)
        if twice:
            raise OptionError(
                f"{len(twice)} images were already learned from, among them {min(twice)}; forget them first, or leave them "
                "out."
            )
        names = [field.name for field in fields(self) if field.name not in ("ids", "features")]
        arrays = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        width = max(self.features.shape[2], other.features.shape[2])
        features = [_widened(record.features, width) for record in (self, other)]
        return replace(self, ids=self.ids + other.ids, features=np.concatenate(features), **arrays)

    def without(self, ids: Sequence[str]) -> TrainingRecord:
        """Return the record without some images.

        Raises
        ------
        OptionError: an image is not in the record.
        """
        unknown = [name for name in ids if name not in set(self.ids)]
        if unknown:
            raise OptionError(
                f"{len(unknown)} images were never learned from, among them {unknown[0]}; name training images."
            )
        gone = set(ids)
        keep = np.array([name not in gone for name in self.ids], dtype=np.bool_)
        return TrainingRecord(
            tuple(name for name in self.ids if name not in gone),
            self.points[keep],
            self.visible[keep],
            self.sizes[keep],
            self.boxes[keep],
            self.held[keep],
            self.evidence[keep[self.held]],
            self.features[keep[self.held]],
        )

    def as_dataset(self, parts: tuple[str, ...], mirror: NDArray[np.intp]) -> PartDataset:
        """Return the annotation as a data set whose image files may not exist."""
        samples = tuple(
            Sample(
                name,
                Path(name),
                (int(size[0]), int(size[1])),
                points,
                visible,
                None if np.isnan(box).any() else tuple(box.tolist()),
            )
            for name, size, points, visible, box in zip(
                self.ids, self.sizes, self.points, self.visible, self.boxes, strict=True
            )
        )
        pairs = tuple((parts[i], parts[int(j)]) for i, j in enumerate(mirror) if i < j)
        return PartDataset(parts, samples, "training images", pairs)

    # -- storage ----------------------------------------------------------------------------------------------------
    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for a model file; half-precision numbers as integers of the same bits."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "ids"}
        return {**arrays, **{name: getattr(self, name).view(np.int16) for name in _HALVES}}

    @classmethod
    def from_arrays(cls, ids: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> TrainingRecord:
        """Return the record that :meth:`to_arrays` was called on.

        Raises
        ------
        ValueError: the arrays do not belong to that many images, or are no annotation and evidence.
        """
        values = {field.name: arrays[field.name] for field in fields(cls) if field.name != "ids"}
        for name in _HALVES:
            values[name] = np.ascontiguousarray(values[name]).view(np.float16)
        record = cls(tuple(ids), **values)
        count, parts, held = len(record.ids), record.visible.shape[-1], int(record.held.sum())
        wanted = {
            "points": (count, parts, 2),
            "visible": (count, parts),
            "sizes": (count, 2),
            "boxes": (count, 4),
            "held": (count,),
            "evidence": (held, parts, *record.evidence.shape[2:]),
            "features": (held, parts, *record.features.shape[2:]),
        }
        for name, shape in wanted.items():
            array = getattr(record, name)
            if array.shape != shape or (array.dtype == np.bool_) != (name in ("visible", "held")):
                raise ValueError(f"{name} of the training record is {array.dtype} with shape {array.shape}")
        if record.evidence.ndim != 4 or record.features.ndim != 3 or not np.isfinite(record.evidence).all():
            raise ValueError("evidence or features of the training record are no arrays of finite numbers")
        if not (np.isfinite(record.sizes).all() and (record.sizes > 0).all()):
            raise ValueError("sizes of the training record are no sizes of images")
        return record


def _widened(features: NDArray[np.float16], width: int) -> NDArray[np.float16]:
    """Return features (M, P, F) with F = `width`; where they are not known yet, NaN."""
    if features.shape[2] == width:
        return features
    return np.full((*features.shape[:2], width), np.nan, dtype=np.float16)
