"""The data sets that can be downloaded by name: only those whose official source has a lasting address and a known checksum."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from partscope.download.fetching import fetch
from partscope.download.unpacking import unpack
from partscope.errors import OptionError, PartscopeError, nearest_names


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    title: what it is. url: its archive. size: bytes. sha256: the archive's checksum. folder: the folder of the archive that
    is the data set. format: the annotation format that reads it. terms: what its authors say about its use.
    """

    title: str
    url: str
    size: int
    sha256: str
    folder: str
    format: str
    terms: str


SOURCES: dict[str, Source] = {
    "cub": Source(
        title="CUB-200-2011: 11,788 images of 200 species of birds, 15 parts, boxes (1.1 GB)",
        url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        size=1_150_585_339,
        sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        folder="CUB_200_2011",
        format="cub",
        terms="for research; the images belong to their photographers: https://www.vision.caltech.edu/datasets/cub_200_2011",
    ),
}


def download(
    name: str,
    folder: str | Path = ".",
    *,
    keep_archive: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fetch a data set and unpack it into a folder of its own below `folder`.

    The same call continues a download that was stopped. The data set's folder appears when it is complete, so one that is
    there was unpacked to the end; it is then returned without a download.

    Parameters
    ----------
    name: a key of `SOURCES`.
    folder: where to put the data set's folder; must be there.
    keep_archive: keep the archive beside it.
    progress: called with the bytes that are there and their number in all.

    Returns
    -------
    The data set's folder, to be read with :func:`partscope.load_dataset`.

    Raises
    ------
    OptionError: there is no such data set.
    PartscopeError: the source cannot be reached, the connection breaks again and again, the checksum differs, the archive
        would write outside its folder, or the disk is full.
    MissingExtraError: pooch is not installed.
    """
    if name not in SOURCES:
        raise OptionError(
            f"there is no data set {name!r} to download; nearest names: {nearest_names(name, SOURCES)}."
        )
    source, base = SOURCES[name], Path(folder)
    target = base / source.folder
    if target.exists():
        if target.is_dir() and any(target.iterdir()):
            return target
        if not target.is_dir():
            raise PartscopeError(
                f"{target}: this is a file where the data set's folder belongs; choose another folder."
            )
    if not base.is_dir():
        raise PartscopeError(f"{base}: there is no such folder; create it first.")
    archive = fetch(source.url, base / source.url.rsplit("/", 1)[-1], source.sha256, source.size, progress)
    # Unpacked under another name first: the folder's own name says that it is complete.
    work = base / f".partial-{source.folder}-{secrets.token_hex(4)}"
    try:
        unpack(archive, work)
        inner = work / source.folder
        if not inner.is_dir():
            raise PartscopeError(
                f"{archive}: the archive holds no folder {source.folder}; remove it and download it again."
            )
        with suppress(OSError):
            target.rmdir()  # an empty one
        os.rename(inner, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not keep_archive:
        archive.unlink()
    return target
