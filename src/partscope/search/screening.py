"""What one forward pass an image says about all channels: where they are active, and which of them have no gradient at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Screening:
    """What is known of N images and K channels before the first gradient.

    Parameters
    ----------
    centres: (N, K, 2) float32, centroids of the squared activations in image pixels, NaN without one. They guide a search and
        decide nothing.
    silent: (N, K) cells whose gradient is known to be zero, so that they are known to have no centre.
    """

    centres: NDArray[np.float32]
    silent: NDArray[np.bool_]
