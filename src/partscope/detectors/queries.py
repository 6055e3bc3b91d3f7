"""What a detector is asked about: images with ids and boxes, from a data set or from whatever a caller has at hand."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from partscope.dataset import PartDataset, Sample, Skipped, check_box, clip_box
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.images import ImageLike, load_image

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Query:
    """One image to be searched.

    Parameters
    ----------
    id: the image's name in predictions and messages.
    source: path, PIL image or uint8 array.
    box: `(x, y, width, height)` in pixels of the upright image, or None; not yet checked.
    size: `(width, height)` that a data set states for the image, or None.
    """

    id: str
    source: ImageLike
    box: Sequence[float] | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, sample: Sample) -> Query:
        """Return the query for a data set's sample."""
        return cls(sample.id, sample.image, sample.box, sample.size)

    @property
    def label(self) -> str:
        """How messages call the image."""
        return self.id if isinstance(self.source, (str, Path)) else f"image {self.id}"

    def open(self) -> Image.Image:
        """Decode the image to upright RGB.

        Raises
        ------
        ImageError: the image cannot be read.
        DatasetError: it has not the size that its data set states, so that its points and box mean nothing.
        """
        try:
            image = load_image(self.source)
        except ImageError as error:
            if isinstance(self.source, (str, Path)):
                raise
            raise ImageError(f"{self.label}: {error}") from error
        if self.size is not None and image.size != tuple(self.size):
            raise DatasetError(
                f"{self.source}: the image has {image.width}×{image.height} pixels where the data set states "
                f"{self.size[0]}×{self.size[1]}; use the image that was annotated."
            )
        return image

    def clipped_box(self, size: tuple[int, int]) -> tuple[Box | None, bool]:
        """Return the box clipped to an image of `size`, and whether that changed it.

        Raises
        ------
        DatasetError: the box is not four finite numbers, has no area, or lies outside the image.
        """
        if self.box is None:
            return None, False
        return clip_box(check_box(self.box, size, self.label), size)


def make_queries(
    images: PartDataset | Iterable[ImageLike],
    boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
) -> list[Query]:
    """Return one query per image; `boxes` takes precedence over those of a data set.

    Raises
    ------
    OptionError: a single image instead of a sequence, something that is no image, or boxes that do not fit.
    """
    if isinstance(images, PartDataset):
        queries = [Query.of(sample) for sample in images]
    else:
        _refuse_single(images)
        queries = [
            Query(str(source) if isinstance(source, (str, Path)) else str(i), source)
            for i, source in enumerate(images)
        ]
    for query in queries:
        if not isinstance(query.source, (str, Path, Image.Image, np.ndarray)):
            raise OptionError(
                f"image {query.id} is of the type {type(query.source).__name__}; give paths, PIL images or uint8 arrays."
            )
    if boxes is None:
        return queries
    rows = _box_rows(boxes, len(queries))
    return [dataclasses.replace(query, box=row) for query, row in zip(queries, rows, strict=True)]


def with_usable_boxes(
    dataset: PartDataset, needs_box: bool, on_error: str
) -> tuple[PartDataset, tuple[Skipped, ...]]:
    """Return the training set with its boxes clipped to their images, without samples that lack a needed box.

    Warns
    -----
    PartscopeWarning: how many boxes were clipped.

    Raises
    ------
    DatasetError: with `on_error="raise"`, a sample has no box although `needs_box`.
    """
    samples: list[Sample] = []
    skipped: list[Skipped] = []
    clipped = 0
    for sample in dataset:
        if sample.box is None:
            if needs_box:
                reason = f"{sample.id}: the sample has no bounding box, which this method needs; add one or leave it out."
                if on_error == "raise":
                    raise DatasetError(reason)
                skipped.append(Skipped(sample.id, reason))
                continue
            samples.append(sample)
            continue
        box, changed = clip_box(sample.box, sample.size)
        clipped += changed
        samples.append(sample.with_box(box) if changed else sample)
    if clipped:
        warnings.warn(
            f"{dataset.name}: {clipped} of {len(dataset)} bounding boxes reached over the border of their images and were "
            "clipped.",
            PartscopeWarning,
            stacklevel=3,
        )
    if not clipped and not skipped:
        return dataset, ()
    return dataclasses.replace(dataset, samples=tuple(samples)), tuple(skipped)


def check_on_error(on_error: str) -> None:
    """Raise an OptionError unless `on_error` is "raise" or "skip"."""
    if on_error not in ("raise", "skip"):
        raise OptionError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")


def _refuse_single(images: object) -> None:
    single = isinstance(images, (str, Path, Image.Image)) or (
        isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim < 4
    )
    if single:
        shown = repr(str(images)) if isinstance(images, (str, Path)) else "a single image"
        raise OptionError(f"images must be a sequence, not {shown}; write predict([image]) for one image.")
    if not isinstance(images, Iterable):
        raise OptionError(f"images must be a data set or a sequence of images, not {type(images).__name__}.")


def _box_rows(
    boxes: ArrayLike | Sequence[Sequence[float] | None], count: int
) -> list[Sequence[float] | None]:
    values = list(boxes) if isinstance(boxes, Iterable) else []
    if len(values) != count:
        raise OptionError(
            f"there are {len(values)} boxes for {count} images; give one (x, y, width, height) or None each."
        )
    rows: list[Sequence[float] | None] = []
    for i, value in enumerate(values):
        if value is None:
            rows.append(None)
            continue
        try:
            row = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            row = np.empty(0)
        if row.shape != (4,):
            raise OptionError(f"box {i} must be four numbers (x, y, width, height) or None, not {value!r}.")
        rows.append(None if np.isnan(row).all() else row.tolist())
    return rows
