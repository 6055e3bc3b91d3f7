"""Thumbnails and pictures for the page: decoded by :mod:`partscope.images`, made small, and encoded anew.

The page never gets a file's own bytes: what the browser shows is upright, of a type that every browser knows, and holds
nothing but pixels.
"""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path

from PIL import Image

from partscope.images import image_size, load_image
from partscope.web.kept_files import KeptFiles
from partscope.web.pictures import PictureFolder

#: Longest sides in pixels.
THUMBNAIL, PREVIEW = 240, 2048
#: Pictures that are decoded at once: each may take hundreds of megabytes.
_AT_ONCE = 2


class Previews:
    """Makes and keeps the page's versions of pictures.

    Parameters
    ----------
    folder: the pictures.
    kept: where thumbnails are kept.
    """

    def __init__(self, folder: PictureFolder, kept: KeptFiles) -> None:
        self._folder = folder
        self._kept = kept
        self._turn = threading.BoundedSemaphore(_AT_ONCE)

    def size(self, id: str) -> tuple[int, int]:
        """Return width and height in pixels of the upright picture; an ImageError where it cannot be read."""
        return image_size(self._folder.path(id))

    def thumbnail(self, id: str) -> bytes:
        """Return a small JPEG; an ImageError where the picture cannot be read."""
        path = self._folder.path(id)
        key = stamp(path)
        data = self._kept.get(key)
        if data is None:
            data = self._jpeg(path, THUMBNAIL, 80)
            self._kept.put(key, data)
        return data

    def preview(self, id: str) -> bytes:
        """Return a JPEG for marking; an ImageError where the picture cannot be read."""
        return self._jpeg(self._folder.path(id), PREVIEW, 90)

    def _jpeg(self, path: Path, longest: int, quality: int) -> bytes:
        with self._turn:
            image = load_image(path)
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
            out = io.BytesIO()
            image.save(out, "JPEG", quality=quality)
        return out.getvalue()


def stamp(path: Path) -> str:
    """Return a key that changes when the file does: of its path, size and time of change."""
    status = path.stat()
    facts = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.sha256(facts.encode("utf-8", "surrogateescape")).hexdigest()[:32]
