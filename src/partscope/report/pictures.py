"""Pictures of a report: encoded into the page itself, so that the file can be moved or sent alone."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from partscope.errors import OptionError
from partscope.figures.canvas import figure_bytes
from partscope.images import load_image
from partscope.report.sections import Picture, PictureLike

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def embedded(picture: Picture) -> dict[str, str]:
    """Return the `img` element's attributes, the picture itself as a data URI."""
    if not picture.alt.strip():
        raise OptionError(f"the picture {picture.title!r} has no alt text; say in a sentence what it shows.")
    data = _encoded(picture.image, picture.title)
    kind = next(kind for start, kind in _SIGNATURES.items() if data.startswith(start))
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    return {
        "source": f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}",
        "title": picture.title,
        "caption": picture.caption,
        "alt": picture.alt,
        "width": str(width),
        "height": str(height),
    }


def _encoded(image: PictureLike, title: str, most: int = 1600) -> bytes:
    if isinstance(image, bytes):
        if not image.startswith(tuple(_SIGNATURES)):
            raise OptionError(
                f"the bytes of the picture {title!r} are neither PNG nor JPEG; give one of the two."
            )
        return image
    if isinstance(image, (str, Path, Image.Image)):
        opened = load_image(image)
        if max(opened.size) > most:
            opened = opened.copy()
            opened.thumbnail((most, most), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        # Full colour resolution: subsampling would wash out the small dots of overlays.
        opened.save(stream, format="JPEG", quality=88, subsampling=0)
        return stream.getvalue()
    if hasattr(image, "savefig"):
        return figure_bytes(image)
    raise OptionError(
        f"the picture {title!r} is a {type(image).__name__}; give a figure, an image, bytes or a path."
    )
