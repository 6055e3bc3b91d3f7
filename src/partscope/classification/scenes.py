"""`Scenes`: images with their sizes, boxes and marked parts, from whatever scikit-learn hands to an estimator."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from partscope.dataset import PartDataset, Sample, Skipped
from partscope.detectors.queries import Query, check_on_error, make_queries
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.images import ImageLike, image_size, load_image

#: What the estimators of this room take: a data set, samples, queries, or images.
ImagesLike = PartDataset | Iterable[Sample] | Iterable[Query] | Iterable[ImageLike]


@dataclass(frozen=True, eq=False)
class Scenes:
    """N images, ready to be cut into patches.

    Parameters
    ----------
    queries: the images.
    sizes: (N, 2) width and height of the upright images in pixels.
    boxes: (N, 4) boxes `(x, y, width, height)` in pixels, clipped to the image; NaN where there is none.
    marked: (N, P, 2) marked part positions in pixels, NaN where not visible; None where the images bring none.
    parts: names of the P marked parts, None where the images bring none with them.
    labels: N class names, None where not known.
    """

    queries: tuple[Query, ...]
    sizes: NDArray[np.float64]
    boxes: NDArray[np.float64]
    marked: NDArray[np.float64] | None = None
    parts: tuple[str, ...] | None = None
    labels: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def ids(self) -> tuple[str, ...]:
        """The images' names."""
        return tuple(query.id for query in self.queries)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Scenes:
        """Return the scenes with these indices."""
        index = np.asarray(rows, dtype=np.intp)
        return Scenes(
            tuple(self.queries[i] for i in index),
            self.sizes[index],
            self.boxes[index],
            None if self.marked is None else self.marked[index],
            self.parts,
            tuple(self.labels[i] for i in index),
        )


def as_samples(images: ImagesLike) -> tuple[Sample, ...] | None:
    """Return the samples of a data set or of a sequence of samples, None where `images` are something else.

    Raises
    ------
    OptionError: samples and other things are mixed, or the samples differ in their number of parts.
    """
    if isinstance(images, PartDataset):
        return images.samples
    if not isinstance(images, (list, tuple, np.ndarray)) or not any(
        isinstance(item, Sample) for item in images
    ):
        return None
    samples = tuple(item for item in images if isinstance(item, Sample))
    if len(samples) != len(images):
        raise OptionError("samples and other images are mixed; give one kind, or a data set.")
    for sample in samples:
        if len(sample.points) != len(samples[0].points):
            raise OptionError(
                f"{sample.id}: has {len(sample.points)} parts where {samples[0].id} has {len(samples[0].points)}; give "
                "samples of one data set."
            )
    return samples


def scenes_of(
    images: ImagesLike,
    boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
    *,
    needs_box: bool = False,
    on_error: str = "raise",
) -> tuple[Scenes, NDArray[np.intp], tuple[Skipped, ...]]:
    """Return the images as scenes, their indices in `images`, and those that were left out.

    Parameters
    ----------
    images: a data set; samples; queries; or paths, PIL images or uint8 arrays, which bring no box and no parts. A list, a
        tuple or a NumPy array of objects, as scikit-learn makes them.
    boxes: N boxes `(x, y, width, height)` in pixels that replace those of the images; None or a NaN row where there is
        none. A box that reaches over the image's border is clipped, with a counted warning.
    needs_box: refuse an image without a box; without it boxes are not looked at.
    on_error: `"raise"` stops at the first bad image, `"skip"` lists it.

    Raises
    ------
    ImageError: the size of an image cannot be read.
    DatasetError: a box is missing, has no area or lies outside its image.
    OptionError: a single image, something that is no image, or boxes that do not fit.
    """
    check_on_error(on_error)
    samples = as_samples(images)
    queries = _queries(images, samples, boxes)
    rows: list[int] = []
    sizes: list[tuple[int, int]] = []
    frames: list[tuple[float, ...]] = []
    failures: list[Skipped] = []
    clipped = 0
    for i, query in enumerate(queries):
        try:
            size = query.size or _size(query)
            box, overflows = query.clipped_box(size) if needs_box else (None, False)
            if needs_box and box is None:
                raise DatasetError(
                    f"{query.label}: the image has no bounding box, which the region or the detector needs; give one in "
                    "boxes, or use the region 'image' with a detector that searches the whole image."
                )
        except (ImageError, DatasetError) as error:
            if on_error == "raise":
                raise
            failures.append(Skipped(query.id, str(error)))
            continue
        clipped += overflows
        rows.append(i)
        sizes.append(size)
        frames.append(box or (np.nan,) * 4)
    if clipped:
        warnings.warn(
            f"{clipped} of {len(queries)} bounding boxes reached over the border of their images and were clipped.",
            PartscopeWarning,
            stacklevel=3,
        )
    kept = np.array(rows, dtype=np.intp)
    scenes = Scenes(
        tuple(dataclasses.replace(queries[i], box=frame) for i, frame in zip(rows, frames, strict=True))
        if needs_box
        else tuple(queries[i] for i in rows),
        np.array(sizes, dtype=np.float64).reshape(-1, 2),
        np.array(frames, dtype=np.float64).reshape(-1, 4),
        np.array([samples[i].points for i in rows]).reshape(len(rows), -1, 2) if samples else None,
        images.parts if isinstance(images, PartDataset) else None,
        tuple(samples[i].label if samples else None for i in rows),
    )
    return scenes, kept, tuple(failures)


def _queries(
    images: ImagesLike,
    samples: tuple[Sample, ...] | None,
    boxes: ArrayLike | Sequence[Sequence[float] | None] | None,
) -> list[Query]:
    given: list[Query] | None = None
    if samples is not None:
        given = [Query.of(sample) for sample in samples]
    elif isinstance(images, (list, tuple)) and images and all(isinstance(item, Query) for item in images):
        given = list(images)
    if given is None:
        return make_queries(images, boxes)  # type: ignore[arg-type]  # what is left are images, which it checks
    if boxes is None:
        return given
    boxed = make_queries([query.source for query in given], boxes)
    return [dataclasses.replace(query, box=one.box) for query, one in zip(given, boxed, strict=True)]


def _size(query: Query) -> tuple[int, int]:
    if isinstance(query.source, (str, Path)):
        return image_size(Path(query.source))
    if isinstance(query.source, Image.Image):
        return load_image(query.source).size  # upright: the EXIF orientation may exchange the sides
    return query.open().size
