"""Keypoints from similar images and from similar cells, without any learning but the choice of a few settings.

- `Neighbours`: the parts of the most similar training images, copied relative to the image; the most similar by cosine of
  pooled features, mirror images included. Pooled over the whole image, features do not say which way an animal faces, so
  pooling over a coarse grid is tried too.
- `Correspondence`: a part's features, of all training images (their mean) or of the most similar ones, are searched in the
  image by cosine similarity, as in work on semantic correspondence. It is the linear detector without background and
  covariance.

Settings are those with the smallest error on training images: each left out with its mirror image (`Neighbours`), or a
fifth left out (`Correspondence`).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from partscope.linear import decode
from pictures import FloatArray, Pictures

#: Rows and columns that features are pooled to, and the number of neighbours.
POOLS = (1, 2, 4)
COUNTS = (1, 3, 5, 10, 20)

#: Correspondence: neighbours whose features are searched (0: the mean over all training images), features divided by their
#: spread or not, sharpness of the soft maximum (None: the best cell).
EXEMPLARS = (0, 1, 5)
STANDARDISED = (False, True)
SHARPNESSES = (None, 2.0, 4.0, 8.0)

#: At most so many training images decide on the settings.
DECIDING = 100


def pooled(pictures: Pictures, side: int) -> NDArray[np.float32]:
    """Features (N, D) of length 1, every layer averaged over side × side regions and itself brought to length 1."""
    rows = []
    for maps in pictures.maps:
        layers = [functional.adaptive_avg_pool2d(features.float(), side).flatten() for features in maps]
        rows.append(torch.cat([functional.normalize(layer, dim=0) for layer in layers]))
    return functional.normalize(torch.stack(rows), dim=1).numpy()


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Training images and their mirror images, and how they are compared.

    Parameters
    ----------
    described: (2·N, D), images first, then their mirror images in the same order.
    points: (2·N, P, 2) relative to the image.
    pool, count: side of the grid that features are pooled to, and number of neighbours.
    """

    described: NDArray[np.float32]
    points: FloatArray
    pool: int
    count: int
    errors: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def fit(cls, train: Pictures, mirrored: Pictures) -> Neighbours:
        points = np.concatenate([train.points, mirrored.points])
        best: tuple[float, Neighbours] | None = None
        tried: dict[str, float] = {}
        own = np.arange(len(train))
        for pool in POOLS:
            described = np.concatenate([pooled(train, pool), pooled(mirrored, pool)])
            likeness = described[: len(train)] @ described.T
            likeness[own, own] = likeness[own, own + len(train)] = -np.inf
            for count in COUNTS:
                if count > len(train) - 1:
                    continue
                guess = _copied(likeness, points, count)
                # A part that no neighbour shows counts as in the middle.
                error = float(np.nanmean(train.errors(np.where(np.isnan(guess), 0.5, guess))))
                tried[f"pooled to {pool}×{pool}, k = {count}"] = error
                if best is None or error < best[0]:
                    best = error, cls(described, points, pool, count)
        if best is None:
            raise ValueError("nearest neighbours need at least two training images")
        return dataclasses.replace(best[1], errors=tried)

    def likeness(self, pictures: Pictures) -> NDArray[np.float32]:
        """Cosine similarity (M, 2·N) to the training images and their mirror images."""
        return np.asarray(pooled(pictures, self.pool) @ self.described.T)

    def locate(self, pictures: Pictures) -> FloatArray:
        """Points (M, P, 2) relative to the image, NaN where no neighbour shows the part."""
        return _copied(self.likeness(pictures), self.points, self.count)


def _copied(likeness: NDArray[np.float32], points: FloatArray, count: int) -> FloatArray:
    """Coordinate-wise median over the `count` most similar images, of those that show the part."""
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
    return _ignoring_nan(np.nanmedian, points[nearest], axis=1)


def _ignoring_nan(function: Callable[..., FloatArray], values: NDArray[np.floating], axis: int) -> FloatArray:
    """NaN where all values are NaN, without numpy's warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(function(values, axis=axis))


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Features at the parts of training images and of their mirror images.

    Parameters
    ----------
    features: (2·N, P, D), NaN where not visible; already centred and divided where that was chosen.
    centre, spread: (D,) that features are centred at and divided by.
    neighbours: finds similar images.
    exemplars, sharpness: see `EXEMPLARS` and `SHARPNESSES`.
    """

    features: NDArray[np.float32]
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    neighbours: Neighbours
    exemplars: int
    sharpness: float | None
    errors: dict[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def fit(cls, train: Pictures, mirrored: Pictures, neighbours: Neighbours) -> Correspondence:
        held = np.arange(len(train)) % 5 == 0
        if held.all():
            raise ValueError("correspondence needs at least two training images")
        kept, out = np.flatnonzero(~held), np.flatnonzero(held)[:DECIDING]
        tested = train.take(out)
        both = np.concatenate([kept, kept + len(train)])
        inner = dataclasses.replace(
            neighbours, described=neighbours.described[both], points=neighbours.points[both]
        )
        tried: dict[str, float] = {}
        settings: dict[str, dict[str, Any]] = {}
        for exemplars, standardised in product(EXEMPLARS, STANDARDISED):
            one = cls._made(train.take(kept), mirrored.take(kept), inner, exemplars, standardised)
            maps = one.similarity(tested)
            for sharpness in SHARPNESSES:
                name = (
                    f"{f'{exemplars} nearest images' if exemplars else 'mean of all images'}, "
                    f"{'standardised' if standardised else 'plain'}, "
                    f"{'best cell' if sharpness is None else f'soft maximum {sharpness:g}'}"
                )
                guess = points_of(maps, sharpness)
                tried[name] = float(np.nanmean(tested.errors(np.where(np.isnan(guess), 0.5, guess))))
                settings[name] = {
                    "exemplars": exemplars,
                    "standardised": standardised,
                    "sharpness": sharpness,
                }
        chosen = settings[min(tried, key=lambda name: tried[name])]
        made = cls._made(train, mirrored, neighbours, chosen["exemplars"], chosen["standardised"])
        return dataclasses.replace(made, sharpness=chosen["sharpness"], errors=tried)

    @classmethod
    def _made(
        cls, train: Pictures, mirrored: Pictures, neighbours: Neighbours, exemplars: int, standardised: bool
    ) -> Correspondence:
        rows = []
        plain = dataclasses.replace(train.grids, context=())
        for pictures in (train, mirrored):
            for maps, points, visible in zip(pictures.maps, pictures.points, pictures.visible, strict=True):
                there = plain.sample(maps, np.where(visible[:, None], points, 0.5))
                rows.append(np.where(visible[:, None], there, np.nan))
        features = np.stack(rows)
        centre = np.zeros(features.shape[2], np.float32)
        spread = np.ones_like(centre)
        if standardised:
            cells = np.concatenate([plain.sample(maps, plain.cell_centres()[::7]) for maps in train.maps])
            centre, spread = cells.mean(axis=0), cells.std(axis=0) + 1e-6
        return cls((features - centre) / spread, centre, spread, neighbours, exemplars, None)

    def similarity(self, pictures: Pictures) -> NDArray[np.float32]:
        """Cosine similarity (M, P, h, w) of every cell to the parts' features; NaN where there is none to compare with."""
        plain = dataclasses.replace(pictures.grids, context=())
        cells = plain.cell_centres()
        likeness = self.neighbours.likeness(pictures) if self.exemplars else None
        mean = _unit(_ignoring_nan(np.nanmean, self.features, 0)) if likeness is None else None
        maps = []
        for row, layers in enumerate(pictures.maps):
            there = _unit((plain.sample(layers, cells) - self.centre) / self.spread)
            if mean is not None:
                similar = mean @ there.T
            else:
                assert likeness is not None
                similar = self._by_exemplars(likeness[row], there)
            maps.append(similar.reshape(-1, *plain.grid))
        return np.stack(maps).astype(np.float32)

    def _by_exemplars(self, likeness: NDArray[np.float32], there: NDArray[np.float32]) -> FloatArray:
        """(P, cells): of each part, the mean similarity to the most similar images that show it."""
        order = np.argsort(-likeness, kind="stable")
        shown = np.isfinite(self.features[:, :, 0])
        rows = []
        for part in range(self.features.shape[1]):
            nearest = order[shown[order, part]][: self.exemplars]
            if len(nearest):
                rows.append((_unit(self.features[nearest, part]) @ there.T).mean(axis=0))
            else:
                rows.append(np.full(len(there), np.nan))
        return np.stack(rows)

    def locate(self, pictures: Pictures) -> FloatArray:
        """Points (M, P, 2) relative to the image, NaN for a part that no training image shows."""
        return points_of(self.similarity(pictures), self.sharpness)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9), np.float32)


def points_of(maps: NDArray[np.float32], sharpness: float | None) -> FloatArray:
    """Points (M, P, 2) of maps (M, P, h, w): the best cell, or the soft maximum of the linear detector."""
    known = np.isfinite(maps).all(axis=(2, 3))
    filled = np.where(known[..., None, None], maps, 0.0).astype(np.float32)
    if sharpness is not None:
        points = decode(filled, sharpness=sharpness)
    else:
        rows, columns = maps.shape[2:]
        y, x = np.divmod(filled.reshape(*maps.shape[:2], -1).argmax(axis=2), columns)
        points = np.stack([(x + 0.5) / columns, (y + 0.5) / rows], axis=2)
    return np.where(known[..., None], points, np.nan)
