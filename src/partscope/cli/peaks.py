"""What excites a channel: its peak and mean activation in each image, and the images where they are largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from partscope.backbones import Backbone


@dataclass(frozen=True)
class Peak:
    """A channel in an image: peak and mean of its activations cut at zero, and the peak's place in image pixels.

    The place is the centre of the strongest cell of the layer's grid; None where the channel is silent.
    """

    peak: float
    mean: float
    place: tuple[float, float] | None


def channel_peaks(backbone: Backbone, image: Image.Image, channels: Sequence[int]) -> list[Peak]:
    """Return the peaks of channels in one upright RGB image: one forward pass for all of them.

    Raises
    ------
    OptionError, BackboneError: as :func:`partscope.maps.activation_maps`.
    """
    import torch

    from partscope.maps import activation_maps
    from partscope.views import view

    seen = view(backbone.preprocessing, image, "image")
    maps = activation_maps(backbone, seen.inputs, channels).double().cpu()
    columns = maps.shape[2]
    flat = maps.flatten(1)
    cells = flat.argmax(dim=1)
    grid = torch.stack([cells % columns, cells // columns], dim=1) + 0.5
    places = seen.to_image(backbone.cells.to_input(grid))
    return [
        Peak(float(values.max()), float(values.mean()), (float(x), float(y)) if values.max() > 0 else None)
        for values, (x, y) in zip(flat, places.tolist(), strict=True)
    ]


def strongest(values: Sequence[float], most: int) -> NDArray[np.intp]:
    """Return the positions of the `most` largest values, largest first; equal ones in their order."""
    import numpy as np

    return np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")[:most]
