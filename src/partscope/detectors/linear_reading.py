"""Going through the training images of the linear detector: their features come from an engine, in the images' order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.backbones.carried import CarriedBackbone
from partscope.dataset import PartDataset, Sample, Skipped
from partscope.detectors.queries import Query
from partscope.engine import Advance, Worker, current_engine
from partscope.engine.blocks import blocks_of, in_order
from partscope.errors import DatasetError, ImageError
from partscope.grids import FeatureGrids
from partscope.linear.collection import ImageFeatures, image_features
from partscope.progress import progress_bar
from partscope.scan import BLOCK
from partscope.views import view


@dataclass(frozen=True, eq=False)
class Reading:
    """How an image is read.

    Parameters
    ----------
    grids: the network's features.
    region: what the network sees, see :mod:`partscope.views`; "mask" as "image".
    mirror: (P,) index of the part that each part becomes in a mirrored image.
    flips: how mirror images are learned from, see :mod:`partscope.linear.collection`.
    on_error: `"raise"` or `"skip"`.
    """

    grids: FeatureGrids
    region: str
    mirror: NDArray[np.intp]
    flips: str
    on_error: str

    def __call__(self, sample: Sample, length: float, keep: bool) -> ImageFeatures | Skipped:
        """Return an image's features, or with `on_error="skip"` the reason why there are none."""
        try:
            if self.region == "crop":
                _check_near_box(sample)
            image = Query.of(sample).open()
        except (ImageError, DatasetError) as error:
            if self.on_error == "raise":
                raise
            return Skipped(sample.id, str(error))
        region = "crop" if self.region == "crop" else "image"
        seen = view(self.grids.backbone.preprocessing, image, region, sample.box)
        return image_features(
            *(self.grids, self.mirror, self.flips, sample.id, seen),
            *(sample.points, sample.visible, length, keep),
        )


def read_features(
    dataset: PartDataset,
    reading: Reading,
    lengths: NDArray[np.float64],
    keep: NDArray[np.bool_],
    *,
    progress: bool,
) -> Iterator[ImageFeatures | Skipped]:
    """Yield the features of each image in the data set's order, from the engine in use.

    Parameters
    ----------
    lengths: (N,) what errors in each image are divided by, in pixels.
    keep: (N,) whose maps are kept.

    Raises
    ------
    ImageError, DatasetError: with `on_error="raise"`, an image cannot be read or its parts lie far outside its box.
    EngineError: as :meth:`partscope.engine.Engine.map_blocks`.
    """
    items = list(zip(dataset.samples, lengths.tolist(), keep.tolist(), strict=True))
    blocks = blocks_of(items, BLOCK, dataset.ids)
    with progress_bar("features", total=len(items), enabled=progress) as advance:
        for found in in_order(current_engine().map_blocks(_Blocks(reading), blocks, advance)):
            yield from found


class _Blocks:
    """Makes the worker that reads blocks of images."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._carried = CarriedBackbone(reading.grids.backbone)

    @property
    def device(self) -> str:
        return self._carried.device

    def __getstate__(self) -> dict[str, Any]:
        grids = self._reading.grids
        options = (grids.layers, grids.context, grids.reach, grids.scales)
        more = (self._reading.region, self._reading.mirror, self._reading.flips, self._reading.on_error)
        return {"carried": self._carried, "grids": options, "reading": more}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._carried = state["carried"]
        self._state = state

    def __call__(self) -> Worker[tuple[Sample, float, bool], Sequence[ImageFeatures | Skipped]]:
        if not hasattr(self, "_reading"):
            grids = FeatureGrids(self._carried.open(), *self._state["grids"])
            self._reading = Reading(grids, *self._state["reading"])
        reading = self._reading

        def compute(
            items: Sequence[tuple[Sample, float, bool]], advance: Advance
        ) -> Sequence[ImageFeatures | Skipped]:
            found = []
            for item in items:
                found.append(reading(*item))
                advance(1)
            return found

        return compute


def _check_near_box(sample: Sample) -> None:
    """Raise a DatasetError where a visible part is so far outside the box that one of them must be a mistake."""
    if sample.box is None or not sample.visible.any():
        return
    shares = (sample.points[sample.visible] - sample.box[:2]) / np.array(sample.box[2:])
    if np.abs(shares - 0.5).max() > 1.5:
        raise DatasetError(
            f"{sample.id}: a visible part lies farther outside the bounding box {sample.box} than the box is large; correct "
            "the part or the box."
        )
