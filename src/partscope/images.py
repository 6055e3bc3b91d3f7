"""Decoding: any picture file to an upright 8-bit RGB image, safely.

Upright means that the EXIF orientation has been applied; every point and box of partscope refers to the upright image.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partscope.errors import ImageError, OptionError
from partscope.places import read_bytes, shown, url_of

#: Images with more pixels than this are refused before they are decoded (a decompression bomb is a small file).
MAX_PIXELS = 178_956_970

#: A remote file with more bytes is not fetched to its end.
MAX_BYTES = 1 << 30
#: In a folder, files with these endings are taken for images. A file that is named itself may have any.
IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "dib", "tif", "tiff", "webp", "avif"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "tga"),
    )
)

ImageLike = str | Path | Image.Image | NDArray[np.uint8]

_EXIF_ORIENTATION = 0x0112
#: What brings an image of each EXIF orientation upright; 1, and values that do not exist, need nothing.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def load_image(source: ImageLike) -> Image.Image:
    """Decode `source` to an upright RGB image.

    Grey, palette, CMYK, 16-bit and floating-point images are converted; an alpha channel is composited over white, since
    the colour of a transparent pixel is arbitrary. Of an animation the first frame is taken. 16-bit grey values are
    divided by 257, never by the image's own peak; grey in floating point is taken to reach from 0 to the first of 1, 255
    and 65535 that no value exceeds, and 32-bit integers to the first of 255 and 65535, since those types have no range.

    Parameters
    ----------
    source: path or URL (see :mod:`partscope.places`) of an image file, a PIL image, or a uint8 array `(height, width)` or `(height, width, 3)` in RGB.

    Raises
    ------
    ImageError: the file is missing, cannot be fetched, is empty, truncated, not an image, or has more than `MAX_PIXELS` pixels; or `source` is
        something else.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, getattr(source, "filename", "") or "the given image")
    path = _as_path(source)
    with _open(path) as image:
        return _decode(image, shown(path))


def image_size(path: Path) -> tuple[int, int]:
    """Return `(width, height)` in pixels of the upright image, reading the file's header only.

    Raises
    ------
    ImageError: as :func:`load_image`, except that a file truncated after its header passes.
    """
    path = _as_path(path)
    with _open(path) as image:
        if image.format == "TIFF":
            # Depending on its version Pillow swaps a TIFF's size for the orientation; the file's own entries are raw.
            width, height = (int(image.tag_v2[tag]) for tag in (_TIFF_WIDTH, _TIFF_HEIGHT))
        else:
            width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def _as_path(source: object) -> Path:
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(f"an image must be a path, a PIL image or an array, not {type(source).__name__}.")
    return Path(source)


def _open(path: Path) -> Image.Image:
    where = shown(path)
    file: Path | io.BytesIO = path if url_of(path) is None else _fetched(path)
    try:
        with warnings.catch_warnings():
            # Size is checked below with a message that names the file.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
    except FileNotFoundError as error:
        raise ImageError(f"{where}: there is no such image; check the path.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{where}: this is a folder, not an image.") from error
    except PermissionError as error:
        raise ImageError(
            f"{where}: permission to read the image is denied; change its permissions."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{where}: {str(error).rstrip('.')}; reduce the image before you use it.") from error
    except MemoryError:
        raise
    except Exception as error:  # whatever damaged bytes lead Pillow's readers to
        what = "the file is empty" if _is_empty(file) else "this is not a readable image"
        raise ImageError(f"{where}: {what}; replace the file or leave it out.") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}×{image.height}"
        image.close()
        raise ImageError(
            f"{where}: the image has {size} pixels, more than the {MAX_PIXELS:,} that are decoded; "
            "reduce the image before you use it."
        )
    return image


def _fetched(path: Path) -> io.BytesIO:
    """Return the content of a remote file, whatever keeps it back as an ImageError."""
    try:
        return io.BytesIO(read_bytes(path, MAX_BYTES))
    except FileNotFoundError as error:
        raise ImageError(f"{shown(path)}: there is no such image; check the address.") from error
    except OptionError as error:
        raise ImageError(str(error)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(
            f"{shown(path)}: the image cannot be fetched ({reason}); check the address."
        ) from error


def _is_empty(path: Path | io.BytesIO) -> bool:
    if isinstance(path, io.BytesIO):
        return not path.getbuffer().nbytes
    try:
        return path.stat().st_size == 0
    except (OSError, ValueError):
        return False


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; a broken EXIF block does not make the picture unreadable and counts as 1."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:
        return 1
    return value if isinstance(value, int) and value in _TO_UPRIGHT else 1


def _decode(image: Image.Image, what: object) -> Image.Image:
    try:
        image.load()
        orientation = _orientation(image)
        rgb = _to_rgb(image)
        # transpose() and copy() both leave the caller's image alone.
        upright = rgb.transpose(_TO_UPRIGHT[orientation]) if orientation > 1 else rgb.copy()
    except MemoryError:
        raise
    except Exception as error:  # whatever damaged bytes lead Pillow's decoders to
        raise ImageError(
            f"{what}: the image is damaged or truncated ({error}); replace the file or leave it out."
        ) from error
    upright.info = {}  # the orientation in there has been applied
    return upright


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise ImageError(
            f"an image array must be uint8 with shape (height, width) or (height, width, 3), "
            f"not {array.dtype} with shape {array.shape}."
        )
    return Image.fromarray(array).convert("RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # Pillow opens 16-bit PPM, and in older versions PNG, as 32-bit integers.
        sixteen = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
        return Image.fromarray(_eight_bit(np.asarray(image), sixteen)).convert("RGB")
    if image.mode in ("La", "RGBa"):  # Pillow converts premultiplied colours to their own kind only
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(values: NDArray[np.generic], sixteen: bool) -> NDArray[np.uint8]:
    """Bring grey values to 0–255 by the range that :func:`load_image` states; NaN becomes black."""
    numbers = np.nan_to_num(values.astype(np.float64), posinf=np.inf, neginf=-np.inf)
    finite = numbers[np.isfinite(numbers)]
    peak = float(finite.max()) if finite.size else 0.0
    if sixteen:
        top = 65535.0
    elif values.dtype.kind == "f" and peak <= 1.0:
        top = 1.0
    else:
        top = 255.0 if peak <= 255.0 else 65535.0
    return np.asarray(np.round(np.clip(numbers / top, 0.0, 1.0) * 255.0), dtype=np.uint8)
