"""What is marked: parts, pairs and marks, kept on disk at each change, with a revision for each thing that can change.

Whoever writes says which revision he has seen; if it is not the current one nothing is written and the current state is
handed back. So two tabs cannot overwrite each other. Marks lie in one small file for each picture, written whole or not at
all, so a crash loses nothing and a change costs the same however many pictures there are.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partscope.atomic import atomic_write
from partscope.errors import OptionError, PartscopeError
from partscope.symmetry import mirrored_parts
from partscope.web.faults import ConflictError

#: Position `(x, y)` in pixels of the upright picture; None where the part cannot be seen.
Mark = tuple[float, float] | None

#: More parts than this are a mistake.
MOST_PARTS = 200
_KEY = re.compile(r"p[0-9]{1,6}")


@dataclass(frozen=True)
class Marks:
    """The marks of one picture.

    Parameters
    ----------
    revision: 0 before the first change.
    points: of each part that was dealt with, by its key; parts that are not in here are open.
    """

    revision: int = 0
    points: Mapping[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """The parts that are marked.

    Parameters
    ----------
    revision: 0 before the first change.
    names: the parts' names by their keys, which a new name does not change.
    pairs: symmetric pairs of keys.
    """

    revision: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the parts as JSON-ready values."""
        return {
            "revision": self.revision,
            "parts": [{"key": key, "name": name} for key, name in self.names.items()],
            "pairs": [list(pair) for pair in self.pairs],
        }


class Project:
    """The project folder.

    Parameters
    ----------
    folder: created where it does not exist; one server at a time may have it open.

    Raises
    ------
    PartscopeError: it cannot be created, or another server has it open, or a file in it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        try:
            (folder / "marks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PartscopeError(
                f"{folder}: the project's folder cannot be created ({error.strerror}); choose another with --project."
            ) from error
        self._guard = _only_one(folder / "lock")
        try:
            self.parts = self._read_parts()
            files = sorted(
                (folder / "marks").glob("[!.]*.json")
            )  # a dot begins what a Mac leaves on foreign disks
            self._marks = {file.stem: _read_marks(file) for file in files}
            self.history: list[dict[str, Any]] = _read_json(folder / "history.json", list)
        except PartscopeError:
            self.close()
            raise

    def close(self) -> None:
        """Let another server have the folder."""
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None

    # -- parts ------------------------------------------------------------------------------------------------------
    def set_parts(
        self,
        parts: Sequence[tuple[str | None, str]],
        pairs: Sequence[tuple[int, int]],
        revision: int,
    ) -> Parts:
        """Replace the list of parts.

        Parameters
        ----------
        parts: key and name of each, in order; None as the key of a new one.
        pairs: symmetric pairs as positions in `parts`.
        revision: the one that the caller has seen.

        Raises
        ------
        ConflictError: the parts have been changed since.
        OptionError: a name is empty, too long or there twice, an unknown key, a part in two pairs, or too many parts.
        """
        with self._lock:
            if revision != self.parts.revision:
                raise ConflictError(
                    "the parts were changed elsewhere meanwhile; look at them and try again.",
                    self.parts.document(),
                )
            names = self._checked(parts)
            keys = list(names)
            if any(not 0 <= i < len(keys) for pair in pairs for i in pair):
                raise OptionError("a symmetric pair names a part that does not exist; load the page again.")
            named = [(names[keys[i]], names[keys[j]]) for i, j in pairs]
            mirrored_parts(tuple(names.values()), named)  # raises for a part that is there twice
            changed = Parts(revision + 1, names, tuple((keys[i], keys[j]) for i, j in pairs))
            text = json.dumps({"format": "partscope project", "version": 1, **changed.document()}, indent=1)
            atomic_write(self.folder / "project.json", text)
            self.parts = changed
            return changed

    def _checked(self, parts: Sequence[tuple[str | None, str]]) -> dict[str, str]:
        if len(parts) > MOST_PARTS:
            raise OptionError(f"there are {len(parts)} parts; at most {MOST_PARTS} can be marked.")
        # A key that was ever used is not used again: marks of a part that was taken away may still lie there.
        used = [int(key[1:]) for marks in self._marks.values() for key in marks.points]
        used += [int(key[1:]) for key in self.parts.names]
        free = max(used, default=0) + 1
        names: dict[str, str] = {}
        for key, name in parts:
            name = " ".join(name.split())
            if not name or len(name) > 60:
                raise OptionError(f"a part's name must have 1 to 60 letters, not {name[:70]!r}.")
            if any(unicodedata.category(sign) == "Cc" for sign in name):
                raise OptionError(f"the part's name {name!r} holds a control character; leave it out.")
            if name in names.values():
                raise OptionError(f"there are two parts {name!r}; give each a name of its own.")
            if key is None:
                key, free = f"p{free}", free + 1
            elif key not in self.parts.names or key in names:
                raise OptionError(f"there is no part with the key {key[:20]!r}; load the page again.")
            names[key] = name
        return names

    # -- marks ------------------------------------------------------------------------------------------------------
    def marks(self, id: str) -> Marks:
        """Return the marks of a picture."""
        return self._marks.get(id, Marks())

    def marked(self) -> dict[str, Marks]:
        """Return the pictures that have any marks."""
        with self._lock:
            return {id: marks for id, marks in self._marks.items() if marks.points}

    def is_complete(self, id: str) -> bool:
        """Return whether every part of a picture was dealt with, so that it can be learned from."""
        points = self.marks(id).points
        return bool(self.parts.names) and all(key in points for key in self.parts.names)

    def set_marks(self, id: str, points: Mapping[str, Mark], revision: int, size: tuple[int, int]) -> Marks:
        """Replace the marks of a picture.

        Parameters
        ----------
        points: by the parts' keys.
        revision: the one that the caller has seen.
        size: width and height of the picture in pixels.

        Raises
        ------
        ConflictError: the marks have been changed since.
        OptionError: there is no such part, or a point lies outside the picture.
        """
        with self._lock:
            now = self.marks(id)
            if revision != now.revision:
                raise ConflictError(
                    "this picture was changed elsewhere meanwhile; both changes are brought together.",
                    document(now),
                )
            for key, point in points.items():
                if key not in self.parts.names:
                    raise OptionError(f"there is no part with the key {key[:20]!r}; load the page again.")
                if point is not None and not (
                    all(math.isfinite(value) for value in point)
                    and 0 <= point[0] <= size[0]
                    and 0 <= point[1] <= size[1]
                ):
                    raise OptionError(
                        f"{self.parts.names[key]}: the point {point} lies outside the picture of {size[0]}×{size[1]} pixels."
                    )
            changed = Marks(revision + 1, dict(points))
            atomic_write(self.folder / "marks" / f"{id}.json", json.dumps(document(changed)))
            self._marks[id] = changed
            return changed

    # -- history ----------------------------------------------------------------------------------------------------
    def note(self, entry: dict[str, Any]) -> None:
        """Add to the history of errors."""
        with self._lock:
            self.history.append(entry)
            atomic_write(self.folder / "history.json", json.dumps(self.history))

    def _read_parts(self) -> Parts:
        path = self.folder / "project.json"
        values = _read_json(path, dict)
        if not values:
            return Parts()
        try:
            names = {str(part["key"]): str(part["name"]) for part in values["parts"]}
            pairs = tuple((str(a), str(b)) for a, b in values["pairs"])
            if any(_KEY.fullmatch(key) is None for key in names) or not {k for p in pairs for k in p} <= set(
                names
            ):
                raise ValueError
            return Parts(int(values["revision"]), names, pairs)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path) from error


def document(marks: Marks) -> dict[str, Any]:
    """Return marks as JSON-ready values."""
    points = {key: None if point is None else list(point) for key, point in marks.points.items()}
    return {"revision": marks.revision, "marks": points}


def _read_marks(path: Path) -> Marks:
    values = _read_json(path, dict)
    try:
        points: dict[str, Mark] = {}
        for key, point in values["marks"].items():
            if _KEY.fullmatch(key) is None:
                raise ValueError
            points[key] = None if point is None else (float(point[0]), float(point[1]))
        return Marks(int(values["revision"]), points)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _damaged(path) from error


def _read_json(path: Path, kind: type) -> Any:
    """Return the content of a JSON file, empty where there is none."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return kind()
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    if not isinstance(content, kind):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> PartscopeError:
    return PartscopeError(
        f"{path}: the project's file is damaged; put it right, or move it away to start without it."
    )


def _only_one(path: Path) -> int | None:
    """Hold a lock as long as the process lives; None where the system has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with suppress(OSError):
            os.close(handle)
        raise PartscopeError(
            f"{path.parent}: this project is open in another 'partscope serve'; stop that one, or choose another --project."
        ) from error
    return handle
