"""Files that can be made again, kept in a folder up to a number of bytes: thumbnails and features."""

from __future__ import annotations

import os
import re
import secrets
import threading
from contextlib import suppress
from pathlib import Path

_KEY = re.compile(r"[0-9a-f]{8,64}")


class KeptFiles:
    """Bytes by key, on disk.

    Parameters
    ----------
    folder: created where it does not exist.
    limit: bytes.
    oldest_goes: when the limit is reached, whether what was asked for longest ago makes room; otherwise what is new is not
        kept. A pass over more pictures than fit would else find nothing of the last pass.
    """

    def __init__(self, folder: Path, limit: int, *, oldest_goes: bool) -> None:
        self.folder = folder
        self.limit = limit
        self._oldest_goes = oldest_goes
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with os.scandir(folder) as entries:
                known = sorted((entry.stat().st_mtime, entry.name, entry.stat().st_size) for entry in entries)
            self._sizes = {name: size for _, name, size in known if _KEY.fullmatch(name)}
        self._total = sum(self._sizes.values())

    @property
    def total(self) -> int:
        """Bytes that are kept."""
        return self._total

    def __len__(self) -> int:
        return len(self._sizes)

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""
        with self._lock:
            if key not in self._sizes:
                return None
            if self._oldest_goes:  # to the end of the line
                self._sizes[key] = self._sizes.pop(key)
        try:
            return (self.folder / key).read_bytes()
        except OSError:
            self._drop(key)
            return None

    def put(self, key: str, data: bytes) -> bool:
        """Keep bytes under a key, and return whether there was room; a full disk is no fault, it is merely slower."""
        with self._lock:
            room = self.limit - self._total + self._sizes.get(key, 0)
            if not self._oldest_goes and len(data) > room:
                return False
            going = []
            for name, size in self._sizes.items():
                if len(data) <= room:
                    break
                if name != key:
                    going.append(name)
                    room += size
        for name in going:
            self._drop(name)
        if len(data) > self.limit:
            return False
        # Not forced to the disk, unlike what people have marked: that takes longer than to make these files again.
        temporary = self.folder / f".{key}-{secrets.token_hex(4)}"
        try:
            temporary.write_bytes(data)
            temporary.replace(self.folder / key)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            return False
        with self._lock:
            self._total += len(data) - self._sizes.pop(key, 0)
            self._sizes[key] = len(data)
        return True

    def _drop(self, key: str) -> None:
        with self._lock:
            self._total -= self._sizes.pop(key, 0)
        with suppress(OSError):
            (self.folder / key).unlink()
