"""What one centre in one image adds to Eq. 3's sum for every part: the piece that all searches count with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError
from partscope.selection import RULES, selection_scale

if TYPE_CHECKING:
    from partscope.dataset import PartDataset

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Charges:
    """The charge of a centre: its squared or plain normalised distance to each part, as `rank_channels` counts it.

    A missing centre (NaN) is charged the distance from the part to the farthest image corner. A part that an image does not
    show is charged nothing.

    Parameters
    ----------
    dataset: N images with P parts.
    rule: `"squared"` charges d², `"mean"` and `"median"` charge d.
    normalise: what d is divided by, see :func:`partscope.selection.selection_scale`.

    Attributes
    ----------
    visible: (N, P) whether the image shows the part.
    images: (P,) number of images that show it.

    Raises
    ------
    OptionError: unknown rule or normaliser.
    """

    def __init__(self, dataset: PartDataset, rule: str = "squared", normalise: str = "box") -> None:
        if rule not in RULES:
            raise OptionError(f"the selection rule must be one of {', '.join(RULES)}, not {rule!r}.")
        self.rule = rule
        self.visible: NDArray[np.bool_] = dataset.visible
        self.images: IntArray = self.visible.sum(axis=0).astype(np.int64)
        self._scale = selection_scale(dataset, normalise)
        self._points = np.where(self.visible[..., None], dataset.points, 0.0)
        corner = np.maximum(self._points, dataset.sizes[:, None] - self._points)
        self._far: FloatArray = np.hypot(corner[..., 0], corner[..., 1]) / self._scale[:, None]

    def __len__(self) -> int:
        return len(self._scale)

    def of(self, images: ArrayLike, centres: ArrayLike) -> FloatArray:
        """Return the charges (…, P) of centres (…, 2) in images (…,), given by their positions in the data set."""
        i = np.asarray(images, dtype=np.int64)
        away = np.asarray(centres, dtype=np.float64)[..., None, :] - self._points[i]
        distance = np.hypot(away[..., 0], away[..., 1]) / self._scale[i][..., None]
        distance = np.where(np.isnan(distance), self._far[i], distance)
        charge = distance**2 if self.rule == "squared" else distance
        return np.where(self.visible[i], charge, 0.0)
