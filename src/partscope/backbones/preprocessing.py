"""`Preprocessing`: from an upright RGB picture, or a box of it, to a network's input tensor."""

from __future__ import annotations

import dataclasses
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partscope.errors import DatasetError, OptionError

Box = tuple[float, float, float, float]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

#: Pixels by which a box may reach over the border as a matter of rounding, see :func:`partscope.dataset.clip_box`.
_ROUNDING = 1e-6


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
        try:
            object.__setattr__(self, "input_size", operator.index(self.input_size))
        except TypeError as error:
            raise OptionError(
                f"the input size must be a whole number of pixels, not {self.input_size!r}."
            ) from error
        if not 16 <= self.input_size <= 4096:
            raise OptionError(f"the input size must lie between 16 and 4096 pixels, not {self.input_size}.")
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std, self.scale))
        if len(self.mean) != 3 or len(self.std) != 3 or not finite or not min(self.std) > 0:
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
        """Warp an upright RGB image, or its region `box` = `(x, y, width, height)`, to a (3, S, S) float32 tensor.

        Raises
        ------
        DatasetError: the box has no area or reaches over the image by more than rounding.
        """
        return self.normalised(torch.from_numpy(self.warped(image, box))[None])[0].contiguous()

    def warped(self, image: Image.Image, box: Box | None = None) -> NDArray[np.uint8]:
        """Warp an upright RGB image, or its region `box`, to (S, S, 3) 8-bit RGB pixels.

        Raises
        ------
        DatasetError: as :meth:`__call__`.
        """
        region = None if box is None else _corners(box, image.size)
        side = (self.input_size, self.input_size)
        return np.array(image.resize(side, _FILTERS[self.interpolation], box=region))

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn a batch (N, S, S, 3) of 8-bit RGB pixels into a network's input (N, 3, S, S) float32.

        The result's memory stays in the order of the pixels, which is PyTorch's channels-last format.
        """
        values = (pixels.flip(-1) if self.bgr else pixels).to(torch.float32)
        # In place on the new tensor, each step in single precision.
        values.mul_(self.scale).sub_(values.new_tensor(self.mean)).div_(values.new_tensor(self.std))
        return values.permute(0, 3, 1, 2)


def _corners(box: Box, size: tuple[int, int]) -> Box:
    """Return left, top, right and bottom of a box in a picture of `size`, without an overhang that is rounding."""
    x, y, width, height = box
    right, bottom = x + width, y + height
    # Written so that NaN fails.
    fits = 0 <= x < right <= size[0] + _ROUNDING and 0 <= y < bottom <= size[1] + _ROUNDING
    if not fits:
        raise DatasetError(
            f"the bounding box {tuple(box)} has no area in a picture of {size[0]}×{size[1]} pixels or reaches over it; "
            "correct it, or clip it."
        )
    # PIL compares in single precision and refuses a box that ends one bit over the border.
    return x, y, min(right, size[0]), min(bottom, size[1])
