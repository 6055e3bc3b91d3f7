"""Blobs of points, maps of blobs, and a number of steps of the mixture on them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from partscope.centres import Mixture, PointSets, cut_points, fit_mixture

FLOOR = 0.5


def density(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    d = x - mean
    return math.exp(-0.5 * d @ np.linalg.inv(covariance) @ d) / (
        2 * math.pi * math.sqrt(np.linalg.det(covariance))
    )


def blobs(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Points of two blobs of different size and shape, with weights that single precision holds exactly."""
    rng = np.random.default_rng(seed)
    near = rng.normal((20, 30), (3, 6), (count * 2 // 3, 2))
    far = rng.normal((45, 12), (5, 2), (count - count * 2 // 3, 2))
    weights = rng.integers(1, 64, count) / 64
    return np.concatenate([near, far]), weights


def sets_of(*pairs: tuple[np.ndarray, np.ndarray], dtype: torch.dtype = torch.float64) -> PointSets:
    """Point sets padded to the longest one, weights as they are."""
    most = max(len(x) for x, _ in pairs)
    points = torch.zeros(len(pairs), most, 2, dtype=dtype)
    weights = torch.zeros(len(pairs), most, dtype=dtype)
    for row, (x, w) in enumerate(pairs):
        points[row, : len(x)] = torch.from_numpy(x).to(dtype)
        weights[row, : len(w)] = torch.from_numpy(w / w.sum()).to(dtype)
    return PointSets(points, weights)


def steps(sets: PointSets, count: int, floor: float = FLOOR) -> Mixture:
    return fit_mixture(sets, floor=floor, tolerance=-math.inf, max_iterations=count)


def uneven(maps: Tensor, **options: float) -> bool:
    """Whether one component is heavier by more than rounding can turn round; a tie goes to the first one."""
    share = fit_mixture(cut_points(maps, 0.9), **options).share
    return bool(((share[:, 0] - share[:, 1]).abs() > 0.02).all())


def blob_map(seed: int, side: int = 48) -> Tensor:
    """A map of two blobs and noise in the middle of its frame, so that it can be shifted; double precision."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] + 0.5
    total = rng.random((side, side)) * 0.05
    for _ in range(2):
        cx, cy = rng.uniform(0.35 * side, 0.65 * side, 2)
        total += rng.uniform(0.5, 1) * np.exp(
            -((x - cx) ** 2) / rng.uniform(4, 40) - (y - cy) ** 2 / rng.uniform(4, 40)
        )
    return torch.from_numpy(total)[None]
