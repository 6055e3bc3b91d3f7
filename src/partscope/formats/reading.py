"""Reading annotation files so that every fault names the file, the line and what was expected."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from partscope.dataset import Skipped
from partscope.errors import AnnotationError, DatasetError, OptionError, PartscopeError
from partscope.places import read_bytes

T = TypeVar("T")

_BLANKS = re.compile(r"[ \t]+")


class Faults:
    """What is wrong with the items of a data set: raised at once, or kept as the reason for leaving the item out.

    Parameters
    ----------
    on_error: `"raise"` or `"skip"`.

    Raises
    ------
    OptionError: `on_error` is something else.
    """

    def __init__(self, on_error: str) -> None:
        if on_error not in ("raise", "skip"):
            raise OptionError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
        self._raise = on_error == "raise"
        self._reasons: dict[str, str] = {}

    def add(self, item: str, error: PartscopeError) -> None:
        """Raise `error`, or note it as the reason why `item` is left out; the first reason is kept."""
        if self._raise:
            raise error
        self._reasons.setdefault(item, str(error))

    def __contains__(self, item: object) -> bool:
        return item in self._reasons

    def skipped(
        self, names: Mapping[str, str], splits: Mapping[str, str], kind: str = "id "
    ) -> tuple[Skipped, ...]:
        """Return the items left out, with their splits, under the names that `names` gives them, or else `kind` and id."""
        return tuple(
            Skipped(names.get(item, f"{kind}{item}"), reason, splits.get(item))
            for item, reason in self._reasons.items()
        )


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a UTF-8 file, with or without a byte-order mark; `errors` as in `bytes.decode`.

    Raises
    ------
    AnnotationError: the file is missing, a folder, not permitted, empty or not UTF-8.
    """
    try:
        data = read_bytes(path)
        check_beginning(path, data)
        text = data.decode("utf-8-sig", errors)
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: there is no such file; check the path.") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path}: the file is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    except (OSError, ValueError) as error:
        if isinstance(error, AnnotationError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise AnnotationError(f"{path}: the file cannot be read ({reason}); check the path.") from error
    return text


def check_beginning(path: Path, data: bytes) -> None:
    """Raise an AnnotationError for a file that begins as UTF-16, or of which there are blanks alone or nothing."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise AnnotationError(f"{path}: the file is UTF-16 text; save it as UTF-8.")
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        raise AnnotationError(f"{path}: the file is empty; restore it.")


def read_rows(
    path: Path,
    columns: int,
    expected: str,
    parse: Callable[[list[str]], T],
    faults: Faults,
    known: Container[str] | None = None,
) -> Iterator[tuple[int, str, T]]:
    """Yield `(line number, first column, parsed other columns)` for each line of a table separated by blanks.

    Parameters
    ----------
    columns: number of columns; the last one may hold blanks of its own.
    expected: what a line must hold, for the error message.
    parse: turns the columns after the first into a value; raises ValueError where they do not fit.
    known: the allowed image ids in the first column, or None where any text is allowed.

    Raises
    ------
    AnnotationError: as :func:`read_text`; for a line that does not parse or names an unknown image, if `faults` raises.
    """
    # Not splitlines(), which also breaks at characters that a name may hold, such as U+2028.
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, text in enumerate(lines, start=1):
        line = text.strip(" \t")
        if not line:
            continue
        fields = _BLANKS.split(line, maxsplit=columns - 1)
        where = f"{path}, line {number}"
        try:
            if len(fields) != columns:
                raise ValueError
            value = parse(fields[1:])
        except ValueError:
            # Whatever else is wrong with the line, its first column says which item it spoils.
            faults.add(fields[0], AnnotationError(f"{where}: {line!r} does not parse; expected {expected}."))
            continue
        if known is not None and fields[0] not in known:
            message = f"{where}: the image id {fields[0]!r} is not listed in images.txt; list it or remove the line."
            faults.add(fields[0], AnnotationError(message))
            continue
        yield number, fields[0], value


def read_mapping(
    path: Path,
    columns: int,
    expected: str,
    parse: Callable[[list[str]], T],
    faults: Faults,
    known: Container[str] | None = None,
) -> dict[str, tuple[int, T]]:
    """Return `{first column: (line number, value)}` as :func:`read_rows`; a first column that comes twice is a fault."""
    found: dict[str, tuple[int, T]] = {}
    for number, key, value in read_rows(path, columns, expected, parse, faults, known):
        if key in found:
            message = (
                f"{path}, line {number}: the id {key!r} is listed a second time, "
                f"after line {found[key][0]}; remove one of the lines."
            )
            faults.add(key, AnnotationError(message))
            continue
        found[key] = number, value
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; an AnnotationError where it does not parse or holds something else."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(f"{path}: this is not valid JSON ({error}); correct the file.") from error
    if not isinstance(content, dict):
        raise AnnotationError(
            f"{path}: expected a JSON object, not {type(content).__name__}; correct the file."
        )
    return content


def json_records(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    """Return the list of objects under `key`; an AnnotationError where it is missing or holds something else."""
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise AnnotationError(f"{path}: expected a list of objects under {key!r}, as in a COCO data set.")
    return records


def number(value: object) -> float:
    """Return a finite float from a number or its text; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, str) and "_" in value:  # Python reads 1_0 as 10
        raise ValueError(f"{value!r} is not a number")
    try:
        result = float(value)
    except OverflowError as error:
        raise ValueError("the number is too large") from error
    if not math.isfinite(result):
        raise ValueError(f"{value!r} is not finite")
    return result


def relative_name(text: str) -> str:
    """Return a file name below some folder in its normal form, with `/` between folders.

    Raises
    ------
    DatasetError: the name is absolute or leaves the folder.
    """
    path = PurePath(text)
    names: list[str] = []
    for part in path.parts:
        if part == ".." and names:
            names.pop()
        elif part == ".." or path.is_absolute() or path.drive:
            raise DatasetError(f"the path {text!r} leaves the data set's folder; use a path below it.")
        else:
            names.append(part)
    if not names:
        raise DatasetError(f"the path {text!r} names no file; use a path below the data set's folder.")
    return "/".join(names)
