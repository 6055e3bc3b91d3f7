"""Writing for DeepLabCut (see :mod:`partscope.formats.deeplabcut`): a project's folder, one table, or parts found as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partscope.atomic import atomic_path, atomic_write
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, MissingExtraError, OptionError
from partscope.formats.deeplabcut import DATA, SHIFT
from partscope.formats.registry import writer
from partscope.formats.results import check_unique, quoted
from partscope.formats.writing import Losses, Named, Written, by_image, check_unicode, make_folder, named
from partscope.predictions import PartPredictions

#: Whose labels they are called, where nobody is named.
SCORER = "partscope"

Columns = list[tuple[str, ...]]


@writer("deeplabcut", ".csv", ".h5", folder=True)
def write_deeplabcut(
    dataset: PartDataset, path: str | Path, scorer: str = SCORER, h5: bool = False
) -> Written:
    """Write marked parts for DeepLabCut; with several objects an image the header tells individuals apart.

    Parameters
    ----------
    path: a name that ends in `.csv` or `.h5` is one table, any other the folder of a project: `config.yaml` and a table
        for each folder of images, in which the images belong as `labeled-data/FOLDER/IMAGE`.
    scorer: whose labels they are.
    h5: write each table of a project as HDF5 too, which DeepLabCut itself needs (`deeplabcut.convertcsv2h5` makes it too).

    Raises
    ------
    DatasetError: the data set is empty, a name holds a line break, or two images would get one place.
    OptionError: `scorer` is no name of a file.
    MissingExtraError: an HDF5 table without pandas and PyTables.
    PartscopeError: a file cannot be written.
    """
    if not re.fullmatch(r"[^/\\\s.][^/\\\n\r]*", scorer):
        raise OptionError(f"scorer must be a name that can be part of a file's, not {scorer!r}.")
    items, losses, target = named(dataset), Losses(), Path(path)
    losses.without(items, "box", "label", "split")
    several = any(item.instance is not None for item in items)
    places: dict[str, str] = {}
    for item in items:
        place = places.setdefault(item.image, _place(item.image))
        if _frame_of(places, place) != item.image:
            raise DatasetError(
                f"{item.image}: {_frame_of(places, place)} gets the place {place} too; rename one of them."
            )
    for name in (*dataset.parts, *places, *(item.object for item in items)):
        check_unicode(name)
        if "\n" in name or "\r" in name or not name.strip():
            raise DatasetError(
                f"the name {name!r} is empty or holds a line break, which the tables cannot; rename it."
            )
    images = {places[item.image]: item.sample.image for item in items}
    if target.suffix.lower() in (".csv", ".h5"):
        _write_table(target, *_table(dataset, items, places, scorer, several))
        return Written(losses.texts(), images)
    folders: dict[str, list[Named]] = {}
    for item in items:
        folders.setdefault(places[item.image].split("/")[1], []).append(item)
    for folder, group in folders.items():
        home = target / DATA / folder
        make_folder(home)
        for ending in ("csv", "h5")[: 1 + h5]:
            file = home / f"CollectedData_{scorer}.{ending}"
            _write_table(file, *_table(dataset, group, places, scorer, several))
    atomic_write(target / "config.yaml", _config(dataset, items, scorer, several, list(folders)))
    return Written(losses.texts(), images)


def _place(image: str) -> str:
    """Return `labeled-data/VIDEO/FRAME` for an image; deeper folders become part of VIDEO's name."""
    steps = image.removeprefix(f"{DATA}/").split("/")
    return f"{DATA}/{'_'.join(steps[:-1]) or 'images'}/{steps[-1]}"


def _frame_of(places: dict[str, str], place: str) -> str:
    return next(image for image, other in places.items() if other == place)


def _header(parts: Sequence[str], scorer: str, individuals: Sequence[str | None]) -> Columns:
    return [
        (scorer, *([] if who is None else [who]), part, axis)
        for who in individuals
        for part in parts
        for axis in "xy"
    ]


def _table(
    dataset: PartDataset, items: Sequence[Named], places: dict[str, str], scorer: str, several: bool
) -> tuple[Columns, list[str], np.ndarray[Any, Any]]:
    """Return the header, the images and (images, columns) positions, NaN where a part is not visible."""
    individuals: list[str | None] = [*dict.fromkeys(item.object for item in items)] if several else [None]
    groups = by_image(items)
    values = np.full((len(groups), len(individuals), 2 * len(dataset.parts)), np.nan)
    for row, group in enumerate(groups.values()):
        for item in group:
            who = individuals.index(item.object) if several else 0
            values[row, who] = (item.sample.points - SHIFT).ravel()
    header = _header(dataset.parts, scorer, individuals)
    return header, [places[image] for image in groups], values.reshape(len(groups), -1)


def _write_table(file: Path, columns: Columns, images: Sequence[str], values: np.ndarray[Any, Any]) -> None:
    levels = ("scorer", "individuals", "bodyparts", "coords")
    names = levels if len(columns[0]) == 4 else (levels[0], *levels[2:])
    if file.suffix.lower() == ".h5":
        _write_h5(file, columns, names, images, values)
        return
    lines = [
        ",".join([name, "", "", *(quoted(column[i]) for column in columns)]) for i, name in enumerate(names)
    ]
    for image, row in zip(images, values.tolist(), strict=True):
        cells = ["" if value != value else repr(value) for value in row]
        lines.append(",".join([*map(quoted, image.split("/")), *cells]))
    atomic_write(file, "".join(f"{line}\n" for line in lines))


def _write_h5(
    file: Path, columns: Columns, names: Sequence[str], images: Sequence[str], values: np.ndarray[Any, Any]
) -> None:
    try:
        import pandas
        import tables  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pandas or tables", "formats", f"Writing {file}") from error
    frame = pandas.DataFrame(
        values,
        index=pandas.MultiIndex.from_tuples([tuple(image.split("/")) for image in images]),
        columns=pandas.MultiIndex.from_tuples(columns, names=list(names)),
    )
    with atomic_path(file) as temporary:
        frame.to_hdf(temporary, key="df_with_missing", mode="w")


def _config(
    dataset: PartDataset, items: Sequence[Named], scorer: str, several: bool, folders: list[str]
) -> str:
    """Return the project's config.yaml; names are written as JSON, which YAML holds."""
    parts = [f"- {json.dumps(part, ensure_ascii=False)}" for part in dataset.parts]
    lines = [
        f"Task: {json.dumps(dataset.name)}",
        f"scorer: {json.dumps(scorer)}",
        f"multianimalproject: {json.dumps(several)}",
    ]
    if several:
        lines += ["identity: false", "individuals:"]
        lines += [
            f"- {json.dumps(name, ensure_ascii=False)}"
            for name in dict.fromkeys(item.object for item in items)
        ]
        lines += ["uniquebodyparts: []", "multianimalbodyparts:", *parts, "bodyparts: MULTI!"]
    else:
        lines += ["bodyparts:", *parts]
    lines += [
        "video_sets:",
        *(f"  {json.dumps(folder + '.mp4', ensure_ascii=False)}: {{crop: null}}" for folder in folders),
    ]
    lines += [
        "skeleton: []",
        "TrainingFraction:",
        "- 0.95",
        "iteration: 0",
        "dotsize: 8",
        "alphavalue: 0.7",
        "pcutoff: 0.6",
    ]
    return "".join(f"{line}\n" for line in lines)


def write_predictions_deeplabcut(
    predictions: PartPredictions, file: str | Path, scorer: str = SCORER
) -> None:
    """Write parts found as a CSV with DeepLabCut's header `scorer, bodyparts, coords`; coords are x, y and likelihood.

    A row is called by its image. Positions count from the centre of the first pixel, as in DeepLabCut; `likelihood` is the
    part's score; both are empty and 0 where a part was not found. This is the form of DeepLabCut's predictions, with images
    in the place of frames' numbers; to go on labelling, write marked parts instead.

    Raises
    ------
    DatasetError: an image occurs twice, or a part's name holds a line break.
    PartscopeError: the file cannot be written.
    """
    check_unique(predictions)
    columns = [(scorer, part, axis) for part in predictions.parts for axis in ("x", "y", "likelihood")]
    lines = [
        ",".join([name, *(quoted(column[i]) for column in columns)])
        for i, name in enumerate(("scorer", "bodyparts", "coords"))
    ]
    for i, image in enumerate(predictions.ids):
        cells = []
        for (x, y), score, found in zip(
            predictions.points[i].tolist(),
            predictions.score[i].tolist(),
            predictions.found[i].tolist(),
            strict=True,
        ):
            cells += [repr(x - SHIFT), repr(y - SHIFT), repr(score)] if found else ["", "", "0.0"]
        lines.append(",".join([quoted(image), *cells]))
    atomic_write(file, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
