"""Unpacking a tar archive so that nothing is written, or pointed to, outside its folder."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import tarfile
import zlib
from pathlib import Path

from partscope.errors import PartscopeError

#: An archive that says it holds more than this is refused: it is a bomb, or no data set of ours.
MOST_BYTES = 64 * 1024**3
MOST_FILES = 5_000_000


def unpack(archive: str | Path, folder: str | Path) -> None:
    """Unpack a tar archive, compressed or not, to a folder that must not be there yet.

    Python's filter `data` refuses absolute names, names that leave the folder, links that point out of it, and devices.

    Raises
    ------
    PartscopeError: the archive is damaged, holds one of those or too much, or the disk is full; the folder is then gone.
    """
    archive, folder = Path(archive), Path(folder)
    if not hasattr(tarfile, "data_filter"):
        raise PartscopeError(
            "this Python cannot unpack archives safely; update it to 3.10.12, 3.11.4, 3.12 or newer."
        )
    try:
        folder.mkdir(parents=True)
        _extract(archive, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, tarfile.FilterError):
            raise PartscopeError(
                f"{archive}: refused, because an entry would reach outside the folder ({error}); do not use this archive."
            ) from error
        if isinstance(error, (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)):
            raise PartscopeError(
                f"{archive}: the archive is damaged ({error}); remove it and download it again."
            ) from error
        if isinstance(error, OSError) and not isinstance(error, PartscopeError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = (
                "the disk is full; free some space"
                if full
                else f"{error.strerror or error}; choose another folder"
            )
            raise PartscopeError(
                f"{folder}: cannot unpack {archive} ({reason}) and run the same command again."
            ) from error
        raise


def _extract(archive: Path, folder: Path) -> None:
    count = size = 0
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            count, size = count + 1, size + member.size
            if count > MOST_FILES or size > MOST_BYTES:
                raise PartscopeError(
                    f"{archive}: refused, because it holds more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes."
                )
            tar.extract(member, folder, filter="data")
        # The checksum of a compressed archive stands at its end, behind the last entry.
        while tar.fileobj is not None and tar.fileobj.read(1 << 20):
            pass
