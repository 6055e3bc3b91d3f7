"""Images as the peers of `peers.py` see them: the feature maps of the linear detector's network, and the marked parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partscope.dataset import PartDataset
from partscope.detectors.queries import Query
from partscope.grids import FeatureGrids
from partscope.linear.shrinkage import compact
from partscope.predictions import PartPredictions
from partscope.views import view

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pictures:
    """N whole images.

    Parameters
    ----------
    grids: the layers and the places where they are looked at.
    maps: of each image, of each layer (K_l, h_l, w_l), in half precision.
    points: (N, P, 2) relative to the image, NaN where not visible.
    visible: (N, P).
    sizes: (N, 2) in pixels.
    lengths: (N,) diagonal of the box, in pixels: what errors are divided by.
    mirror: (P,) index of the part that each part becomes in a mirrored image.
    """

    grids: FeatureGrids
    maps: list[list[Tensor]]
    points: FloatArray
    visible: NDArray[np.bool_]
    sizes: FloatArray
    lengths: FloatArray
    mirror: NDArray[np.intp]

    @classmethod
    def of(cls, data: PartDataset, grids: FeatureGrids, mirrored: bool = False) -> Pictures:
        """Read a data set; with `mirrored` as it looks in a mirror."""
        maps = []
        for sample in data:
            inputs = view(grids.backbone.preprocessing, Query.of(sample).open(), "image").inputs[None]
            maps.append(compact([features[0] for features in grids(inputs.flip(-1) if mirrored else inputs)]))
        points, visible = data.points / data.sizes[:, None], data.visible
        if mirrored:
            points = points[:, data.mirror] * [-1.0, 1.0] + [1.0, 0.0]
            visible = visible[:, data.mirror]
        lengths = np.linalg.norm(data.boxes[:, 2:], axis=1)
        return cls(grids, maps, points, visible, data.sizes, lengths, data.mirror)

    def __len__(self) -> int:
        return len(self.maps)

    def take(self, rows: NDArray[np.intp]) -> Pictures:
        """Return some of the images."""
        return Pictures(
            self.grids,
            [self.maps[row] for row in rows],
            self.points[rows],
            self.visible[rows],
            self.sizes[rows],
            self.lengths[rows],
            self.mirror,
        )

    def errors(self, points: FloatArray) -> FloatArray:
        """Distances (N, P) of points relative to the image from the marked parts, over the box diagonal."""
        away = (points - self.points) * self.sizes[:, None]
        return np.asarray(np.linalg.norm(away, axis=2) / self.lengths[:, None])


def predictions(data: PartDataset, points: FloatArray) -> PartPredictions:
    """Points (N, P, 2) relative to the image as predictions; what is NaN was not found."""
    found = np.isfinite(points).all(axis=2)
    return PartPredictions(
        data.parts,
        data.ids,
        np.clip(points, 0.0, 1.0) * data.sizes[:, None],
        found,
        found.astype(np.float64),
        found,
    )
