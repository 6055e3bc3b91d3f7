"""Landmarks of 300-W and its kin: a file `NAME.pts` beside each image `NAME.jpg`.

    version: 1
    n_points: 68
    {
    446.000000 91.000000
    …
    }

**Origin.** The files were made with Matlab, in which the **centre of the first pixel is (1, 1)**: 0.5 is taken away in
reading and added in writing.

Points have numbers and no names. Of 68 points, 300-W's scheme, the left and right ones are known; they are called `point 1` …
`point 68`, or as `parts` says. A point whose numbers are `nan` is not visible: that is partscope's own sign, since the format
has none, and a file with it is counted in writing.

What is lost in writing: the parts' names, boxes, classes, splits, each counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.objects import Marked, Notes, Point, build_dataset
from partscope.formats.reading import Faults, number, read_text
from partscope.formats.registry import beginning, reader, writer
from partscope.formats.writing import Losses, Written, make_folder, named, one_object_each

#: From Matlab's count to the corner of the first pixel.
SHIFT = -0.5
_HEADER = re.compile(r"\s*version:\s*(\d+)\s+n_points:\s*(\d+)\s*\{", re.IGNORECASE)
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

#: 300-W's points that are each other's mirror image: jaw, brows, nose, eyes, mouth.
_MIRRORED = (
    *((i, 18 - i) for i in range(1, 9)),
    *((i, 45 - i) for i in range(18, 23)),
    *((32, 36), (33, 35), (37, 46), (38, 45), (39, 44), (40, 43), (41, 48), (42, 47)),
    *((49, 55), (50, 54), (51, 53), (60, 56), (59, 57), (61, 65), (62, 64), (68, 66)),
)


#: Whichever way the ending is written.
_PTS = "*.[pP][tT][sS]"


def _recognise(path: Path) -> bool:
    if path.is_dir():
        return any(next(path.glob(pattern), None) is not None for pattern in (_PTS, f"*/{_PTS}"))
    return path.suffix.lower() == ".pts" and beginning(path, 64).lstrip().lower().startswith("version")


@reader("300w", looks_for="a folder with .pts files beside the images", recognise=_recognise, folder=None)
def read_pts(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "error",
    parts: Sequence[str] | None = None,
) -> PartDataset:
    """Read landmarks in .pts files (see the module).

    Parameters
    ----------
    path: a folder, searched with its subfolders, or one file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad files out and lists them in `skipped`.
    images: the folder that the images lie in, in the places of the .pts files; by default the same one.
    outside: `"error"`, or `"hidden"` for points outside their image to count as not visible.
    parts: names of the points, in order.

    Raises
    ------
    AnnotationError: there is no .pts file, or one does not parse or has another number of points than the others.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    root = path if path.is_dir() else path.parent
    files = sorted(path.rglob(_PTS)) if path.is_dir() else [path]
    if not files:
        raise AnnotationError(
            f"{path}: there is no .pts file in the folder; give the folder that holds them."
        )
    base = root if images is None else Path(images)
    names = None if parts is None else tuple(parts)
    objects: list[Marked] = []
    for file in files:
        try:
            places = _places(file)
            names = tuple(f"point {i}" for i in range(1, len(places) + 1)) if names is None else names
            if len(places) != len(names):
                raise AnnotationError(
                    f"{file}: has {len(places)} points where {len(names)} are expected; correct it."
                )
            points = {name: place for name, place in zip(names, places, strict=True) if place is not None}
            objects.append(Marked(str(file), _image(file, root, base), points))
        except DatasetError as error:
            faults.add(str(file.relative_to(root)), error)
    pairs = None
    if parts is None and names is not None and len(names) == 68:
        pairs = tuple((f"point {a}", f"point {b}") for a, b in _MIRRORED)
    return build_dataset(
        path, objects, names or ("point 1",), faults, notes, images=base, outside=outside, pairs=pairs
    )


def _image(file: Path, root: Path, base: Path) -> str:
    """Return the image of a .pts file: of the same name, with the ending of an image."""
    name = file.relative_to(root).with_suffix("")
    folder = base / name.parent
    endings = {
        entry.name: entry
        for entry in (folder.iterdir() if folder.is_dir() else ())
        if entry.stem == name.name and entry.suffix.lower() in _IMAGES
    }
    if len(endings) != 1:
        what = f"{len(endings)} images ({', '.join(sorted(endings))})" if endings else "no image"
        raise AnnotationError(f"{file}: {what} in {folder} of the name {name.name}; there must be one.")
    return (name.parent / next(iter(endings))).as_posix()


def _places(file: Path) -> list[Point | None]:
    text = read_text(file)
    header = _HEADER.match(text)
    if header is None or "}" not in text:
        raise AnnotationError(
            f"{file}: expected 'version: 1', 'n_points: N' and the points in braces; correct it."
        )
    if header[1] != "1":
        raise AnnotationError(
            f"{file}: this is version {header[1]} of the format, and version 1 is read; convert it."
        )
    body = text[header.end() : text.index("}")]
    first = text[: header.end()].count("\n") + 1
    places: list[Point | None] = []
    for i, line in enumerate(body.split("\n")):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) != 2:
                raise ValueError("expected two numbers")
            if [field.lower() for field in fields] == ["nan", "nan"]:
                places.append(None)
                continue
            x, y = (number(field) for field in fields)
        except ValueError as error:
            raise AnnotationError(
                f"{file}, line {first + i}: {line.strip()!r} does not parse ({error}); correct it."
            ) from error
        places.append((x + SHIFT, y + SHIFT))
    if len(places) != int(header[2]):
        raise AnnotationError(
            f"{file}: n_points is {header[2]} but there are {len(places)} points; correct it."
        )
    return places


@writer("300w")
def write_pts(dataset: PartDataset, path: str | Path) -> Written:
    """Write marked parts as a folder of .pts files, one per image.

    Raises
    ------
    DatasetError: the data set is empty, an image holds several objects, or two images differ in their ending alone.
    PartscopeError: a file cannot be written.
    """
    items, losses, folder = named(dataset), Losses(), Path(path)
    one_object_each(items, "300w")
    losses.without(items, "box", "label", "split", "instance")
    if dataset.parts != tuple(f"point {i}" for i in range(1, len(dataset.parts) + 1)):
        losses.add("the names of {} parts: the format has numbers.", len(dataset.parts))
    hidden = sum(not item.sample.visible.all() for item in items)
    losses.add(
        "the format has no sign for 'not visible': {} files hold 'nan nan', which not every reader knows.",
        hidden,
    )
    files: dict[Path, str] = {}
    for item in items:
        file = folder / Path(item.image).with_suffix(".pts")
        if files.setdefault(file, item.image) != item.image:
            raise DatasetError(
                f"{item.image}: {files[file]} differs in its ending alone and gets {file} too; rename one."
            )
        rows = [
            f"{x - SHIFT!r} {y - SHIFT!r}" if not math.isnan(x) else "nan nan"
            for x, y in item.sample.points.tolist()
        ]
        make_folder(file.parent)
        atomic_write(file, "\n".join(["version: 1", f"n_points: {len(rows)}", "{", *rows, "}", ""]))
    return Written(losses.texts(), {item.image: item.sample.image for item in items})
