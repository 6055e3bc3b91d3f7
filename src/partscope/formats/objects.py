"""From what an annotation file says of each object to a data set: what the readers of all formats share.

A reader turns its file into one :class:`Marked` per object, in partscope's pixels, and :func:`build_dataset` does the rest:
it finds the images, compares their sizes with those that the file states, clips boxes, gives names, and counts what it did.

An object is called by its image, `birds/a.jpg`; where its file names the object, or its image holds several, by
`birds/a.jpg#NAME`, the name being the file's own.
"""

from __future__ import annotations

import math
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from partscope.dataset import PartDataset, Sample, check_box, clip_box
from partscope.errors import AnnotationError, DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.formats.reading import Faults, relative_name
from partscope.images import image_size

Box = tuple[float, float, float, float]
Point = tuple[float, float]

#: What formats in which an object must have a class call one without.
OBJECT = "object"
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
#: How far a point may lie outside its image by rounding, in pixels; it is put on the border.
ROUNDING = 1e-6


@dataclass
class Marked:
    """One object as its file has it.

    where: the file and the place in it, for messages.
    image: the image as the file names it, below the folder of images; or its path, in `file`.
    points: visible parts by name, in pixels of the upright image, pixel centres at +0.5.
    instance: the object's own name where the file gives it one that is to be kept.
    number: what tells it from other objects of its image where it has no such name.
    size: width and height as the file states them, or None.
    """

    where: str
    image: str
    points: dict[str, Point]
    box: Box | None = None
    label: str | None = None
    split: str | None = None
    instance: str | None = None
    number: str = "1"
    size: tuple[int, int] | None = None
    file: Path | None = None


@dataclass
class Notes:
    """Counted remarks of a reader, in the order in which they came."""

    counts: Counter[str] = field(default_factory=Counter)
    quiet: set[str] = field(default_factory=set)

    def add(self, text: str, count: int = 1, quiet: bool = False) -> None:
        """Count something; `{}` in `text` stands for the number. `quiet` ones are kept without a warning."""
        self.counts[text] += count
        if quiet:
            self.quiet.add(text)

    def texts(self, name: object) -> tuple[str, ...]:
        """Return the remarks, after a warning for each that is not quiet."""
        found = []
        for text, count in self.counts.items():
            if count:
                found.append(text.replace("{}", f"{count:,}"))
                if text not in self.quiet:
                    warnings.warn(f"{name}: {found[-1]}", PartscopeWarning, stacklevel=4)
        return tuple(found)


def choice(name: str, value: str, known: Sequence[str]) -> str:
    """Return an option's value; an OptionError names another one."""
    if value not in known:
        raise OptionError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return value


def turned_box(box: Box, degrees: float, pivot: Point) -> Box:
    """Return the smallest upright box around one that is turned clockwise about a point."""
    if degrees % 360 == 0:
        return box
    left, top = box[0] - pivot[0], box[1] - pivot[1]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(u, v) for u in (left, left + box[2]) for v in (top, top + box[3])]
    xs = [pivot[0] + u * cos - v * sin for u, v in corners]
    ys = [pivot[1] + u * sin + v * cos for u, v in corners]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def build_dataset(
    source: Path,
    objects: Iterable[Marked],
    parts: Sequence[str],
    faults: Faults,
    notes: Notes,
    *,
    images: str | Path | None,
    outside: str = "error",
    folder: Path | None = None,
    pairs: tuple[tuple[str, str], ...] | None = None,
) -> PartDataset:
    """Return the data set of the objects that a reader found.

    Parameters
    ----------
    source: the annotation file or folder, which gives the data set its name.
    parts: P part names.
    images: the folder of images that the user names; by default `folder`, and that of `source`.
    outside: `"error"`, or `"hidden"` for visible parts outside their image to count as not visible.
    folder: where the format keeps its images.
    pairs: symmetric pairs, where the part names do not tell them.

    Raises
    ------
    AnnotationError: there is no part; the size of an image is another than the file states; a part is outside its image.
    DatasetError: a name leaves the folder of images, a box has no area or is outside, an object comes twice, none is left.
    ImageError: an image is missing or no image.
    OptionError: `outside` is neither of the two.
    """
    choice("outside", outside, ("error", "hidden"))
    base = Path(images) if images is not None else folder or (source if source.is_dir() else source.parent)
    found = list(objects)
    if not parts:
        raise AnnotationError(f"{source}: no part is named, so there is nothing to learn; mark at least one.")
    if any(not name.strip() for name in parts) or len(set(parts)) != len(parts):
        raise AnnotationError(
            f"{source}: a part has no name, or two have one name ({', '.join(parts)}); rename them."
        )
    alone = Counter(item.image for item in found)
    builder = _Builder(base, {name: p for p, name in enumerate(parts)}, notes, outside == "hidden")
    samples: list[Sample] = []
    seen: dict[str, str] = {}
    names: dict[str, str] = {}
    splits: dict[str, str] = {}
    for i, item in enumerate(found):
        key = f"{item.where}#{i}"
        instance = item.instance if item.instance is not None else item.number
        several = item.instance is not None or alone[item.image] > 1
        name = f"{item.image}#{instance}" if several else item.image
        names[key] = name
        if item.split is not None:
            splits[key] = item.split
        try:
            sample = builder.build(item, f"#{instance}" if several else "")
            if sample.id in seen:
                raise AnnotationError(
                    f"{item.where}: the object {sample.id} comes a second time, after {seen[sample.id]}; "
                    "keep one of them, or name them differently."
                )
            seen[sample.id] = item.where
        except (DatasetError, ImageError) as error:
            faults.add(key, error)
            continue
        samples.append(sample)
    skipped = faults.skipped(names, splits, "")
    if not samples:
        first = f"{len(skipped):,} items were skipped, the first: {skipped[0].reason}" if skipped else ""
        raise DatasetError(f"{source}: no marked object is left; {first or 'mark some images first.'}")
    return PartDataset(
        tuple(parts),
        tuple(samples),
        source.resolve().stem if source.is_file() else source.resolve().name,
        pairs,
        skipped,
        notes.texts(source),
    )


@dataclass
class _Builder:
    """Makes the sample of an object; the images' headers are read once each."""

    base: Path
    parts: dict[str, int]
    notes: Notes
    hide: bool
    sizes: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def build(self, item: Marked, suffix: str) -> Sample:
        try:
            name = relative_name(item.image)
            file = self.base / name if item.file is None else item.file
            if item.file is None and file not in self.sizes and not os.path.exists(file):
                name, file = self._otherwise_written(name)
        except DatasetError as error:
            raise DatasetError(f"{item.where}: {error}") from error
        if file not in self.sizes:
            if not os.path.exists(file):  # unlike Path, it takes a name that is too long
                if not name.isascii() and any("\ud800" <= sign <= "\udfff" for sign in name):
                    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                    raise AnnotationError(
                        f"{item.where}: the image's name {shown!r} is not UTF-8, and there is no such image; save the file as UTF-8."
                    )
                raise ImageError(
                    f"{item.where}: there is no image {file}; check the path, or name the folder of images."
                )
            self.sizes[file] = image_size(file)
        size = self.sizes[file]
        if item.size is not None and item.size != size:
            turned = item.size == size[::-1]
            why = (
                "it is turned by its EXIF entry, which the annotation does not heed"
                if turned
                else "another image"
            )
            raise AnnotationError(
                f"{item.where}: {name} has {item.size[0]}×{item.size[1]} pixels here but {size[0]}×{size[1]} upright in "
                f"its file ({why}); mark it again or give the image that was marked."
            )
        points = np.full((len(self.parts), 2), np.nan)
        for part, place in item.points.items():
            inside = _inside(place, size)
            if inside is None:
                if not self.hide:
                    raise AnnotationError(
                        f"{item.where}: the part {part!r} of {name} at ({place[0]:g}, {place[1]:g}) lies outside the image "
                        f"of {size[0]}×{size[1]} pixels; correct it, mark it not visible, or read with outside='hidden'."
                    )
                self.notes.add("{} visible parts outside their images count as not visible.")
                continue
            points[self.parts[part]] = inside
        box = item.box
        if box is not None:
            box, changed = clip_box(check_box(box, size, f"{item.where} ({name})"), size)
            self.notes.add("{} bounding boxes overflow their images and were clipped to them.", int(changed))
        visible = np.isfinite(points[:, 0])
        return Sample(name + suffix, file, size, points, visible, box, item.label, item.split)

    def _otherwise_written(self, name: str) -> tuple[str, Path]:
        """Return the image of a name from another system: with backslashes, or with letters composed otherwise; else its own."""
        separated = name.replace("\\", "/")
        written = [name, separated]
        written += [unicodedata.normalize(form, text) for text in (name, separated) for form in _FORMS]
        for other in map(relative_name, dict.fromkeys(written)):
            if os.path.isfile(self.base / other):
                return other, self.base / other
        return name, self.base / name


def _inside(place: Point, size: tuple[int, int]) -> Point | None:
    """Return the point, put on the border where rounding left it just outside; None where it is outside."""
    x, y = (min(max(value, 0.0), float(side)) for value, side in zip(place, size, strict=True))
    far = max(abs(x - place[0]), abs(y - place[1]))
    return (x, y) if far <= ROUNDING else None
