"""The annotation formats by name: reading, writing, and recognising which one a file or folder is in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, OptionError, nearest_names
from partscope.formats.reading import check_beginning
from partscope.formats.writing import Written
from partscope.places import shown, url_of

#: Readers by the name of their format. A reader takes the path and `on_error`, and options of its own by keyword.
READERS: dict[str, Callable[..., PartDataset]] = {}
#: Writers by the name of their format. A writer takes the data set and the path, and options of its own by keyword.
WRITERS: dict[str, Callable[..., Written]] = {}

#: The name that lets :func:`load_dataset` find out the format.
AUTO = "auto"


@dataclass(frozen=True)
class Mark:
    """How a format is recognised.

    looks_for: what a file or folder of the format looks like, for the message where none fits.
    recognise: tells from a file's name and first bytes, or a folder's entries; must not read all of it.
    folder: the format is a folder, not a file; None where it is either.
    """

    looks_for: str
    recognise: Callable[[Path], bool]
    folder: bool | None


MARKS: dict[str, Mark] = {}
#: For each writer the endings of the file that it writes, and whether it writes a folder (instead, or else).
TARGETS: dict[str, tuple[tuple[str, ...], bool]] = {}

#: In a folder, only files with these endings may be the annotation.
_ENDINGS = (".csv", ".json", ".xml", ".h5")

R = TypeVar("R", bound=Callable[..., PartDataset])
W = TypeVar("W", bound=Callable[..., Written])


def reader(
    format: str,
    *,
    looks_for: str = "",
    recognise: Callable[[Path], bool] | None = None,
    folder: bool | None = False,
) -> Callable[[R], R]:
    """Register the decorated function as the reader of `format`; the rest as in :class:`Mark`."""

    def register(function: R) -> R:
        READERS[format] = function
        if recognise is not None:
            MARKS[format] = Mark(looks_for, recognise, folder)
        return function

    return register


def writer(format: str, *suffixes: str, folder: bool = False) -> Callable[[W], W]:
    """Register the decorated function as the writer of `format`.

    suffixes: the endings of the file that it writes, in small letters. folder: it writes a folder, where the path has none
    of these endings.
    """

    def register(function: W) -> W:
        WRITERS[format] = function
        TARGETS[format] = suffixes, folder or not suffixes
        return function

    return register


def load_dataset(format: str, path: str | Path, *, on_error: str = "raise", **options: object) -> PartDataset:
    """Read an annotated data set.

    Parameters
    ----------
    format: name of an annotation format, a key of `READERS`, such as `"cub"`; `"auto"` finds it out.
    path: the data set's folder or file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad items out and lists them in
        `PartDataset.skipped`.
    options: further options of the format's reader.

    Raises
    ------
    OptionError: the format is unknown, or has no such option.
    AnnotationError, DatasetError, ImageError: an item is bad, or, whatever `on_error` says, nothing usable is left; or the
        format was not recognised.
    """
    if format == AUTO:
        format, path = recognise(path)
    if format not in READERS:
        raise OptionError(
            f"there is no annotation format {format!r}; nearest names: {nearest_names(format, READERS)}."
        )
    function = READERS[format]
    check_options(format, function, options, ("path", "on_error"))
    return function(path, on_error=on_error, **options)


def save_dataset(dataset: PartDataset, format: str, path: str | Path, **options: object) -> Written:
    """Write the annotations of a data set; the images are not copied.

    Parameters
    ----------
    format: a key of `WRITERS`.
    path: the file or folder to write; what stands there is replaced.
    options: further options of the format's writer.

    Returns
    -------
    What was lost, one counted sentence each, and where the images belong.

    Raises
    ------
    OptionError: the format is unknown or has no such option.
    DatasetError: the format cannot hold the data set.
    PartscopeError: a file cannot be written.
    """
    if format not in WRITERS:
        raise OptionError(
            f"there is no annotation format {format!r} to write; nearest names: {nearest_names(format, WRITERS)}."
        )
    check_options(format, WRITERS[format], options, ("dataset", "path"))
    return WRITERS[format](dataset, path, **options)


def check_options(
    format: str, function: Callable[..., object], options: dict[str, object], own: tuple[str, ...]
) -> None:
    """Raise an OptionError for an option that the function does not have; `own` are its other parameters."""
    known = [name for name in inspect.signature(function).parameters if name not in own]
    for name in options:
        if name not in known:
            raise OptionError(
                f"the format {format!r} has no option {name!r}; nearest names: {nearest_names(name, known)}."
            )


def recognise(path: str | Path) -> tuple[str, Path]:
    """Return the name of the format that a file or folder is in, and the file or folder to read.

    A folder is looked at first; where it is of no format itself, the files in it are that may be an annotation, of which
    one alone must be of a known format.

    Raises
    ------
    AnnotationError: there is nothing, no format fits (the message says what was looked for), or several do.
    """
    path = Path(path)
    if url_of(path) is not None:
        # Of the folders elsewhere this layout alone is read.
        if not _recognised(MARKS["cub"], path):
            raise AnnotationError(
                f"{shown(path)}: there is no data set in the layout of CUB-200-2011; check the address, or copy data sets of "
                "other formats to this machine."
            )
        return "cub", path
    if not path.exists():
        raise AnnotationError(f"{path}: there is no such file or folder; check the path.")
    found = _formats_of(path)
    if not found and path.is_dir():
        files = sorted(
            entry for entry in path.iterdir() if entry.suffix.lower() in _ENDINGS and entry.is_file()
        )
        found = [match for file in files for match in _formats_of(file)]
    if not found and path.is_file():
        with path.open("rb") as file:
            check_beginning(path, file.read(4096))
    if not found:
        looked = "; ".join(f"{mark.looks_for} ({name})" for name, mark in MARKS.items())
        raise AnnotationError(
            f"{path}: no annotation format was recognised; looked for: {looked}; name the format if it is one of these."
        )
    if len(found) > 1:
        listed = ", ".join(f"{name} ({file.name})" for name, file in found)
        raise AnnotationError(
            f"{path}: there is more than one annotation here: {listed}; give the file, or name the format."
        )
    return found[0]


def _formats_of(path: Path) -> list[tuple[str, Path]]:
    return [
        (name, path)
        for name, mark in MARKS.items()
        if mark.folder in (None, path.is_dir()) and _recognised(mark, path)
    ]


def _recognised(mark: Mark, path: Path) -> bool:
    try:
        return mark.recognise(path)
    except OSError as error:
        raise AnnotationError(
            f"{path}: the file cannot be read ({error.strerror or error}); check its permissions."
        ) from error


def beginning(path: Path, size: int = 4096) -> str:
    """Return the first bytes of a file as text, whatever they are, for recognising it."""
    with path.open("rb") as file:
        return file.read(size).decode("utf-8-sig", "replace")
