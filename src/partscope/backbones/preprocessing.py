"""`Preprocessing`: from an upright RGB picture, or a box of it, to a network's input tensor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from partscope.errors import OptionError

Box = tuple[float, float, float, float]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: warp to a square, colour order, range, mean and standard deviation.

    The picture (or its box) is *warped*: no centre crop, the aspect ratio is not kept (protocol of the 2014 paper), so a
    map position returns to the image by x·W/S, y·H/S.

    Parameters
    ----------
    input_size: side S of the square input in pixels.
    mean, std: per channel, in the network's colour order and range; the input is `(pixels·scale − mean) / std`.
    scale: factor on 8-bit pixels, 1/255 for networks that take 0–1, 1 for those that take 0–255.
    bgr: True where the network takes blue, green, red.
    interpolation: `"bilinear"` or `"bicubic"`, antialiased.

    Raises
    ------
    OptionError: a value is out of range.
    """

    input_size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: float = 1.0 / 255.0
    bgr: bool = False
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not 16 <= self.input_size <= 4096:
            raise OptionError(f"the input size must lie between 16 and 4096 pixels, not {self.input_size}.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise OptionError(
                f"mean and std must be three numbers, std positive, not {self.mean} and {self.std}."
            )
        if self.interpolation not in _FILTERS:
            raise OptionError(
                f"interpolation must be one of {', '.join(_FILTERS)}, not {self.interpolation!r}."
            )

    def with_size(self, input_size: int) -> Preprocessing:
        """Return a copy with another input size."""
        return dataclasses.replace(self, input_size=input_size)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    def __call__(self, image: Image.Image, box: Box | None = None) -> torch.Tensor:
        """Warp an upright RGB image, or its region `box` = `(x, y, width, height)`, to a (3, S, S) float32 tensor."""
        region = None if box is None else (box[0], box[1], box[0] + box[2], box[1] + box[3])
        side = (self.input_size, self.input_size)
        warped = image.resize(side, _FILTERS[self.interpolation], box=region)
        pixels = np.asarray(warped, dtype=np.float32)
        if self.bgr:
            pixels = pixels[:, :, ::-1]
        mean = np.asarray(self.mean, dtype=np.float32)
        std = np.asarray(self.std, dtype=np.float32)
        values = (pixels * np.float32(self.scale) - mean) / std
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
