"""Decoding: any picture file to an upright 8-bit RGB image, safely.

Upright means that the EXIF orientation has been applied; every point and box of partscope refers to the upright image.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from partscope.errors import ImageError

#: Images with more pixels than this are refused before they are decoded (a decompression bomb is a small file).
MAX_PIXELS = 178_956_970

ImageLike = Union[str, Path, Image.Image, NDArray[np.uint8]]

_EXIF_ORIENTATION = 0x0112
_TRANSPOSED = {5, 6, 7, 8}


def load_image(source: ImageLike) -> Image.Image:
    """Decode `source` to an upright RGB image.

    Grey, palette, CMYK, 16-bit and floating-point images are converted; an alpha channel is composited over white, since
    the colour of a transparent pixel is arbitrary. Of an animation the first frame is taken.

    Parameters
    ----------
    source: path of an image file, a PIL image, or a uint8 array `(height, width)` or `(height, width, 3)` in RGB.

    Raises
    ------
    ImageError: the file is missing, empty, truncated, not an image, or has more than `MAX_PIXELS` pixels.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(source))
    path = Path(source)
    with _open(path) as image:
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
            raise ImageError(
                f"{path}: the image is damaged or truncated ({error}); replace the file or leave it out."
            ) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return `(width, height)` in pixels of the upright image, reading the file's header only.

    Raises
    ------
    ImageError: as :func:`load_image`, except that a file truncated after its header passes.
    """
    with _open(path) as image:
        width, height = image.size
        try:
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        except (OSError, ValueError, SyntaxError, KeyError):
            # A broken EXIF block does not make the picture unreadable; Pillow ignores it when transposing too.
            orientation = 1
        return (height, width) if orientation in _TRANSPOSED else (width, height)


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Size is checked below with a message that names the file.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: there is no such image; check the path.") from error
    except IsADirectoryError as error:
        raise ImageError(f"{path}: this is a folder, not an image.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: {error}; reduce the image before you use it.") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        what = "the file is empty" if path.exists() and path.stat().st_size == 0 else "this is not a readable image"
        raise ImageError(f"{path}: {what}; replace the file or leave it out.") from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width}×{image.height}"
        image.close()
        raise ImageError(
            f"{path}: the image has {size} pixels, more than the {MAX_PIXELS:,} that are decoded; "
            "reduce the image before you use it."
        )
    return image


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or not array.size:
        raise ImageError(
            f"an image array must be uint8 with shape (height, width) or (height, width, 3), "
            f"not {array.dtype} with shape {array.shape}."
        )
    return Image.fromarray(array).convert("RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _eight_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Bring 16-bit, 32-bit or floating-point grey values to 0–255: by the type's range, never by the image's own."""
    numbers = values.astype(np.float64)
    peak = float(np.nanmax(numbers)) if numbers.size else 0.0
    top = 1.0 if values.dtype.kind == "f" and peak <= 1.0 else 255.0 if peak <= 255.0 else 65535.0
    if values.dtype.kind in "iu" and values.dtype.itemsize == 2:
        top = 65535.0
    scaled = np.clip(np.nan_to_num(numbers) / top, 0.0, 1.0) * 255.0
    return np.asarray(np.round(scaled), dtype=np.uint8)
