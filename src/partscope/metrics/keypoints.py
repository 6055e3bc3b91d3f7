"""PCK and OKS: the two measures that the keypoint literature reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.errors import OptionError

FloatArray = NDArray[np.float64]

#: The α of the protocol, section 5.
PCK_ALPHAS = (0.05, 0.1, 0.2)


def pck(distances: ArrayLike, reach: ArrayLike, alpha: float) -> FloatArray:
    """Return for each pair whether it is correct: its distance is at most α·max(w, h).

    Parameters
    ----------
    distances: (N, P) pixels, NaN where there is no pair.
    reach: (N,) pixels, max(w, h) of the box.
    alpha: the share of `reach` that is still correct.

    Returns
    -------
    (N, P) float64: 1 correct, 0 wrong, NaN where the distance or the reach is NaN. The mean is the percentage of
    correct keypoints, as a share.
    """
    distance = np.asarray(distances, dtype=np.float64)
    limit = alpha * np.asarray(reach, dtype=np.float64)[:, None]
    return np.where(np.isnan(distance) | np.isnan(limit), np.nan, (distance <= limit).astype(np.float64))


def oks(distances: ArrayLike, areas: ArrayLike, sigmas: ArrayLike) -> FloatArray:
    """Return COCO's object keypoint similarity of each image: the mean over its visible parts of exp(−d²/(2 s² k²)).

    With k = 2σ and s² the object's area, as COCO's evaluation computes it. COCO's area is that of the segmentation;
    where there is none, the area of the box is the usual stand-in and gives somewhat higher values.

    Parameters
    ----------
    distances: (N, P) pixels, NaN where the part is not visible in the ground truth.
    areas: (N,) square pixels.
    sigmas: (P,) the annotators' standard deviation per part, relative to the square root of the area.

    Returns
    -------
    (N,) float64 in [0, 1]; NaN for an image without a visible part.

    Raises
    ------
    OptionError: `sigmas` has the wrong length or a value that is not positive.
    """
    distance = np.asarray(distances, dtype=np.float64)
    sigma = np.asarray(sigmas, dtype=np.float64)
    if sigma.shape != distance.shape[1:] or not (np.isfinite(sigma) & (sigma > 0)).all():
        raise OptionError(
            f"OKS needs {distance.shape[1]} positive sigmas, one per part, not {sigma.tolist()}."
        )
    area = np.asarray(areas, dtype=np.float64)[:, None]
    # COCO adds the spacing of 1 to the area, so that an object without area does not divide by zero.
    exponent = distance**2 / (2.0 * (area + np.spacing(1.0)) * (2.0 * sigma) ** 2)
    known = np.isfinite(exponent)
    total = np.where(known, np.exp(-np.where(known, exponent, 0.0)), 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
