"""`PriorDetector`: every part at its median training position, without a look at the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partscope.dataset import PartDataset
from partscope.detectors.base import PartDetector
from partscope.detectors.located import Located
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.queries import Box
from partscope.detectors.registry import register_detector
from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.backbones.core import Backbone

_REGIONS = ("image", "box")


@register_detector("prior")
class PriorDetector(PartDetector):
    """The static prior as a detector: what any method has to beat (protocol, section 6).

    It learns from the annotation and the stated sizes alone: no training image is opened, so a damaged one takes part.

    A part is found wherever it was visible in training; `score` is its visibility rate in training, and it is believed
    visible where that is at least one half.

    Parameters
    ----------
    region: `"image"`, positions relative to the image, or `"box"`, relative to the bounding box, which is then needed.
    """

    def __init__(self, region: str = "image") -> None:
        self.region = region

    @property
    def needs_box(self) -> bool:
        """Whether the positions are relative to the box; an OptionError names an unknown region."""
        self._check_region()
        return self.region == "box"

    def _check_region(self) -> None:
        if self.region not in _REGIONS:
            raise OptionError(f"the prior's region must be 'image' or 'box', not {self.region!r}.")

    def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
        """Nothing more: `prior_` is all there is to learn."""

    def _locate(self, image: Image.Image, box: Box | None) -> Located:
        if box is None:
            points = self.prior_.positions([image.size])[0]
        else:
            points = self.prior_.positions([image.size], [box], "box")[0]
        found = np.isfinite(points).all(axis=1)
        rate = self.prior_.visibility.copy()
        return Located(points, found, rate, rate >= 0.5)

    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return {}, {}

    def _restore(self, tensors: Tensors, config: Fields, backbone: Backbone | None) -> None:
        """Check the one parameter; `prior_` has been restored."""
        self._check_region()
