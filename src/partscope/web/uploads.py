"""Pictures that are dropped on the page: checked before they are decoded, and written into the folder whole or not at all."""

from __future__ import annotations

import os
import re
import warnings
from contextlib import suppress
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from partscope.errors import ImageError, PartscopeError
from partscope.images import image_size, load_image
from partscope.web.faults import TooLargeError

#: Bytes and pixels of one uploaded picture.
MOST_BYTES, MOST_PIXELS = 64 << 20, 100_000_000
#: The types that are taken, with the ending that a file of the type gets. Others have decoders that see little use.
TYPES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif"}


def check_size(size: int, limit: int = MOST_BYTES) -> None:
    """Raise a TooLargeError where a picture has more bytes than allowed."""
    if size > limit:
        raise TooLargeError(
            f"the picture has more than {limit >> 20} MB; copy it into the folder yourself, or make it smaller."
        )


def keep(temporary: Path, name: str, folder: Path) -> str:
    """Check a picture that was received and move it into the folder; return the name that it got there.

    Parameters
    ----------
    temporary: the received file, on the folder's file system; gone afterwards in any case.
    name: what the sender calls it; of it only the last part is used, without signs that mean something to a file system.
    folder: where the pictures are.

    Raises
    ------
    ImageError: not a picture of one of `TYPES`, damaged, or with more than `MOST_PIXELS` pixels.
    PartscopeError: it cannot be written.
    """
    shown = plain_name(name) or "picture"
    try:
        suffix = _checked_type(temporary, shown)
        target = free_name(folder, shown + suffix)
        try:
            os.link(
                temporary, target
            )  # unlike a rename, this never replaces what somebody has just put there
        except FileExistsError:
            target = free_name(folder, shown + suffix)
            os.link(temporary, target)
        except OSError:  # a file system without links
            os.rename(temporary, target)
    except OSError as error:
        if isinstance(error, PartscopeError):
            raise
        raise PartscopeError(f"{shown}: the picture cannot be kept ({error.strerror}).") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return target.name


def _checked_type(path: Path, shown: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked below
            with Image.open(path, formats=tuple(TYPES)) as image:
                kind = image.format
    except Image.DecompressionBombError as error:
        raise _too_many(shown) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{shown}: this is no picture of a known type ({', '.join(TYPES)}).") from error
    width, height = image_size(path)
    if width * height > MOST_PIXELS:
        raise _too_many(shown)
    try:
        load_image(path)
    except ImageError as error:
        # The message names the temporary file.
        raise ImageError(f"{shown}: the picture is damaged; send another copy.") from error
    return TYPES[kind or ""]


def _too_many(shown: str) -> ImageError:
    return ImageError(f"{shown}: the picture has more than {MOST_PIXELS:,} pixels; make it smaller.")


def plain_name(name: str) -> str:
    """Return the name of an uploaded file, its last part without its ending, as a harmless file name; it may be empty."""
    last = re.split(r"[/\\]", name)[-1]
    stem = last.rsplit(".", 1)[0]
    return re.sub(r"[^\w\- ()]+", "_", stem).strip(" ._")[:80]


def free_name(folder: Path, name: str) -> Path:
    """Return a path in the folder that does not exist, with a number where the name is taken."""
    stem, suffix = os.path.splitext(name)
    path, number = folder / name, 2
    while os.path.lexists(path):
        path, number = folder / f"{stem}-{number}{suffix}", number + 1
    return path
