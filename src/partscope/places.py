"""Files wherever fsspec reaches: `memory://…`, `https://…`, `s3://…` beside paths of this machine.

A URL is carried as a plain `Path`, so that names, endings and folders are told from it as from any other; as such it has lost
a slash (`s3:/bucket/a.jpg`), which is given back here. Local paths go to pathlib and never to fsspec.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from partscope.errors import OptionError

#: A scheme of two letters or more: `C:/` is a drive.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
#: Seconds after which a server counts as silent.
_TIMEOUT = 30


def url_of(place: str | os.PathLike[str]) -> str | None:
    """Return the URL that a string or a path stands for, or None for a file of this machine."""
    match = _URL.fullmatch(os.fspath(place))
    if match is None or (isinstance(place, Path) and os.path.exists(place)):
        return None
    scheme = match[1].lower()
    return f"{scheme}:///{match[2]}" if scheme in ("file", "local") else f"{scheme}://{match[2]}"


def shown(place: str | os.PathLike[str]) -> str:
    """Return how messages call a place: a URL with both slashes."""
    return url_of(place) or os.fspath(place)


def read_bytes(place: str | os.PathLike[str], most: int | None = None) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    most: bytes that a remote file may have.

    Raises
    ------
    OSError: it cannot be read; FileNotFoundError where it does not exist. OptionError: nothing can read such URLs here.
    ValueError: it has more than `most` bytes.
    """
    url = url_of(place)
    if url is None:
        return Path(place).read_bytes()
    files, path = _opened(url)
    try:
        with files.open(path, "rb") as stream:
            data: bytes = stream.read() if most is None else stream.read(most + 1)
    except OSError:
        raise
    except Exception as error:  # what a protocol's own library raises: of servers, credentials, names
        raise OSError(None, f"{type(error).__name__}: {error}") from error
    if most is not None and len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def write_bytes(place: str | os.PathLike[str], data: bytes) -> None:
    """Write a remote file; on what stores objects whole (S3, GCS, memory) a reader sees all of it or nothing.

    Raises
    ------
    OSError: it cannot be written. OptionError: nothing can write to such URLs here.
    """
    files, path = _opened(str(url_of(place)))
    try:
        files.makedirs(files._parent(path), exist_ok=True)
        files.pipe_file(path, data)
    except OSError:
        raise
    except NotImplementedError as error:
        raise OSError(None, f"files can be read there, but not written: {error}".rstrip(": ")) from error
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}") from error


@contextlib.contextmanager
def local_copy(place: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a file of this machine with the content of `place`, for readers that want one; errors as :func:`read_bytes`."""
    path = Path(place)
    if url_of(place) is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(read_bytes(place))
        yield copy


def exists(place: str | os.PathLike[str]) -> bool:
    """Whether there is a file or folder; OptionError as :func:`read_bytes`."""
    url = url_of(place)
    if url is None:
        return Path(place).exists()
    files, path = _opened(url)
    return bool(files.exists(path))


def is_file(place: str | os.PathLike[str]) -> bool:
    """Whether there is a file; OptionError as :func:`read_bytes`."""
    url = url_of(place)
    if url is None:
        return Path(place).is_file()
    files, path = _opened(url)
    return bool(files.isfile(path))


def is_folder(place: str | os.PathLike[str]) -> bool:
    """Whether there is a folder; OptionError as :func:`read_bytes`."""
    url = url_of(place)
    if url is None:
        return Path(place).is_dir()
    files, path = _opened(url)
    return bool(files.isdir(path))


def make_folder(place: str | os.PathLike[str]) -> None:
    """Make a folder and those above it where they are missing; OSError, OptionError as :func:`write_bytes`."""
    url = url_of(place)
    if url is None:
        Path(place).mkdir(parents=True, exist_ok=True)
        return
    files, path = _opened(url)
    files.makedirs(path, exist_ok=True)


def remove(place: str | os.PathLike[str]) -> None:
    """Remove a file, if it is there; OSError, OptionError as :func:`write_bytes`."""
    url = url_of(place)
    if url is None:
        Path(place).unlink(missing_ok=True)
        return
    files, path = _opened(url)
    try:
        files.rm_file(path)
    except FileNotFoundError:
        pass
    except OSError:
        raise
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}") from error


def remove_empty_folder(place: str | os.PathLike[str]) -> None:
    """Remove a folder if it is empty and can be removed; stores without folders have nothing to remove."""
    url = url_of(place)
    with contextlib.suppress(OSError, NotImplementedError):
        if url is None:
            Path(place).rmdir()
            return
        files, path = _opened(url)
        if files.isdir(path) and not files.ls(path, detail=False):
            files.rmdir(path)


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Return the files right in a folder whose names fit a pattern, sorted; none where there is no such folder."""
    url = url_of(folder)
    if url is None:
        return sorted(folder.glob(pattern))
    files, path = _opened(url)
    try:
        names: Iterable[str] = files.ls(path, detail=False)
    except FileNotFoundError:
        return []
    fitting = (PurePosixPath(str(name).rstrip("/")) for name in names)
    return sorted(folder / name.name for name in fitting if name.match(pattern))


def files_under(folder: Path) -> list[Path]:
    """Return all files in a remote folder and in the folders in it, sorted."""
    files, path = _opened(str(url_of(folder)))
    # A file system names its files with or without their scheme and host.
    base = str(path).rstrip("/")
    names = (str(name) for name in files.find(path))
    return sorted(folder / name[name.index(base) + len(base) :].lstrip("/") for name in names)


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it."""
    import fsspec

    options = {}
    if url.startswith(("http://", "https://")):
        try:
            import aiohttp
        except ImportError as error:
            raise OptionError(
                f"{url}: reading from web servers needs the package aiohttp: pip install 'partscope[remote]'."
            ) from error
        options = {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=_TIMEOUT)}}
    try:
        files, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise OptionError(f"{url}: such addresses cannot be used here ({str(error).rstrip('.')}).") from error
    return files, str(path)
