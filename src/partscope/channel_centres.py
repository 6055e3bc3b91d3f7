"""Centres of channels in one picture: region, maps and centre methods put together.

Several :class:`CentreSpec` share the forward and backward passes that they have in common: asking for the mixture and the
maximum, in the image and in the box mask, costs one gradient per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from partscope.backbones.core import Backbone
from partscope.backbones.preprocessing import Box
from partscope.centres import CENTRES, find_centres
from partscope.channel_maps import MAPS, channel_maps
from partscope.errors import OptionError, nearest_names
from partscope.maps import REDUCTIONS
from partscope.views import needs_box, region_box, view

#: Centre and cut that are taken for activation maps unless told otherwise, chosen on training images
#: (benchmarks/forward_only.py). The gradients of a layer cover the picture and need the cut; activations are sparse as they are.
ACTIVATION_CENTRE, ACTIVATION_CUT = "centroid", 0.0


@dataclass(frozen=True)
class CentreSpec:
    """How a channel becomes a point in a picture.

    Parameters
    ----------
    centre: `"mixture"` (the paper), `"maximum"` (MaxG), `"smoothed"` or `"centroid"`.
    region: `"image"`, `"mask"` or `"crop"`, see :mod:`partscope.views`.
    reduction: of the gradient's colours, `"l2"`, `"l1"` or `"max"`.
    quantile: cut of `mixture` and `centroid`.
    sigma: of `smoothed`, in map pixels.
    maps: `"gradient"` (the paper), or `"activation"`: the layer's squared activations on its own grid, which cost one forward
        pass for all channels; `"upsampled"`: the same, interpolated to a finer grid. See :mod:`partscope.channel_maps`.

    Raises
    ------
    OptionError: an unknown value.
    """

    centre: str = "mixture"
    region: str = "image"
    reduction: str = "l2"
    quantile: float = 0.9
    sigma: float = 3.0
    maps: str = "gradient"

    def __post_init__(self) -> None:
        needs_box(self.region)
        for what, value, known in (
            ("centre", self.centre, CENTRES),
            ("colour reduction", self.reduction, REDUCTIONS),
            ("kind of maps", self.maps, MAPS),
        ):
            if value not in known:
                raise OptionError(
                    f"there is no {what} {value!r}; choose one of {nearest_names(value, known)}."
                )
        if not 0 <= self.quantile < 1:
            raise OptionError(f"the quantile must lie in [0, 1), not {self.quantile}.")
        if not self.sigma > 0:
            raise OptionError(f"sigma must be positive, not {self.sigma}.")

    @property
    def options(self) -> dict[str, float]:
        """The options that the centre method takes."""
        used = {"mixture": ("quantile",), "centroid": ("quantile",), "smoothed": ("sigma",)}
        return {name: getattr(self, name) for name in used.get(self.centre, ())}

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return asdict(self)


def channel_centres(
    backbone: Backbone,
    image: Image.Image,
    specs: Sequence[CentreSpec],
    *,
    channels: Sequence[int] | None = None,
    box: Box | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Return the centres of channels in one picture, (R, K, 2) float64 in pixels of the picture; NaN where there is none.

    Parameters
    ----------
    backbone: network, layer, preprocessing.
    image: upright RGB picture.
    specs: R ways from a channel to a point; their common passes are shared.
    channels: K channels, in this order; all by default.
    box: `(x, y, width, height)` in pixels; needed where a spec's region is `"mask"` or `"crop"`.
    chunk: channels per backward pass, chosen per device by default.

    Raises
    ------
    DatasetError: a region needs a box and there is none, or it has no area in the picture; a box that reaches over the
        picture is clipped.
    OptionError: there is no spec. OptionError, BackboneError: as :func:`partscope.maps.gradient_maps`.
    """
    if not specs:
        raise OptionError("no way from a channel to a point is given; give at least one CentreSpec.")
    boxes = [region_box(spec.region, image.size, box) for spec in specs]
    rows: dict[int, Tensor] = {}
    for group in _groups(specs):
        first = specs[group[0]]
        # The network sees the same input for "image" and "mask"; the mask, on the maps' own grid, is made below.
        region = "crop" if first.region == "crop" else "image"
        seen = view(backbone.preprocessing, image, region, boxes[group[0]])
        pieces: dict[int, list[Tensor]] = {index: [] for index in group}
        for piece in channel_maps(
            backbone, seen, first.maps, channels, reduction=first.reduction, chunk=chunk
        ):
            for index in group:
                spec = specs[index]
                mask = piece.mask(seen, boxes[index]) if spec.region == "mask" else None
                found = find_centres(piece.maps, spec.centre, mask, **spec.options)
                pieces[index].append(piece.to_image(found.points, seen))
        for index, parts in pieces.items():
            rows[index] = torch.cat(parts) if parts else torch.empty(0, 2, dtype=torch.float64)
    return torch.stack([rows[index] for index in range(len(specs))])


def _groups(specs: Sequence[CentreSpec]) -> list[list[int]]:
    """Indices of the specs that share their maps."""
    groups: dict[tuple[bool, str, str], list[int]] = {}
    for index, spec in enumerate(specs):
        key = (spec.region == "crop", spec.maps, spec.reduction if spec.maps == "gradient" else "")
        groups.setdefault(key, []).append(index)
    return list(groups.values())
