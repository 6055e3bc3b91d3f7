"""DeepLabCut: a project's folder, or one of its tables `CollectedData_SCORER.csv` or `.h5`.

A project holds `config.yaml` and, for each video, `labeled-data/VIDEO/` with frames and their table; of a folder the CSV tables
are read, or the HDF5 ones where there is no CSV. In projects with several animals each individual is an object, called
`image#INDIVIDUAL` (`object` stands for the only one); the unique body parts are those of the individual `single`. Frames, or
individuals, without a marked part are left out with a count, or with `unmarked="keep"` objects without visible parts. A part
without a position is not visible; the format has no sign for "occluded".

**Origin.** Positions are those of DeepLabCut's labelling tool, which counts from the **centre of the first pixel**: 0.5 is
added in reading and taken away in writing.

Where the images are: below the project, as the table names them; where only the table was moved, beside it.

What is lost in writing: boxes, classes and splits, each counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.deeplabcut_tables import Table, read_table
from partscope.formats.objects import OBJECT, Marked, Notes, build_dataset, choice
from partscope.formats.reading import Faults
from partscope.formats.registry import beginning, reader

DATA = "labeled-data"
#: From the centre of the first pixel to its corner.
SHIFT = 0.5


def _recognise(path: Path) -> bool:
    if path.is_dir():
        tables = (path / DATA).glob("*/CollectedData_*")
        return (path / DATA).is_dir() and ((path / "config.yaml").is_file() or next(tables, None) is not None)
    if path.suffix.lower() == ".h5":
        return path.name.startswith("CollectedData")
    return path.suffix.lower() == ".csv" and beginning(path).split(",", 1)[0] == "scorer"


@reader(
    "deeplabcut",
    looks_for="a folder with labeled-data, or a table CollectedData_….csv or .h5",
    recognise=_recognise,
    folder=None,
)
def read_deeplabcut(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "error",
    unmarked: str = "skip",
    scorer: str | None = None,
) -> PartDataset:
    """Read labelled frames of DeepLabCut (see the module).

    Parameters
    ----------
    path: the project's folder, or a table.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad frames out and lists them in `skipped`.
    images: the folder that holds `labeled-data`; by default the project's.
    outside: `"error"`, or `"hidden"` for visible parts outside their image to count as not visible.
    unmarked: `"skip"` or `"keep"` objects without a marked part.
    scorer: whose labels to read, where several people have labelled.

    Raises
    ------
    AnnotationError: there is no table; a table does not parse or has another header; several scorers have labelled; a frame
        comes twice; a part has x without y.
    MissingExtraError: an HDF5 table without h5py.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    choice("unmarked", unmarked, ("skip", "keep"))
    tables = [(file, read_table(file)) for file in _tables(path, scorer)]
    scorers = sorted({column[0] for _, table in tables for column in table.columns})
    if scorer is None and len(scorers) > 1:
        raise AnnotationError(f"{path}: {', '.join(scorers)} have labelled; choose one with scorer='…'.")
    if scorer is not None and scorer not in scorers:
        raise AnnotationError(f"{path}: {scorer!r} has labelled nothing; there are {', '.join(scorers)}.")
    chosen = scorers[0] if scorer is None else scorer
    parts = tuple(dict.fromkeys(c[2] for _, table in tables for c in table.columns if c[0] == chosen))
    objects: list[Marked] = []
    for file, table in tables:
        base = Path(images) if images is not None else _base(path, file)
        objects += _objects(file, table, chosen, base, faults, notes, unmarked)
    return build_dataset(path, objects, parts, faults, notes, images=images, outside=outside)


def _tables(path: Path, scorer: str | None) -> list[Path]:
    if not path.is_dir():
        return [path]
    folder = path / DATA if (path / DATA).is_dir() else path
    found: list[Path] = []
    for place in sorted({file.parent for file in folder.glob("**/CollectedData_*.*")}):
        name = "*" if scorer is None else scorer
        for ending in ("csv", "h5"):
            files = sorted(place.glob(f"CollectedData_{name}.{ending}"))
            if files:
                found += files
                break
    if not found:
        raise AnnotationError(
            f"{path}: there is no table {DATA}/VIDEO/CollectedData_{scorer or '…'}.csv or .h5; label some frames first, or give "
            "the project's folder."
        )
    return found


def _base(path: Path, file: Path) -> Path:
    """Return the folder that a table names its images from: the one above `labeled-data`."""
    for folder in file.absolute().parents:
        if folder.name == DATA:
            return folder.parent
    return path if path.is_dir() else path.parent


def _objects(
    file: Path, table: Table, scorer: str, base: Path, faults: Faults, notes: Notes, unmarked: str
) -> Iterator[Marked]:
    seen: dict[str, str] = {}
    individuals = dict.fromkeys(column[1] for column in table.columns if column[0] == scorer)
    for (where, image), row in zip(table.images, table.values, strict=True):
        try:
            if seen.setdefault(image, where) != where:
                raise AnnotationError(
                    f"{where}: the frame {image} comes a second time; remove one of the rows."
                )
            cells = {
                column[1:]: value
                for column, value in zip(table.columns, row, strict=True)
                if column[0] == scorer
            }
            found = {
                individual: {
                    part: (cells[individual, part, "x"], cells.get((individual, part, "y"), float("nan")))
                    for who, part, axis in cells
                    if who == individual and axis == "x"
                }
                for individual in individuals
            }
            for individual, places in found.items():
                points = {
                    part: place
                    for part, place in places.items()
                    if place[0] == place[0] or place[1] == place[1]
                }
                for part, (x, y) in points.items():
                    if x != x or y != y:
                        raise AnnotationError(
                            f"{where}: the part {part!r} of {image} has one of x and y; give both."
                        )
                if not points and unmarked == "skip":
                    notes.add(
                        "{} frames or individuals without a marked part were left out; unmarked='keep' keeps them."
                    )
                    continue
                yield Marked(
                    where,
                    image,
                    {part: (x + SHIFT, y + SHIFT) for part, (x, y) in points.items()},
                    instance=None if individual in (None, OBJECT) else individual,
                    file=_file(base, file, image),
                )
        except DatasetError as error:
            faults.add(where, error)


def _file(base: Path, table: Path, image: str) -> Path | None:
    """Return the image where the table names it, or beside the table; None for a name that leaves the folder."""
    if ".." in image.split("/"):
        return None
    beside = table.parent / image.rsplit("/", 1)[-1]
    # Unlike Path, os.path takes a name that is too long for the file system.
    return beside if os.path.isfile(beside) and not os.path.isfile(base / image) else base / image
