"""Which images a command goes through: files, folders and patterns to a list of names and paths."""

from __future__ import annotations

import glob
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partscope.errors import OptionError, PartscopeWarning
from partscope.images import IMAGE_SUFFIXES
from partscope.places import files_under, is_folder, shown, url_of


@dataclass(frozen=True)
class NamedImage:
    """An image and what results call it.

    name: the path relative to the given folder, with `/` between folders. path: absolute.
    """

    name: str
    path: Path


def find_images(sources: Sequence[str], leave_out: Path | None = None) -> list[NamedImage]:
    """Return the images that `sources` name, each once.

    A folder is searched through, hidden files and folders apart. A pattern (`*`, `?`, `[…]`, `**`) that is no file's name is
    expanded. Images are named relative to the given folder; for a pattern that is the folder before the first wildcard, and
    for files that are given one by one the deepest folder that holds them all. Where two images would have one name, both
    get the folders above it that tell them apart.

    Parameters
    ----------
    sources: paths, patterns and URLs (an image, or a folder that can be listed); a path that does not exist is listed, so that it is reported with the bad images.
    leave_out: a folder whose files are not searched: the one that overlays go to.

    Raises
    ------
    OptionError: a folder holds no image, or a pattern matches no file.
    """
    out = None if leave_out is None else _absolute(leave_out)
    files: list[Path] = []
    found: list[NamedImage] = []
    for source in sources:
        path = Path(source)
        if url_of(source) is not None:
            found += _remote(path)
            continue
        if path.is_dir():
            base, paths = _absolute(path), _in_folder(path, out)
            if not paths:
                raise OptionError(
                    f"{source}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check the path."
                )
        elif glob.has_magic(source) and not path.exists():
            base, paths = _absolute(Path(*_before_wildcard(path))), _matching(source, out)
            if not paths:
                raise OptionError(f"{source}: the pattern matches no file; check it.")
        else:
            files.append(_absolute(path))
            continue
        found += [NamedImage(file.relative_to(base).as_posix(), file) for file in paths]
    if files:
        base = _common_folder(files)
        # Files come first, whatever the order of the arguments: they share one folder.
        found = [NamedImage(file.relative_to(base).as_posix(), file) for file in files] + found
    unique = {image.path: image for image in reversed(found)}
    images = [image for image in dict.fromkeys(found) if unique[image.path] is image]
    if len(images) < len(found):
        warnings.warn(
            f"{len(found) - len(images)} of the images given were given before and are used once.",
            PartscopeWarning,
            stacklevel=2,
        )
    return _distinct(images)


def _remote(place: Path) -> list[NamedImage]:
    """Return the image that a URL names, or those of the folder that it is; OptionError as :func:`find_images`."""
    if not is_folder(place):
        return [NamedImage(place.name, place)]
    paths = [
        path
        for path in files_under(place)
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(place).parts)
    ]
    if not paths:
        raise OptionError(
            f"{shown(place)}: the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check the address."
        )
    return [NamedImage(path.relative_to(place).as_posix(), path) for path in paths]


def _absolute(path: Path) -> Path:
    # Not resolve(): a symbolic link is named as the user sees it.
    return Path(os.path.abspath(path))


def _in_folder(folder: Path, leave_out: Path | None) -> list[Path]:
    paths: list[Path] = []
    others = 0
    for here, folders, names in os.walk(_absolute(folder)):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(here, name) != leave_out
        )
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                paths.append(Path(here, name))
            else:
                others += 1
    if others:
        warnings.warn(
            f"{folder}: files left out because they are hidden or no images by their name: {others}.",
            PartscopeWarning,
            stacklevel=3,
        )
    return paths


def _matching(pattern: str, leave_out: Path | None) -> list[Path]:
    paths = [
        _absolute(Path(name)) for name in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(name)
    ]
    return [path for path in paths if leave_out is None or leave_out not in path.parents]


def _before_wildcard(pattern: Path) -> list[str]:
    folders: list[str] = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        folders.append(part)
    return folders


def _common_folder(files: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath([str(file.parent) for file in files]))
    except ValueError:  # on several drives
        raise OptionError("the images are on several drives; run the command once for each.") from None


def _distinct(images: Sequence[NamedImage]) -> list[NamedImage]:
    """Lengthen equal names by the folders above them until they differ; paths do, so this ends."""
    names = {image.path: image.name for image in images}
    clashed: set[Path] = set()
    while True:
        count = Counter(names.values())
        equal = [path for path, name in names.items() if count[name] > 1]
        if not equal:
            break
        clashed.update(equal)
        for path in equal:
            depth = names[path].count("/") + 2
            names[path] = "/".join(path.relative_to(path.anchor).parts[-depth:])
    if clashed:
        first = next(path for path in names if path in clashed)
        warnings.warn(
            f"{len(clashed)} images in different folders have a name in common and are listed with their folders, such as "
            f"{names[first]}.",
            PartscopeWarning,
            stacklevel=3,
        )
    return [NamedImage(names[image.path], image.path) for image in images]
