"""`Sample` and `PartDataset`: images with boxes, parts, classes and split, validated once and immutable.

Points are `(x, y)` in pixels of the upright image, x right, y down; boxes are `(x, y, width, height)`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import DatasetError, OptionError, nearest_names
from partscope.symmetry import mirrored_parts

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sample:
    """One annotated object in one image.

    Parameters
    ----------
    id: unique name within a data set; by habit the image's path relative to the data set's images.
    image: path of the image file.
    size: `(width, height)` of the upright image in pixels.
    points: (P, 2) float64, part positions `(x, y)` in pixels; stored as NaN where not visible.
    visible: (P,) bool.
    box: `(x, y, width, height)` in pixels, or None; clipped to the image by the reader, never here.
    label: class name, or None.
    split: `"train"`, `"test"`, another name, or None.

    Raises
    ------
    DatasetError: shapes do not fit; a visible part is not finite or lies outside the image; the box is not finite, has
        no area or lies outside the image.
    """

    id: str
    image: Path
    size: tuple[int, int]
    points: FloatArray
    visible: BoolArray
    box: tuple[float, float, float, float] | None = None
    label: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        visible = np.array(self.visible, dtype=np.bool_)
        if points.ndim != 2 or points.shape[1] != 2 or visible.shape != points.shape[:1]:
            raise DatasetError(
                f"{self.image}: points must have shape (P, 2) and visible (P,), "
                f"not {points.shape} and {visible.shape}."
            )
        width, height = self.size
        if width <= 0 or height <= 0:
            raise DatasetError(f"{self.image}: the image size {self.size} is not positive.")
        if not np.isfinite(points[visible]).all():
            part = int(np.flatnonzero(visible & ~np.isfinite(points).all(axis=1))[0])
            raise DatasetError(
                f"{self.image}: part {part} is marked visible but its position is "
                f"{points[part].tolist()}; give a finite position or mark it not visible."
            )
        outside = visible & ((points < 0).any(axis=1) | (points > (width, height)).any(axis=1))
        if outside.any():
            part = int(np.flatnonzero(outside)[0])
            raise DatasetError(
                f"{self.image}: part {part} at {points[part].tolist()} lies outside the image of "
                f"{width}×{height} pixels; correct it or mark it not visible."
            )
        points[~visible] = np.nan
        points.setflags(write=False)
        visible.setflags(write=False)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "visible", visible)
        if self.box is not None:
            object.__setattr__(self, "box", check_box(self.box, self.size, str(self.image)))

    def with_box(self, box: tuple[float, float, float, float] | None) -> Sample:
        """Return a copy with another box."""
        return dataclasses.replace(self, box=box)


def check_box(box: Sequence[float], size: tuple[int, int], what: str) -> tuple[float, float, float, float]:
    """Return `box` as four floats, or raise a DatasetError naming `what`: not finite, without area, off the image."""
    if len(box) != 4 or not np.isfinite(np.asarray(box, dtype=np.float64)).all():
        raise DatasetError(
            f"{what}: the bounding box {tuple(box)} must be four finite numbers (x, y, width, height)."
        )
    x, y, width, height = (float(value) for value in box)
    if width <= 0 or height <= 0:
        raise DatasetError(
            f"{what}: the bounding box (x, y, width, height) = {(x, y, width, height)} has no area; correct it."
        )
    if x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0:
        raise DatasetError(
            f"{what}: the bounding box {(x, y, width, height)} lies outside the image of "
            f"{size[0]}×{size[1]} pixels; correct it."
        )
    return x, y, width, height


def clip_box(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[tuple[float, float, float, float], bool]:
    """Clip a box `(x, y, width, height)` to an image of `size`; return it and whether it changed.

    An overflow of less than a millionth of a pixel is rounding, since x + width is not exact, and stays.
    """
    x, y, width, height = box
    x, width = _clip_interval(x, width, size[0])
    y, height = _clip_interval(y, height, size[1])
    clipped = (x, y, width, height)
    return (clipped, True) if clipped != box else (box, False)


def _clip_interval(start: float, length: float, end: float) -> tuple[float, float]:
    """Return start and length of the interval cut to [0, end]; unchanged, to the last bit, where nothing is cut."""
    if start >= 0 and start + length <= end + 1e-6:
        return start, length
    low = max(start, 0.0)
    return low, min(start + length, float(end)) - low


@dataclass(frozen=True)
class Skipped:
    """An item that was left out on request, with the reason, and its split where that is known."""

    id: str
    reason: str
    split: str | None = None


@dataclass(frozen=True, eq=False)
class PartDataset(Sequence[Sample]):
    """An immutable sequence of samples that share one list of part names.

    Parameters
    ----------
    parts: P part names, unique and not empty.
    samples: the samples; ids are unique.
    name: shown in reports.
    pairs: symmetric pairs of part names; by default found from the names (see :mod:`partscope.symmetry`).
    skipped: items that were left out with `on_error="skip"`.
    notes: counted remarks of the reader, such as "8 boxes were clipped to their images".

    Raises
    ------
    DatasetError: no parts, a part name twice, an id twice, or a sample with another number of parts.
    """

    parts: tuple[str, ...]
    samples: tuple[Sample, ...]
    name: str = "data"
    pairs: tuple[tuple[str, str], ...] | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    mirror: NDArray[np.intp] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "samples", tuple(self.samples))
        if not self.parts or any(not name.strip() for name in self.parts):
            raise DatasetError(f"{self.name}: part names must be non-empty, not {self.parts}.")
        for what, names in (("part", self.parts), ("sample", [sample.id for sample in self.samples])):
            if len(set(names)) != len(names):
                twice = next(name for name in names if list(names).count(name) > 1)
                raise DatasetError(
                    f"{self.name}: the {what} {twice!r} occurs more than once; names must be unique."
                )
        for sample in self.samples:
            if len(sample.points) != len(self.parts):
                raise DatasetError(
                    f"{sample.image}: has {len(sample.points)} parts where the data set has {len(self.parts)}."
                )
        mirror = mirrored_parts(self.parts, self.pairs)
        mirror.setflags(write=False)
        object.__setattr__(self, "mirror", mirror)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.integer]) -> PartDataset: ...
    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[np.integer]) -> Sample | PartDataset:
        if isinstance(index, (int, np.integer)):
            return self.samples[index]
        if isinstance(index, slice):
            return self._with(self.samples[index])
        if not len(index):
            return self._with(())
        # Through numpy, so that a boolean mask chooses samples instead of reading as the positions 0 and 1.
        return self._with(self.samples[i] for i in np.arange(len(self))[np.asarray(index)])

    def _with(self, samples: Iterable[Sample]) -> PartDataset:
        return PartDataset(self.parts, tuple(samples), self.name, self.pairs, self.skipped, self.notes)

    # -- arrays ---------------------------------------------------------------------------------------------------
    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' ids."""
        return tuple(sample.id for sample in self.samples)

    @property
    def points(self) -> FloatArray:
        """(N, P, 2) part positions in pixels, NaN where not visible."""
        return np.array([s.points for s in self.samples]).reshape(len(self), len(self.parts), 2)

    @property
    def visible(self) -> BoolArray:
        """(N, P) visibility."""
        return np.array([s.visible for s in self.samples], dtype=np.bool_).reshape(len(self), len(self.parts))

    @property
    def sizes(self) -> FloatArray:
        """(N, 2) width and height of the upright images in pixels."""
        return np.array([s.size for s in self.samples], dtype=np.float64).reshape(len(self), 2)

    @property
    def boxes(self) -> FloatArray:
        """(N, 4) bounding boxes `(x, y, width, height)` in pixels, NaN where there is none."""
        none = (np.nan,) * 4
        rows = [none if s.box is None else s.box for s in self.samples]
        return np.array(rows, dtype=np.float64).reshape(len(self), 4)

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The samples' class names."""
        return tuple(sample.label for sample in self.samples)

    # -- subsets --------------------------------------------------------------------------------------------------
    def split(self, name: str) -> PartDataset:
        """Return the samples of one split, with the items skipped that belong, or may belong, to it.

        Skipped items of other splits are counted in the notes. `"all"` returns everything.

        Raises
        ------
        OptionError: no sample belongs to that split.
        DatasetError: every sample of that split was skipped.
        """
        if name == "all":
            return self
        chosen = [sample for sample in self.samples if sample.split == name]
        skipped = tuple(item for item in self.skipped if item.split in (None, name))
        lost = [item for item in skipped if item.split == name]
        if not chosen and lost:
            raise DatasetError(
                f"{self.name}: every image of the split {name!r} was left out; the first of {len(lost)}: {lost[0].reason}"
            )
        if not chosen:
            known = sorted({sample.split or "(none)" for sample in self.samples})
            raise OptionError(
                f"{self.name}: no image belongs to the split {name!r}; the splits are {', '.join(known)} and 'all'."
            )
        others = len(self.skipped) - len(skipped)
        notes = (*self.notes, f"faulty items of other splits: {others}") if others else self.notes
        return dataclasses.replace(self, samples=tuple(chosen), skipped=skipped, notes=notes)

    @property
    def train(self) -> PartDataset:
        """The samples of the split `train`."""
        return self.split("train")

    @property
    def test(self) -> PartDataset:
        """The samples of the split `test`."""
        return self.split("test")

    def limit(self, count: int | None, random_state: int = 0) -> PartDataset:
        """Draw `count` samples at random, in the data set's order, stratified by class where there are classes.

        Each class gets its proportional share rounded down; the largest remainders, ties broken at random, get the rest.

        Raises
        ------
        OptionError: `count` is not positive.
        """
        if count is None or count >= len(self):
            return self
        if count <= 0:
            raise OptionError(f"the number of images to draw must be positive, not {count}.")
        rng = np.random.default_rng(random_state)
        groups: dict[str | None, list[int]] = {}
        for i, sample in enumerate(self.samples):
            groups.setdefault(sample.label, []).append(i)
        keys = sorted(groups, key=lambda key: (key is None, key or ""))
        exact = np.array([count * len(groups[key]) / len(self) for key in keys])
        share = np.floor(exact).astype(int)
        order = np.lexsort((rng.random(len(keys)), -(exact - share)))
        share[order[: count - share.sum()]] += 1
        drawn = [
            int(i)
            for key, size in zip(keys, share, strict=True)
            for i in rng.choice(groups[key], size=size, replace=False)
        ]
        return self[sorted(drawn)]

    def with_parts(self, names: Sequence[str]) -> PartDataset:
        """Return the data set with these parts only, in this order.

        Raises
        ------
        DatasetError: a name is not one of the data set's parts.
        """
        index = {name: i for i, name in enumerate(self.parts)}
        for name in names:
            if name not in index:
                raise DatasetError(
                    f"{self.name}: there is no part {name!r}; nearest names: {nearest_names(name, self.parts)}."
                )
        take = [index[name] for name in names]
        samples = (
            dataclasses.replace(s, points=s.points[take], visible=s.visible[take]) for s in self.samples
        )
        pairs = None if self.pairs is None else tuple(p for p in self.pairs if set(p) <= set(names))
        return PartDataset(tuple(names), tuple(samples), self.name, pairs, self.skipped, self.notes)

    def fingerprint(self) -> str:
        """Return a SHA-256 over ids, sizes, boxes and parts: what a scan must not be continued without."""
        digest = hashlib.sha256(json.dumps([self.parts, self.ids]).encode())
        for array in (self.sizes, self.boxes, self.points):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def dataset_from_arrays(
    images: Sequence[str | Path],
    points: Mapping[str, ArrayLike],
    sizes: Sequence[tuple[int, int]] | None = None,
    boxes: ArrayLike | None = None,
    labels: Sequence[str | None] | None = None,
    name: str = "data",
) -> PartDataset:
    """Build a data set from arrays: the shortest way in for a script.

    Parameters
    ----------
    images: N image paths.
    points: for each part name an (N, 2) array of positions in pixels; NaN where the part is not visible.
    sizes: N upright sizes; read from the files when not given.
    boxes: (N, 4), NaN rows where there is no box.
    labels: N class names.

    Raises
    ------
    DatasetError, ImageError: as :class:`Sample` and :func:`partscope.images.image_size`.
    """
    from partscope.images import image_size

    arrays = {part: np.asarray(value, dtype=np.float64) for part, value in points.items()}
    for part, array in arrays.items():
        if array.shape != (len(images), 2):
            raise DatasetError(f"part {part!r} must have shape ({len(images)}, 2), not {array.shape}.")
    for what, given in (("sizes", sizes), ("labels", labels)):
        if given is not None and len(given) != len(images):
            raise DatasetError(
                f"there are {len(given)} {what} for {len(images)} images; give one for each image."
            )
    box_rows = None if boxes is None else np.asarray(boxes, dtype=np.float64)
    if box_rows is not None and box_rows.shape != (len(images), 4):
        raise DatasetError(f"boxes must have shape ({len(images)}, 4), not {box_rows.shape}.")
    samples = []
    for i, image in enumerate(images):
        xy = np.array([array[i] for array in arrays.values()]).reshape(len(arrays), 2)
        box = None if box_rows is None or np.isnan(box_rows[i]).all() else tuple(box_rows[i].tolist())
        samples.append(
            Sample(
                id=str(image),
                image=Path(image),
                size=sizes[i] if sizes is not None else image_size(Path(image)),
                points=xy,
                visible=~np.isnan(xy).all(axis=1),  # a half or infinite position is a fault, not an absence
                box=box,  # Sample checks that there are four
                label=None if labels is None else labels[i],
            )
        )
    return PartDataset(tuple(arrays), tuple(samples), name)
