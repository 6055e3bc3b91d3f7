"""Errors that partscope raises on purpose.

Every message is one sentence that names the file or value at fault and says what to do about it. The command line prints
the message alone (exit code 2); a script can catch :class:`PartscopeError` for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PartscopeError(Exception):
    """Base class of every error that partscope raises on purpose."""


class ImageError(PartscopeError, ValueError):
    """An image cannot be read: missing, truncated, not an image, or too large to be decoded safely."""


class DatasetError(PartscopeError, ValueError):
    """A sample or data set is inconsistent: wrong shapes, a box without area, a part outside its image."""


class AnnotationError(DatasetError):
    """A line or record of an annotation file does not parse, or contradicts another one."""


class OptionError(PartscopeError, ValueError):
    """An option has an unknown value, or one that the chosen method does not use."""


class BackboneError(PartscopeError, ValueError):
    """A network, a layer or a weights file does not exist or does not fit."""


class ModelFileError(PartscopeError, ValueError):
    """A model file is damaged, newer than this version, or was made with another backbone."""


class ScanError(PartscopeError, RuntimeError):
    """A scan's folder belongs to another scan, or a block of it could not be written."""


class ScanFolderError(ScanError):
    """The folder of a scan cannot be continued: it holds something else, or no manifest that can be read."""


class EngineError(PartscopeError, RuntimeError):
    """A cluster cannot be reached or used, a worker has another version, or blocks of work failed repeatedly."""


class MissingExtraError(PartscopeError, ImportError):
    """A feature needs a package of one of partscope's extras."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed: pip install 'partscope[{extra}]'."
        )


def nearest_names(name: str, known: Iterable[str], most: int = 5) -> str:
    """Return a sentence fragment naming the entries of `known` nearest to `name`, for an error message."""
    names = list(known)
    near = get_close_matches(name, names, n=most, cutoff=0.4) or names[:most]
    return ", ".join(repr(entry) for entry in near) if near else "none"


class PartscopeWarning(UserWarning):
    """Something was counted, clipped or replaced by a stated rule; the message says what and how often."""
