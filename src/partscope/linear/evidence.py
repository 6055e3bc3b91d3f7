"""From evidence maps to positions and confidence, each part for itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

#: Sharpness of the soft maximum, on maps divided by their standard deviation; chosen on training images.
SHARPNESS = 2.0


def decode(
    maps: NDArray[np.float32], mask: NDArray[np.bool_] | None = None, sharpness: float = SHARPNESS
) -> NDArray[np.float64]:
    """Return the soft maximum of each map: the mean cell under softmax(sharpness · map / its standard deviation).

    Parameters
    ----------
    maps: (..., P, h, w).
    mask: (h, w), the cells that may be chosen; all by default.
    sharpness: larger values come nearer to the single highest cell.

    Returns
    -------
    (..., P, 2) `(x, y)` as shares of the grid's width and height. A map without structure gives the mean cell.
    """
    rows, columns = maps.shape[-2:]
    flat = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    allowed = np.ones(rows * columns, dtype=np.bool_) if mask is None else mask.ravel()
    chosen = flat[..., allowed]
    spread = chosen.std(axis=-1, keepdims=True)
    # Differences that are rounding alone must not decide.
    flat_map = spread <= 1e-6 * np.abs(chosen).max(axis=-1, keepdims=True)
    scaled = np.where(flat_map, 0.0, chosen / np.where(flat_map, 1.0, spread)) * sharpness
    shares = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    y, x = np.divmod(np.flatnonzero(allowed), columns)
    centres = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], axis=1)
    return np.asarray(shares @ centres)


def presence(
    maps: NDArray[np.float32], base_rate: NDArray[np.float64], mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the probability that a part stands in some cell, if its evidence is taken at its word.

    With a prior that gives the share `base_rate` evenly to the cells, it is r·L / (r·L + 1 − r), where L is the mean over
    the cells of the likelihood ratio. It is not calibrated.

    Parameters
    ----------
    maps: (..., P, h, w) log-odds of part against background.
    base_rate: (P,) share of images that show the part.
    mask: (h, w), the cells that may be chosen; all by default.

    Returns
    -------
    (..., P) in [0, 1].
    """
    flat = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    if mask is not None:
        flat = flat[..., mask.ravel()]
    likelihood = logsumexp(flat, axis=-1) - np.log(flat.shape[-1])
    rate = np.clip(base_rate, 1e-3, 1 - 1e-3)
    return np.asarray(expit(likelihood + np.log(rate) - np.log1p(-rate)))
