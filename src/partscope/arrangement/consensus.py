"""Consensus of exemplars: which training arrangements, where and how large, agree with an image's evidence.

A hypothesis is a training arrangement (or its mirror image), a place and a size. Its parts are expected at the hypothesis'
points with Gaussian deviations, so the likelihood ratio of a part's map is the map of ratios blurred by that Gaussian and
read at the point; a part that the arrangement does not show is expected absent. The log ratios of the parts are added.

1. Coarse and exhaustive: every group's mean arrangement at every place of a lattice and every size.
2. Fine: every arrangement takes its group's best hypotheses; the best arrangements climb to their own best place and size.
3. Posterior: the arrangements' weights; for each part the weighted points without the part's own message, blurred: what
   the other parts say about this part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from partscope.arrangement.shapes import Shapes, unit_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Deviation of a part from its point in object sizes: of a group's mean arrangement, of a single arrangement. The latter was
#: chosen on training images, together with OWN_WEIGHT of decoding (benchmarks/choose_consensus.py).
COARSE_SPREAD, FINE_SPREAD = 0.12, 0.13
#: Every Gaussian is widened by these shares of a cell and of a lattice step: evidence is no finer than its grid, and a
#: peak must not fall between two places of the lattice.
CELL_SPREAD, STEP_SPREAD = 0.4, 0.3
#: Probability that a part is where a training arrangement shows it: an arrangement is not the object.
TRUST = 0.95
#: Lattice of places over the image per axis: coarse, fine; both are padded for parts outside the image.
COARSE, FINE = 16, 32
PADDING = 0.75
#: Best hypotheses of a group that its arrangements try; arrangements that climb.
STARTS, CLIMBERS = 2, 200
_STEPS = np.array([(i, j, k) for i in (0, -1, 1) for j in (0, -1, 1) for k in (0, -1, 1)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Consensus:
    """What the arrangements agree on.

    Parameters
    ----------
    share: (P,) weighted share of arrangements in which the part is visible.
    expected: (P, h, w) where the other parts expect the part; sums to 1 over the cells of a visible part.
    size: the object's size relative to √(W·H).
    """

    share: FloatArray
    expected: FloatArray
    size: float


def lattice(count: int, cells: int, spread: float) -> FloatArray:
    """Return the matrix that blurs `cells` values along an axis and reads them at a padded lattice.

    Row i belongs to the place `(i - pad + ½) / count` of the unit interval with `pad = PADDING·count`; its entries are the
    Gaussian density with standard deviation `spread` (in [0, 1]) around it, per cell. Rows far from the border sum to 1.
    """
    pad = int(PADDING * count)
    places = (np.arange(-pad, count + pad) + 0.5) / count
    centres = (np.arange(cells) + 0.5) / cells
    wide = np.sqrt(spread**2 + (CELL_SPREAD / cells) ** 2 + (STEP_SPREAD / count) ** 2)
    distance = (places[:, None] - centres[None]) / wide
    return np.asarray(np.exp(-0.5 * distance**2) / (np.sqrt(2 * np.pi) * wide * cells))


def _messages(
    ratios: FloatArray, count: int, spread: float, size: FloatArray
) -> tuple[NDArray[np.float32], FloatArray, FloatArray]:
    """Return log ratios (P, M, M) of parts expected around lattice points, and the matrices along y and x."""
    scale = spread * unit_of(size) / size
    along_x, along_y = lattice(count, ratios.shape[2], scale[0]), lattice(count, ratios.shape[1], scale[1])
    # Single precision where only scores come of it: it halves the time of the searches.
    blurred = along_y.astype(np.float32) @ ratios.astype(np.float32) @ along_x.T.astype(np.float32)
    return np.log(np.float32(1 - TRUST) + np.float32(TRUST) * blurred), along_y, along_x


def coarse_search(
    ratios: FloatArray, size: FloatArray, shapes: Shapes, absent: FloatArray
) -> tuple[NDArray[np.float32], FloatArray, FloatArray]:
    """Score every group at every place and size; return the score (K, S, T, T), and the places along x and y (T,).

    Parameters
    ----------
    ratios: (P, h, w) likelihood ratios.
    size: (2,) width and height of the image.
    absent: (P,) log ratio of a part that the arrangement does not show.
    """
    parts = len(ratios)
    pad = int(PADDING * COARSE)
    unit = unit_of(size) / size
    constant = (1 - shapes.group_visible) @ absent
    scores = np.empty((len(shapes.group_offsets), len(shapes.sizes), COARSE, COARSE), dtype=np.float32)
    weights = shapes.group_visible[:, None].astype(np.float32)
    for index, scale in enumerate(shapes.sizes):
        message, _, _ = _messages(ratios, COARSE, COARSE_SPREAD * scale, size)
        windows = sliding_window_view(message, (COARSE, COARSE), axis=(1, 2))
        start = np.rint(shapes.group_offsets * (scale * unit * COARSE)).astype(np.intp) + pad
        start = np.clip(start, 0, 2 * pad)
        taken = windows[np.arange(parts), start[..., 1], start[..., 0]].reshape(len(start), parts, -1)
        scores[:, index] = (weights @ taken).reshape(-1, COARSE, COARSE)
        scores[:, index] += (constant + _size_prior(np.log(scale), shapes))[:, None, None]
    places = (np.arange(COARSE) + 0.5) / COARSE
    return scores, places, places


def _size_prior(log_size: FloatArray | float, shapes: Shapes) -> FloatArray:
    return np.asarray(-0.5 * ((log_size - shapes.size_mean) / shapes.size_spread) ** 2)


def consensus(ratios: FloatArray, size: FloatArray, shapes: Shapes, exclude: int | None = None) -> Consensus:
    """Find the posterior over the arrangements.

    Parameters
    ----------
    ratios: (P, h, w) likelihood ratios of the parts' maps.
    size: (2,) width and height of the image in pixels.
    exclude: a training image whose arrangement is left out: the image itself, where training images are looked at.
    """
    absent = np.log(TRUST + (1 - TRUST) * ratios.mean(axis=(1, 2)))
    scores, along_x, along_y = coarse_search(ratios, size, shapes, absent)
    groups = scores.reshape(len(scores), -1)
    starts = min(STARTS, groups.shape[1])
    best = np.argpartition(-groups, starts - 1, axis=1)[:, :starts]
    scale_index, row, column = np.unravel_index(best, scores.shape[1:])
    start = np.stack(
        [np.log(shapes.sizes)[scale_index], along_x[column], along_y[row]], axis=2
    )  # (K, starts, 3)
    top = groups.max(axis=1)
    weight = np.exp(top - top.max())
    first = groups.argmax(axis=1) // (COARSE * COARSE)
    typical = float(np.exp((weight * np.log(shapes.sizes)[first]).sum() / weight.sum()))

    message, along_y_matrix, along_x_matrix = _messages(ratios, FINE, FINE_SPREAD * typical, size)
    chosen = np.arange(len(shapes.offsets))
    if exclude is not None and np.any(shapes.source != exclude):
        chosen = chosen[shapes.source != exclude]
    reader = _Reader(message, size, shapes, absent)
    begin = start[shapes.group[chosen]]
    score = reader.score(chosen, begin)
    which = score.argmax(axis=1)
    order = np.argsort(-score.max(axis=1), kind="stable")[:CLIMBERS]
    chosen, place = chosen[order], begin[order, which[order]]
    gap = np.log(shapes.sizes[1] / shapes.sizes[0]) if len(shapes.sizes) > 1 else 0.1
    step = np.array([gap, 1 / COARSE, 1 / COARSE])
    for _ in range(2):
        step = step / 2
        tried = place[:, None] + step * _STEPS
        score = reader.score(chosen, tried)
        which = score.argmax(axis=1)
        place = tried[np.arange(len(tried)), which]
    height = score.max(axis=1)
    weights = np.exp(height - height.max())
    weights /= weights.sum()
    shown = weights[:, None] * shapes.visible[chosen]
    votes = _splat(reader.points(chosen, place[:, None])[:, :, 0], shown, message.shape[1:])
    votes *= np.exp(-message.astype(np.float64))
    expected = along_y_matrix.T @ votes @ along_x_matrix
    total = expected.sum(axis=(1, 2), keepdims=True)
    cells = expected[0].size
    # Never exactly nothing: a part in an unexpected place is unlikely, not impossible.
    expected = (
        np.where(total > 0, expected / np.where(total > 0, total, 1.0), 1 / cells) * (1 - 1e-6) + 1e-6 / cells
    )
    return Consensus(shown.sum(axis=0), expected, float(np.exp(weights @ place[:, 0])))


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the parts' messages at hypotheses `(log size, x, y)`."""

    message: NDArray[np.float32]
    size: FloatArray
    shapes: Shapes
    absent: FloatArray

    def points(self, chosen: NDArray[np.intp], place: FloatArray) -> NDArray[np.float32]:
        """Return the expected points in [0, 1] of arrangements (E,) at places (E, H, 3): x and y, (2, E, H, P)."""
        unit = unit_of(self.size) / self.size
        result = np.empty((2, *place.shape[:2], self.shapes.offsets.shape[1]), dtype=np.float32)
        scale = np.exp(place[..., :1]).astype(np.float32)
        for axis in (0, 1):
            offsets = (self.shapes.offsets[chosen, :, axis] * unit[axis]).astype(np.float32)
            np.multiply(scale, offsets[:, None], out=result[axis])
            result[axis] += place[..., 1 + axis, None].astype(np.float32)
        return result

    def score(self, chosen: NDArray[np.intp], place: FloatArray) -> FloatArray:
        """Return the log ratio (E, H) of arrangements (E,) at places (E, H, 3)."""
        side = self.message.shape[1]
        at = self.points(chosen, place)
        at *= FINE
        at += int(PADDING * FINE)
        column, row = np.clip(at, 0, side - 1, out=at).astype(np.int32)
        row *= side
        row += column
        row += np.arange(len(self.message), dtype=np.int32) * (side * side)
        read = self.message.ravel().take(row)
        visible = self.shapes.visible[chosen]
        total = (read @ visible[..., None].astype(np.float32))[..., 0] + ((1 - visible) @ self.absent)[
            :, None
        ]
        return np.asarray(total + _size_prior(place[..., 0], self.shapes))


def _splat(points: NDArray[np.float32], weights: FloatArray, grid: tuple[int, ...]) -> FloatArray:
    """Distribute weights (E, P) at points (2, E, P) bilinearly over the padded fine lattice: (P, M, M)."""
    parts, side = points.shape[2], grid[0]
    at = np.clip(points.astype(np.float64) * FINE + int(PADDING * FINE) - 0.5, 0, side - 1.001)
    corner = at.astype(np.intp)
    rest = at - corner
    base = np.arange(parts) * side * side + corner[1] * side + corner[0]
    votes = np.zeros(parts * side * side)
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dx - rest[0]) * np.abs(1 - dy - rest[1]) * weights
            votes += np.bincount((base + dy * side + dx).ravel(), share.ravel(), len(votes))
    return votes.reshape(parts, side, side)
