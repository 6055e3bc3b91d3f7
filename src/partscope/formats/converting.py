"""From one annotation format to another, on disk: whole or not at all, and never over what is there unless told so."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from partscope.dataset import PartDataset
from partscope.errors import OptionError, PartscopeError, nearest_names
from partscope.formats.objects import choice
from partscope.formats.registry import AUTO, TARGETS, WRITERS, load_dataset, recognise, save_dataset

#: What may become of the images.
IMAGES = ("copy", "link", "none")


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    dataset: what was read; its `notes` say what the reader changed, its `skipped` what was left out.
    format, source: the format that was read, and the file or folder.
    lost: what the new format cannot hold, one counted sentence each.
    images: how many images were copied or linked.
    absent: how many images are not where the new format's reader will look for them.
    """

    dataset: PartDataset
    format: str
    source: Path
    lost: tuple[str, ...]
    images: int
    absent: int


def convert(
    source: str | Path,
    target: str | Path,
    to: str,
    *,
    format: str = AUTO,
    images: str = "none",
    force: bool = False,
    on_error: str = "raise",
    read_options: Mapping[str, object] | None = None,
    write_options: Mapping[str, object] | None = None,
) -> Converted:
    """Read an annotated data set in one format and write it in another.

    Everything is written beside the target first and moved to its place at the end, the annotation last: an error, a full
    disk or a kill leaves what was there. A target folder that is new appears all at once.

    Parameters
    ----------
    source: the annotation to read, a file or folder.
    target: the file or folder to write, as the format has it.
    to, format: names of formats; the one to read may be `"auto"`.
    images: `"copy"` or `"link"` the images to where the new format's reader looks for them, or `"none"`.
    force: replace files that are there. Others in a target folder stay as they are.
    on_error: as :func:`load_dataset`.
    read_options, write_options: further options of the reader and of the writer.

    Raises
    ------
    OptionError: a format or option is unknown, the target's ending does not fit, or a file is there and `force` is not given.
    AnnotationError, DatasetError, ImageError: as :func:`load_dataset` and :func:`save_dataset`.
    PartscopeError: a file cannot be written.
    """
    choice("images", images, IMAGES)
    source, target = Path(source), Path(target)
    folder = check_target(target, to, force)
    if format == AUTO:
        format, source = recognise(source)
    dataset = load_dataset(format, source, on_error=on_error, **dict(read_options or {}))
    base = target if folder else target.parent
    work = target.absolute().parent / f".partial-{secrets.token_hex(4)}"
    try:
        try:
            work.mkdir()
            staged = work if folder else work / target.name
            written = save_dataset(dataset, to, staged, **dict(write_options or {}))
            wanted = {
                name: file for name, file in written.images.items() if not _same_file(base / name, file)
            }
            if images != "none":
                for name, file in wanted.items():
                    _bring(file, work / name, images)
            _publish(work, base, None if folder else target.name, force)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if isinstance(error, PartscopeError):
            raise
        raise PartscopeError(
            f"{target}: cannot be written ({error.strerror or error}: {error.filename}); free some space or choose another "
            "place."
        ) from error
    absent = 0 if images != "none" else sum(not (base / name).exists() for name in wanted)
    return Converted(dataset, format, source, written.lost, len(wanted) if images != "none" else 0, absent)


def check_target(target: Path, to: str, force: bool) -> bool:
    """Return whether the target is a folder; an OptionError where the format, its ending, or what is there forbids it."""
    if to not in WRITERS:
        raise OptionError(
            f"there is no annotation format {to!r} to write; nearest names: {nearest_names(to, WRITERS)}."
        )
    suffixes, may_be_folder = TARGETS[to]
    folder = may_be_folder and target.suffix.lower() not in suffixes
    if not folder and (target.suffix.lower() not in suffixes or target.is_dir()):
        raise OptionError(
            f"{target}: {to} is written to a file that ends in {' or '.join(suffixes)}; name one."
        )
    if not target.absolute().parent.is_dir():
        raise OptionError(f"{target}: there is no folder {target.absolute().parent}; create it first.")
    if folder and target.exists() and not target.is_dir():
        raise OptionError(f"{target}: this is a file, and {to} is written to a folder; name another.")
    there = (target.is_dir() and any(target.iterdir())) if folder else target.exists()
    if there and not force:
        raise OptionError(f"{target}: this is there already; name another place, or replace it with --force.")
    return folder


def _same_file(place: Path, file: Path) -> bool:
    return place.exists() and place.samefile(file)


def _bring(file: Path, place: Path, how: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        os.symlink(file.resolve(), place)
    else:
        shutil.copyfile(file, place)


def _publish(work: Path, base: Path, main: str | None, force: bool) -> None:
    """Move what was written to its place: a new folder as a whole, else file by file, the annotation last."""
    if main is None and not base.exists():
        os.rename(work, base)
        return
    files = sorted(
        (entry for entry in work.rglob("*") if entry.is_symlink() or entry.is_file()),
        key=lambda entry: (
            entry.name == main and entry.parent == work,
            entry.suffix in (".txt", ".xml", ".csv"),
        ),
    )
    places = [base / entry.relative_to(work) for entry in files]
    for place in places:
        if place.is_dir() or (place.exists() and not force):
            raise OptionError(
                f"{place}: this is there already; name another place, or replace it with --force."
            )
    for entry, place in zip(files, places, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(entry, place)
