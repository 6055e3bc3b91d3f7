"""Low-rank linear shape model: probabilistic principal components of the arrangements, fitted to the evidence from many starts.

A shape is a component's mean plus a combination of `rank` directions. Fitting alternates, as in a constrained local model,
between a step of mean shift per part in a window around its present point and the regularised least-squares fit of place,
size and coefficients to the shifted points; the window narrows. What the starts end at is weighted by its likelihood.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arrangement_models.evidence import Evidence
from arrangement_models.poses import normalised
from partscope.arrangement.consensus import CELL_SPREAD, COARSE, TRUST, Consensus, coarse_search
from partscope.arrangement.model import SCALES
from partscope.arrangement.shapes import Shapes, make_shapes, unit_of

FloatArray = NDArray[np.float64]

#: Standard deviations, in object sizes, of the narrowing window.
WINDOWS = (0.15, 0.12, 0.1, 0.08, 0.07, 0.07)
#: Starts of a component, and of all together.
STARTS, MOST = 3, 32
#: Rounds of filling in hidden parts, and weight, in arrangements, of the pull of directions towards nothing.
ROUNDS, PULL = 10, 5.0


class LowRank:
    """A mixture of `components` linear shape models with `rank` directions each."""

    def __init__(self, components: int, rank: int) -> None:
        self.name = f"low rank {rank}, {components} component{'s' * (components > 1)}"
        self._components, self._rank = components, rank
        self._shapes: Shapes
        self._mean: FloatArray  # (C, P, 2)
        self._directions: FloatArray  # (C, P, 2, R), scaled so that coefficients have variance 1
        self._rest: FloatArray  # (C, P) variance that the directions leave, per axis

    def fit(self, train: Evidence) -> None:
        """Learn from training images."""
        shapes = make_shapes(train.points, train.visible, train.sizes, train.mirror, self._components, SCALES)
        fitted = [
            principal(shapes.offsets[shapes.group == c], shapes.visible[shapes.group == c], self._rank)
            for c in range(len(shapes.group_offsets))
        ]
        self._shapes = shapes
        self._mean, self._directions, self._rest = (np.stack(values) for values in zip(*fitted, strict=True))

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return what the parts of the fitted shapes say about each part."""
        shapes = self._shapes
        parts, rows, columns = ratios.shape
        unit = size / unit_of(size)
        absent = np.log(TRUST + (1 - TRUST) * ratios.mean(axis=(1, 2)))
        scores, along_x, along_y = coarse_search(ratios, size, shapes, absent)
        flat = scores.reshape(len(scores), -1)
        best = np.argpartition(-flat, STARTS - 1, axis=1)[:, :STARTS]
        component = np.repeat(np.arange(len(scores)), STARTS)
        order = np.argsort(-np.take_along_axis(flat, best, axis=1).ravel(), kind="stable")[:MOST]
        component, best = component[order], best.ravel()[order]
        scale_index, row, column = np.unravel_index(best, (len(shapes.sizes), COARSE, COARSE))
        place = np.stack([along_x[column], along_y[row]], axis=1) * unit
        scale = shapes.sizes[scale_index]
        coefficients = np.zeros((len(best), self._rank))
        y, x = np.mgrid[0:rows, 0:columns]
        cells = np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows], axis=1) * unit
        share = shapes.group_visible[component]
        for window in WINDOWS:
            points = self._points(component, place, scale, coefficients)
            near, mean_ratio = self._near(ratios, points, cells, window * scale)
            target = near @ cells
            trust = share * TRUST * mean_ratio / (1 - share + share * (1 - TRUST + TRUST * mean_ratio))
            place, scale, coefficients = self._fit_points(component, target, trust, window, scale)
        points = self._points(component, place, scale, coefficients)
        near, mean_ratio = self._near(ratios, points, cells, WINDOWS[-1] * scale, evidence=False)
        message = np.log(1 - share + share * (1 - TRUST + TRUST * mean_ratio))
        score = message.sum(axis=1) - 0.5 * (coefficients**2).sum(axis=1)
        score += -0.5 * ((np.log(scale) - shapes.size_mean) / shapes.size_spread) ** 2
        weight = np.exp(score - score.max())
        others = np.exp(score[:, None] - message - (score[:, None] - message).max(axis=0)) * share
        expected = np.einsum("hp,hpc->pc", others, near).reshape(parts, rows, columns)
        typical = float(np.exp(weight @ np.log(scale) / weight.sum()))
        return Consensus(weight @ share / weight.sum(), normalised(expected), typical)

    def _points(
        self, component: NDArray[np.intp], place: FloatArray, scale: FloatArray, coefficients: FloatArray
    ) -> FloatArray:
        shape = self._mean[component] + np.einsum("hpdr,hr->hpd", self._directions[component], coefficients)
        return np.asarray(place[:, None] + scale[:, None, None] * shape)

    def _near(
        self,
        ratios: FloatArray,
        points: FloatArray,
        cells: FloatArray,
        width: FloatArray,
        evidence: bool = True,
    ) -> tuple[FloatArray, FloatArray]:
        """Return shares of the cells (H, P, C) in a window around points (H, P, 2), and the mean ratio there (H, P)."""
        step = CELL_SPREAD**2 * np.prod(cells.max(axis=0)) / len(cells)
        variance = (width**2 + step)[:, None, None]
        squared = (points**2).sum(axis=2)[..., None] + (cells**2).sum(axis=1) - 2 * points @ cells.T
        near = np.exp(np.maximum(-0.5 * squared / variance, -60))
        near /= near.sum(axis=2, keepdims=True)
        weighted = near * ratios.reshape(len(ratios), -1)
        mean_ratio = weighted.sum(axis=2)
        return (weighted / mean_ratio[..., None] if evidence else near), mean_ratio

    def _fit_points(
        self,
        component: NDArray[np.intp],
        target: FloatArray,
        trust: FloatArray,
        window: float,
        scale: FloatArray,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return place, size and coefficients that fit shifted points (H, P, 2) best; linear in place, size, size·coefficients."""
        starts, parts = trust.shape
        design = np.zeros((starts, parts, 2, 3 + self._rank))
        design[:, :, 0, 0] = design[:, :, 1, 1] = 1
        design[..., 2] = self._mean[component]
        design[..., 3:] = self._directions[component]
        precision = trust / ((window**2 + self._rest[component]) * scale[:, None] ** 2)
        weighted = design * precision[..., None, None]
        gram = np.einsum("hpda,hpdb->hab", weighted, design)
        right = np.einsum("hpda,hpd->ha", weighted, target)
        expected = np.exp(self._shapes.size_mean)
        size_precision = 1 / (self._shapes.size_spread * expected) ** 2
        gram[:, 2, 2] += size_precision
        right[:, 2] += size_precision * expected
        gram[:, range(3, 3 + self._rank), range(3, 3 + self._rank)] += 1 / scale[:, None] ** 2
        gram[:, [0, 1], [0, 1]] += 1e-6
        solved = np.linalg.solve(gram, right[..., None])[..., 0]
        fitted = np.clip(solved[:, 2], self._shapes.sizes[0] / 1.5, self._shapes.sizes[-1] * 1.5)
        return solved[:, :2], fitted, solved[:, 3:] / fitted[:, None]


def principal(
    offsets: FloatArray, visible: FloatArray, rank: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean (P, 2), directions (P, 2, R) and remaining variance (P,) of shapes (E, P, 2), of which some parts are hidden.

    Hidden parts are filled in by the model itself, in rounds.
    """
    parts = offsets.shape[1]
    shown = np.repeat(visible > 0, 2, axis=1)
    values = offsets.reshape(len(offsets), -1)
    known = np.maximum(shown.sum(axis=0), 1)
    mean = np.where(shown, values, 0).sum(axis=0) / known
    filled = np.where(shown, values, mean)
    rank_used = min(rank, len(values) - 1, values.shape[1])
    directions = np.zeros((values.shape[1], rank))
    for _ in range(ROUNDS):
        mean = filled.mean(axis=0)
        _, spread, axes = np.linalg.svd(filled - mean, full_matrices=False)
        variance = spread**2 / (len(filled) + PULL)
        noise = variance[rank_used:].sum() / max(values.shape[1] - rank_used, 1)
        kept = np.sqrt(np.maximum(variance[:rank_used] - noise, 0))
        directions[:, :rank_used] = axes[:rank_used].T * kept
        # The posterior mean of the coefficients, from the visible parts alone.
        masked = shown[:, :, None] * directions
        gram = np.einsum("ndr,nds->nrs", masked, masked) + (noise + 1e-6) * np.eye(rank)
        right = np.einsum("ndr,nd->nr", masked, values - mean)
        guess = mean + np.linalg.solve(gram, right[..., None])[..., 0] @ directions.T
        filled = np.where(shown, values, guess)
    rest = (np.where(shown, (values - guess) ** 2, 0).sum(axis=0) + 0.01) / (known + 1)
    return mean.reshape(parts, 2), directions.reshape(parts, 2, rank), rest.reshape(parts, 2).mean(axis=1)
