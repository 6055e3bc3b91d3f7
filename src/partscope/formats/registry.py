"""The annotation formats by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from partscope.dataset import PartDataset
from partscope.errors import OptionError, nearest_names

#: Readers by the name of their format. A reader takes the path and `on_error`, and options of its own by keyword.
READERS: dict[str, Callable[..., PartDataset]] = {}

R = TypeVar("R", bound=Callable[..., PartDataset])


def reader(format: str) -> Callable[[R], R]:
    """Register the decorated function as the reader of `format`."""

    def register(function: R) -> R:
        READERS[format] = function
        return function

    return register


def load_dataset(format: str, path: str | Path, *, on_error: str = "raise", **options: object) -> PartDataset:
    """Read an annotated data set.

    Parameters
    ----------
    format: name of an annotation format, a key of `READERS`: `"cub"`.
    path: the data set's folder or file.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad items out and lists them in
        `PartDataset.skipped`.
    options: further options of the format's reader.

    Raises
    ------
    OptionError: the format is unknown, or has no such option.
    AnnotationError, DatasetError, ImageError: an item is bad, or, whatever `on_error` says, nothing usable is left.
    """
    if format not in READERS:
        raise OptionError(
            f"there is no annotation format {format!r}; nearest names: {nearest_names(format, READERS)}."
        )
    function = READERS[format]
    known = [name for name in inspect.signature(function).parameters if name not in ("path", "on_error")]
    for name in options:
        if name not in known:
            raise OptionError(
                f"the format {format!r} has no option {name!r}; nearest names: {nearest_names(name, known)}."
            )
    return function(path, on_error=on_error, **options)
