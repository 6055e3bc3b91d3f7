"""Regions: what part of a picture the network sees, what part of a map counts, and the way back to image pixels.

`image`: the whole picture, nothing about a box is used. `mask`: the whole picture, the map outside the box is zero.
`crop`: the network sees the warped box (protocol of the 2014 paper; "Full" and the two readings of "BB").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from partscope.backbones.preprocessing import Box, Preprocessing
from partscope.dataset import check_box, clip_box
from partscope.errors import DatasetError, OptionError

REGIONS = ("image", "mask", "crop")


@dataclass(frozen=True)
class View:
    """A network input and its place in the picture.

    inputs: (3, S, S). origin, extent: the rectangle of the picture that was warped to the input, `(x, y)` and
    `(width, height)` in pixels. mask: (S, S) bool of the input pixels whose centre lies in the box, or None.
    """

    inputs: Tensor
    origin: tuple[float, float]
    extent: tuple[float, float]
    mask: Tensor | None = None

    def to_image(self, points: Tensor) -> Tensor:
        """Bring points (..., 2) in input pixels to image pixels: origin + x·extent/S."""
        side = self.inputs.shape[-1]
        extent = points.new_tensor(self.extent)
        return points * (extent / side) + points.new_tensor(self.origin)

    def to_input(self, points: Tensor) -> Tensor:
        """Bring points (..., 2) in image pixels to input pixels, the inverse of :meth:`to_image`."""
        side = self.inputs.shape[-1]
        return (points - points.new_tensor(self.origin)) * (side / points.new_tensor(self.extent))


def needs_box(region: str) -> bool:
    """Return whether a region is defined by the bounding box; an OptionError names an unknown region."""
    if region not in REGIONS:
        raise OptionError(f"the region must be one of {', '.join(REGIONS)}, not {region!r}.")
    return region != "image"


def view(preprocessing: Preprocessing, image: Image.Image, region: str, box: Box | None = None) -> View:
    """Make the network input of a region of an upright RGB picture.

    Parameters
    ----------
    region: `"image"`, `"mask"` or `"crop"`.
    box: `(x, y, width, height)` in pixels; needed for `"mask"` and `"crop"`, clipped to the picture, and not looked at for
        `"image"`.

    Raises
    ------
    DatasetError: the region needs a box and there is none, or it has no area in the picture.
    OptionError: there is no such region.
    """
    box = region_box(region, image.size, box)
    if region == "crop" and box is not None:
        return View(preprocessing(image, box), (box[0], box[1]), (box[2], box[3]))
    size = (float(image.width), float(image.height))
    side = preprocessing.input_size
    mask = None if box is None else box_mask((side, side), size, box)
    return View(preprocessing(image), (0.0, 0.0), size, mask)


def region_box(region: str, size: tuple[int, int], box: Box | None) -> Box | None:
    """Return what a region uses of a box: nothing, or the box clipped to a picture of `size`; errors as :func:`view`."""
    if not needs_box(region):
        return None
    if box is None:
        raise DatasetError(
            f"the region {region!r} needs a bounding box; give one, or use the region 'image'."
        )
    return clip_box(check_box(box, size, f"the region {region!r}"), size)[0]


def box_mask(
    grid: tuple[int, int],
    size: tuple[float, float],
    box: Box,
    centres: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return which cells of a grid over a picture have their centre in a box; at least one has.

    Parameters
    ----------
    grid: rows and columns (h, w).
    size: width and height of the picture in pixels.
    box: `(x, y, width, height)` in pixels of the picture.
    centres: (h,) and (w,) centres of the rows and columns as shares of the picture; by default the grid fills it.

    Returns
    -------
    (h, w) bool.
    """
    inside = []
    for axis, (whole, start, length) in enumerate(((size[1], box[1], box[3]), (size[0], box[0], box[2]))):
        if centres is None:
            position = (torch.arange(grid[axis], dtype=torch.float64) + 0.5) * (whole / grid[axis])
        else:
            position = centres[axis] * whole
        hit = (position >= start) & (position <= start + length)
        if not hit.any():
            # A box thinner than a cell still has a nearest one.
            hit[(position - (start + length / 2)).abs().argmin()] = True
        inside.append(hit)
    return inside[0][:, None] & inside[1][None, :]
