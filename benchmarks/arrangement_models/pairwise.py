"""Every part speaks to every other through a smoothed histogram of their offset: a few rounds of mean-field messages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter

from arrangement_models.evidence import Evidence
from arrangement_models.poses import normalised
from partscope.arrangement.consensus import TRUST, Consensus
from partscope.arrangement.shapes import unit_of

FloatArray = NDArray[np.float64]

#: Smoothing of the histograms in cells, and their share that is spread evenly.
SMOOTH, EVEN = 1.0, 0.05
ROUNDS = 3


class Pairwise:
    """A fully connected model; each message is raised to the power `weight` / (P − 1)."""

    def __init__(self, weight: float) -> None:
        self.name = f"pairwise, weight {weight:g}"
        self._weight = weight
        self._kernels: NDArray[np.complexfloating]
        self._even: FloatArray
        self._share: FloatArray
        self._size: float

    def fit(self, train: Evidence) -> None:
        """Learn from training images and their mirror images."""
        parts, rows, columns = train.maps.shape[1:]
        mirrored = np.stack([1 - train.points[..., 0], train.points[..., 1]], axis=2)[:, train.mirror]
        points = np.concatenate([train.points, mirrored])
        # From a part's cell (second axis) to another's (first axis), on a torus that is large enough not to wrap.
        shape = (next_fast_len(2 * rows, real=True), next_fast_len(2 * columns, real=True))
        gap = points[:, :, None] - points[:, None]
        known = np.isfinite(gap).all(axis=3)
        cells = np.rint(np.nan_to_num(gap) * (columns, rows)).astype(np.intp)
        histograms = np.zeros((parts, parts, *shape))
        image, first, second = np.nonzero(known)
        x, y = cells[image, first, second].T
        np.add.at(histograms, (first, second, y % shape[0], x % shape[1]), 1.0)
        smooth = gaussian_filter(histograms, (0, 0, SMOOTH, SMOOTH), mode="wrap")
        total = smooth.sum(axis=(2, 3), keepdims=True)
        smooth = np.where(total > 0, smooth / np.where(total > 0, total, 1), 0)
        self._kernels = rfft2(smooth).astype(np.complex64)
        self._share = train.visible.mean(axis=0)
        self._share = (self._share + self._share[train.mirror]) / 2
        place = train.points * (train.sizes / unit_of(train.sizes)[:, None])[:, None]
        seen = train.visible.sum(axis=1) > 1
        extent = np.nanmax(place[seen], axis=1) - np.nanmin(place[seen], axis=1)
        self._size = float(np.exp(np.log(np.hypot(*extent.T)).mean()))

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return what the other parts say about each part."""
        parts, rows, columns = ratios.shape
        shape = (next_fast_len(2 * rows, real=True), next_fast_len(2 * columns, real=True))
        share = np.clip(self._share, 0.01, 0.99)[:, None, None]
        own = np.log(1 - share + share * (1 - TRUST + TRUST * ratios))
        present = (share * ratios.mean(axis=(1, 2), keepdims=True)) / (
            1 - share + share * ratios.mean(axis=(1, 2), keepdims=True)
        )
        context = np.zeros_like(own)
        for _ in range(ROUNDS):
            belief = np.exp(own + context - (own + context).max(axis=(1, 2), keepdims=True))
            belief /= belief.sum(axis=(1, 2), keepdims=True)
            spectrum = rfft2(belief.astype(np.float32), shape)
            message = irfft2(self._kernels * spectrum[None], shape)[:, :, :rows, :columns]
            # A part that may be hidden says less.
            trusted = EVEN / (rows * columns) + (1 - EVEN) * np.maximum(message, 0)
            spoken = np.log(trusted * rows * columns) * present[None]
            spoken[np.arange(parts), np.arange(parts)] = 0
            context = self._weight / max(parts - 1, 1) * spoken.sum(axis=1)
        expected = np.exp(context - context.max(axis=(1, 2), keepdims=True))
        return Consensus(np.broadcast_to(self._share, (parts,)).copy(), normalised(expected), self._size)
