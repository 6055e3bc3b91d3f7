"""Named parts from discovered ones: places from the discovered parts, and evidence of the parts themselves.

A handful of marked images is too few to learn what a part looks like among all else, but not what it looks like at all: the
covariance of the features comes from the many images without marks, the mean at the part from the few with marks. Where the
map from the discovered places expects the part decides between the places where that evidence is high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partscope.discovery.images import BoolArray, with_parts
from partscope.discovery.places import PlaceMap
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics, solve
from partscope.linear.shrinkage import evidence_maps

#: Shrinkage of the named parts' discriminants, chosen on training images (benchmarks/discovery.py).
SHRINKAGE = 3.0

#: Weight of the evidence, in standard deviations of its map, beside the logarithm of the expected place's density; as in
#: :func:`partscope.linear.decode`.
SHARPNESS = 2.0

#: The least deviation of an expected place, in units of the discovered parts' spread; chosen like the shrinkage.
LEAST_DEVIATION = 0.4

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Naming:
    """What makes P named parts of K discovered ones.

    Parameters
    ----------
    places: map from discovered to named places.
    discriminants: of the named parts, (D, P).
    """

    places: PlaceMap
    discriminants: Discriminants

    @classmethod
    def fit(
        cls,
        base: Statistics,
        places: PlaceMap,
        visible: BoolArray,
        at_parts: NDArray[np.float32],
        shrinkage: float = SHRINKAGE,
    ) -> Naming:
        """Learn from marked images.

        Parameters
        ----------
        base: background statistics of the images that the parts were discovered in.
        visible: (M, P) which parts an image, or a mirrored one, shows.
        at_parts: (M, P, D) features there.
        shrinkage: of the discriminants.
        """
        return cls(places, solve(with_parts(base, visible, at_parts), shrinkage))

    def locate(
        self,
        grids: FeatureGrids,
        maps: Sequence[Tensor],
        centres: FloatArray,
        size: FloatArray,
        mask: BoolArray | None = None,
        least: float = LEAST_DEVIATION,
    ) -> FloatArray:
        """Return the places (P, 2) of the named parts in one image in pixels; NaN for parts that no marked image shows.

        Parameters
        ----------
        maps: of each layer (K_l, h_l, w_l).
        centres: (K, 2) places of the discovered parts in pixels.
        size: (2,) width and height of the image in pixels.
        mask: (h, w), the cells that may be chosen; all by default.
        least: the least deviation of an expected place.
        """
        expected = self.places.apply(centres[None], size[None])[0]
        spread = self.places.spread(centres[None], size[None])[0]
        deviation = np.maximum(self.places.deviation, least) * spread
        evidence = (
            evidence_maps(grids, maps, self.discriminants).reshape(len(expected), -1).astype(np.float64)
        )
        cells = grids.cell_centres() * size
        if mask is not None:
            evidence, cells = evidence[:, mask.ravel()], cells[mask.ravel()]
        varies = evidence.std(axis=1, keepdims=True)
        scaled = (evidence - evidence.mean(axis=1, keepdims=True)) / np.where(varies > 1e-6, varies, 1.0)
        squares = ((cells - expected[:, None]) ** 2).sum(axis=2)
        likely = SHARPNESS * scaled - squares / (2 * deviation[:, None] ** 2)
        shares = np.exp(likely - likely.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return np.asarray(shares @ cells)
