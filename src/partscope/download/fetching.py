"""One file over HTTP, continued after a stop, and only ever complete and right under its own name.

What has arrived stands in `NAME.partial`, with what the server called its version in `NAME.partial.version`; the next call asks
for the rest (`Range`, with `If-Range`, so that another version starts over). pooch compares the checksum and gives the file its
name; a file with another checksum is removed.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partscope.errors import MissingExtraError, PartscopeError

if TYPE_CHECKING:
    import requests

Progress = Callable[[int, int], None]

#: How often a broken connection is taken up again in one call, while nothing new arrives.
RETRIES = 4
#: Seconds to connect, and to wait for more.
TIMEOUT = (15.0, 60.0)
#: Small, because what is in a chunk when the connection breaks is lost.
_CHUNK = 1 << 14


def fetch(
    url: str, file: str | Path, sha256: str, size: int | None = None, progress: Progress | None = None
) -> Path:
    """Download `url` to `file` unless it is there with the right checksum, and return its path.

    Parameters
    ----------
    sha256: the file's checksum.
    size: its bytes, where known: a disk without enough space is then noticed before.
    progress: called with the bytes that are there and their number in all (0 where the server does not say it).

    Raises
    ------
    PartscopeError: the server does not answer or refuses, the connection breaks again and again, the checksum differs, or
        the file cannot be written.
    MissingExtraError: pooch is not installed.
    """
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError("pooch", "download", "Downloading") from error
    target = Path(file).absolute()
    partial = target.with_name(f"{target.name}.partial")
    have = partial.stat().st_size if partial.exists() else 0
    if size is not None and not target.exists() and shutil.disk_usage(target.parent).free < size - have:
        raise PartscopeError(
            f"{target.parent}: {size - have:,} bytes are still to come and the disk has less; free some space or choose another "
            "folder."
        )
    pooch.get_logger().setLevel("ERROR")

    def downloader(address: str, output: Any, _pooch: Any) -> None:
        _complete(address, partial, progress or (lambda done, total: None))
        _rename(partial, Path(str(output)))

    try:
        return Path(
            pooch.retrieve(
                url, f"sha256:{sha256}", fname=target.name, path=target.parent, downloader=downloader
            )
        )
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise
        raise PartscopeError(
            f"{url}: the file that arrived has another checksum than the data set's and was removed; run the same command "
            "again, and if that changes nothing report it."
        ) from error
    except OSError as error:
        if isinstance(error, PartscopeError):
            raise
        raise _unwritable(target, error) from error


def _rename(partial: Path, output: Path) -> None:
    partial.replace(output)
    _version_of(partial).unlink(missing_ok=True)


def _version_of(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _complete(url: str, partial: Path, progress: Progress) -> None:
    """Go on with the partial file until the server has sent all of it."""
    import requests

    failures = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            if _go_on(url, partial, progress):
                return
            reason = "it ended too early"
        except requests.HTTPError as error:
            raise PartscopeError(f"{url}: the server refuses ({error}); try again later.") from error
        except requests.RequestException as error:
            reason = type(error).__name__
        now = partial.stat().st_size if partial.exists() else 0
        failures = 0 if now > before else failures + 1
        if failures > RETRIES:
            kept = f"{now:,} bytes are kept" if now else "nothing has arrived"
            raise PartscopeError(
                f"{url}: the connection breaks again and again ({reason}; {kept}); run the same command again to continue."
            )
        time.sleep(min(0.1 * 2**failures, 5.0))


def _go_on(url: str, partial: Path, progress: Progress) -> bool:
    """Ask for what is missing and write it; return whether the file is complete."""
    import requests

    have = partial.stat().st_size if partial.exists() else 0
    version = _version_of(partial)
    # Compressed in transfer, positions would not be those of the file.
    headers = {"Accept-Encoding": "identity"}
    known = version.read_text("utf-8") if have and version.exists() else ""
    if known:
        headers |= {"Range": f"bytes={have}-", "If-Range": known}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # what is there is no beginning of the file, or all of it
            if answer.headers.get("Content-Range", "") == f"bytes */{have}":
                return True
            partial.unlink()
            return False
        answer.raise_for_status()
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        if answer.status_code == 206 and not goes_on:
            partial.unlink()
            return False
        have = have if goes_on else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else 0
        if not goes_on:
            _write_version(answer, version)
        return _receive(answer, partial, have, total, progress)


def _write_version(answer: requests.Response, file: Path) -> None:
    """Keep what tells this version of the file from others; without it the next call starts over."""
    mark = answer.headers.get("ETag", "")
    mark = answer.headers.get("Last-Modified", "") if not mark or mark.startswith("W/") else mark
    if mark and answer.headers.get("Accept-Ranges") != "none":
        file.write_text(mark, "utf-8")
    else:
        file.unlink(missing_ok=True)


def _receive(answer: requests.Response, partial: Path, have: int, total: int, progress: Progress) -> bool:
    progress(have, total)
    try:
        with partial.open("r+b" if have else "wb") as file:
            file.seek(have)
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
    except OSError as error:
        if error.errno is None:  # of the connection, not of the disk
            raise
        raise _unwritable(partial, error) from error
    return have == total or not total


def _unwritable(file: Path, error: OSError) -> PartscopeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PartscopeError(
            f"{file}: the disk is full; free some space and run the same command again to continue."
        )
    return PartscopeError(f"{file}: cannot be written ({error.strerror or error}); choose another folder.")
