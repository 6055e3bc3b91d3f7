"""Writing a file whole or not at all: a full disk, an error or a kill leaves the old file, never half a new one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partscope.errors import PartscopeError
from partscope.places import shown, url_of, write_bytes

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space and try again",
    errno.EDQUOT: "the disk quota is used up; free some space and try again",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "there is no such folder; create it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EISDIR: "this is a folder; give the name of a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write `data` to `path` whole or not at all; text is encoded as UTF-8, line ends as they are.

    `path` may stand for a URL, see :mod:`partscope.places`; "whole or not at all" is then as its store keeps it.

    Raises
    ------
    PartscopeError: the folder does not exist or may not be written, `path` is a folder, or the disk is full; what stood
        at `path` before is still there.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    if url_of(path) is not None:
        try:
            write_bytes(path, content)
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise PartscopeError(
                f"{shown(path)}: the file cannot be written ({reason}); check the address."
            ) from error
        return
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it takes the place of `path` if the block ends without an error.

    For writers that want a file name of their own, such as safetensors or Pillow. A symbolic link is followed; a device
    or a pipe, such as `/dev/stdout`, is written to directly, since it cannot be replaced.

    Raises
    ------
    PartscopeError: as :func:`atomic_write`, also for an OSError raised inside the block.
    """
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if target.exists() and not target.is_file():
            yield target
            return
        target = Path(os.path.realpath(target))
        # The suffix stays at the end because Pillow and numpy choose the format, or append one, by it.
        temporary = target.with_name(f".partial-{secrets.token_hex(4)}{target.suffix}")
        # Unlike tempfile's, this file gets the permissions that the user's umask asks for.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            _flush_to_disk(temporary)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        if isinstance(error, PartscopeError):
            raise
        remedy = _REMEDIES.get(error.errno or 0, f"{error.strerror or error}; choose another path")
        raise PartscopeError(f"{path}: the file cannot be written, because {remedy}.") from error


def _flush_to_disk(path: Path) -> None:
    """Without this a crash soon after the rename can leave an empty file on some file systems."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
