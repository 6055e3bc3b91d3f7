"""The folder of pictures: what is in it, under opaque ids, and no way out of it.

The page names pictures by ids that this listing has given out; no path ever comes from a request. Before a file is opened
its links are followed, and what lies outside the folder is refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from partscope.errors import ImageError, OptionError
from partscope.images import IMAGE_SUFFIXES
from partscope.web.faults import UnknownPictureError


@dataclass(frozen=True)
class Picture:
    """A picture of the folder.

    Parameters
    ----------
    id: opaque; 16 hexadecimal digits of the hash of its name.
    name: its path relative to the folder, with `/` between folders.
    """

    id: str
    name: str

    @property
    def shown(self) -> str:
        """The name as text: a file's name need not be valid Unicode."""
        return self.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class PictureFolder:
    """The pictures below a folder, hidden files and folders apart; nothing is decoded to list them.

    Parameters
    ----------
    root: the folder.

    Raises
    ------
    OptionError: there is no such folder, or it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise OptionError(f"{root}: there is no such folder; name the folder of your pictures.")
        self.root = root.resolve()
        self._pictures: dict[str, Picture] = {}
        self.refresh()

    def refresh(self) -> list[str]:
        """Look again for pictures, and return the ids of those that are new."""
        try:
            names = sorted(_walk(self.root, ""))
        except PermissionError as error:
            raise OptionError(f"{self.root}: the folder cannot be read; change its permissions.") from error
        found = {picture.id: picture for picture in (Picture(picture_id(name), name) for name in names)}
        new = [name for name in found if name not in self._pictures]
        self._pictures = found
        return new

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[Picture]:
        return iter(tuple(self._pictures.values()))

    def __contains__(self, id: object) -> bool:
        return id in self._pictures

    def get(self, id: str) -> Picture:
        """Return a picture by its id; an UnknownPictureError if it is none of this folder."""
        try:
            return self._pictures[id]
        except KeyError:
            raise UnknownPictureError(
                f"there is no picture {id[:40]!r} in this folder; load the page again."
            ) from None

    def path(self, id: str) -> Path:
        """Return the file of a picture, its links followed.

        Raises
        ------
        UnknownPictureError: there is no picture of this id.
        ImageError: the file is gone, no file, or a link to somewhere outside the folder.
        """
        name = self.get(id).name
        path = Path(os.path.realpath(self.root / name))
        if not path.is_relative_to(self.root):
            raise ImageError(
                f"{self.get(id).shown}: this is a link out of the folder, which is not followed; copy the picture there."
            )
        if not path.is_file():
            raise ImageError(f"{self.get(id).shown}: there is no such file any more; load the page again.")
        return path


def picture_id(name: str) -> str:
    """Return the id of the picture with this name."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                try:
                    yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
                except PermissionError:
                    continue  # a folder of somebody else's inside is no reason to show nothing
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                yield prefix + entry.name
