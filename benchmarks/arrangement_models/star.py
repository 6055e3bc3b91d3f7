"""Star: given pose, place and size the parts are independent Gaussians. Exact sums over poses, a lattice of places, sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arrangement_models.evidence import Evidence
from arrangement_models.poses import Poses, make_poses, normalised, posterior_size
from partscope.arrangement.consensus import CELL_SPREAD, STEP_SPREAD, TRUST, Consensus
from partscope.arrangement.shapes import unit_of

FloatArray = NDArray[np.float64]

#: Places of the object per axis.
PLACES = 24
#: Hypotheses (pose, size) whose best log weight is this much lower than the best one's are not followed to the maps.
NEGLIGIBLE = 12.0


class Star:
    """A star of Gaussian offsets with a mixture of `poses` poses."""

    def __init__(self, poses: int) -> None:
        self.name = f"star, {poses} pose{'s' * (poses > 1)}"
        self._count = poses
        self._poses: Poses

    def fit(self, train: Evidence) -> None:
        """Learn from training images."""
        self._poses = make_poses(train, self._count)

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return what the other parts say about each part."""
        poses = self._poses
        shapes = poses.shapes
        unit = unit_of(size) / size
        ratios = ratios.astype(np.float32)
        shown = poses.visible[..., None, None].astype(np.float32)
        messages, matrices = [], []
        scores = np.empty((len(poses.weight), len(shapes.sizes), PLACES, PLACES))
        for index, scale in enumerate(shapes.sizes):
            along = [
                gaussians(
                    poses.mean[..., d] * scale * unit[d],
                    poses.spread[..., d] * scale * unit[d],
                    ratios.shape[2 - d],
                )
                for d in (0, 1)
            ]
            blurred = along[1] @ ratios @ along[0].swapaxes(-1, -2)  # (M, P, T, T)
            message = np.log(1 - shown + shown * (np.float32(1 - TRUST) + np.float32(TRUST) * blurred))
            prior = -0.5 * ((np.log(scale) - shapes.size_mean) / shapes.size_spread) ** 2
            scores[:, index] = message.sum(axis=1) + (prior + np.log(poses.weight))[:, None, None]
            messages.append(message)
            matrices.append(along)
        scores -= scores.max()
        weight = np.exp(scores)
        expected = np.zeros(ratios.shape)
        best = scores.max(axis=(2, 3))
        for index in range(len(shapes.sizes)):
            chosen = np.flatnonzero(best[:, index] > -NEGLIGIBLE)
            if not len(chosen):
                continue
            # Without the part's own message: what the others say.
            others = np.exp(scores[chosen, index][:, None] - messages[index][chosen]) * shown[chosen]
            along_x, along_y = (matrix[chosen] for matrix in matrices[index])
            expected += (along_y.swapaxes(-1, -2) @ others.astype(np.float32) @ along_x).sum(axis=0)
        total = weight.sum(axis=(2, 3))
        share = total.sum(axis=1) @ poses.visible / total.sum()
        return Consensus(share, normalised(expected), posterior_size(total, shapes.sizes))


def gaussians(offset: FloatArray, spread: FloatArray, cells: int) -> NDArray[np.float32]:
    """Return matrices (..., T, cells): cell densities around places of a lattice of [0, 1] plus an offset (...)."""
    places = (np.arange(PLACES) + 0.5) / PLACES
    centres = (np.arange(cells) + 0.5) / cells
    wide = np.sqrt(spread**2 + (CELL_SPREAD / cells) ** 2 + (STEP_SPREAD / PLACES) ** 2)[..., None, None]
    distance = ((places + offset[..., None])[..., None] - centres) / wide
    return np.asarray(np.exp(-0.5 * distance**2) / (np.sqrt(2 * np.pi) * wide * cells), dtype=np.float32)
