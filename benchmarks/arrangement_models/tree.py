"""Tree: per pose the spanning tree of the tightest Gaussian offsets between parts. Exact sums by two passes of messages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from arrangement_models.evidence import Evidence
from arrangement_models.poses import Poses, make_poses, normalised, posterior_size
from partscope.arrangement.consensus import CELL_SPREAD, TRUST, Consensus
from partscope.arrangement.shapes import unit_of

FloatArray = NDArray[np.float64]


class Tree:
    """A tree of Gaussian offsets with a mixture of `poses` poses.

    The tree of a pose is the one that Chow and Liu's rule gives for these densities: the sum of the logarithms of the offsets'
    standard deviations is the smallest. Every part has a place, whether it is visible or not; a hidden one has no evidence.
    """

    def __init__(self, poses: int) -> None:
        self.name = f"tree, {poses} pose{'s' * (poses > 1)}"
        self._count = poses
        self._poses: Poses
        self._trees: list[tuple[list[int], list[int]]]

    def fit(self, train: Evidence) -> None:
        """Learn from training images."""
        self._poses = make_poses(train, self._count)
        self._trees = [
            spanning_tree(np.log(spread).sum(axis=-1), shown)
            for spread, shown in zip(self._poses.pair_spread, self._poses.visible, strict=True)
        ]

    def posterior(self, ratios: FloatArray, size: FloatArray) -> Consensus:
        """Return what the other parts say about each part."""
        poses, sizes = self._poses, self._poses.shapes.sizes
        prior = -0.5 * ((np.log(sizes) - poses.shapes.size_mean) / poses.shapes.size_spread) ** 2
        score = np.empty((len(poses.weight), len(sizes)))
        incoming = []
        for pose in range(len(poses.weight)):
            log_total, maps = self._pass(pose, ratios, size)
            score[pose] = log_total + prior + np.log(poses.weight[pose])
            incoming.append(maps)
        weight = np.exp(score - score.max())
        expected = np.zeros(ratios.shape)
        for pose, size_index in np.argwhere(weight > 1e-6):
            expected += incoming[pose][:, size_index] * (
                weight[pose, size_index] * poses.visible[pose, :, None, None]
            )
        share = weight.sum(axis=1) @ poses.visible / weight.sum()
        return Consensus(share, normalised(expected), posterior_size(weight, sizes))

    def _pass(self, pose: int, ratios: FloatArray, size: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return for one pose the log evidence (S,), and what the others say about each part, (P, S, h, w).

        The latter is divided by the evidence, so that its sum is the inverse of the part's own factor.
        """
        order, parents = self._trees[pose]
        poses = self._poses
        parts, rows, columns = ratios.shape
        unit = unit_of(size) / size
        sizes = poses.shapes.sizes
        shown = poses.visible[pose][:, None, None]
        own = (1 - shown) + shown * ((1 - TRUST) + TRUST * ratios)
        outside = (1 - shown[:, 0, 0]) + shown[:, 0, 0] * (1 - TRUST)

        def kernel(first: int, second: int) -> tuple[FloatArray, FloatArray]:
            """Matrices along x and y, (S, cells, cells): density of the second part's cell, given the first part's."""
            mean, spread = poses.pair_mean[pose, first, second], poses.pair_spread[pose, first, second]
            matrices = [
                offset_density(mean[d] * sizes * unit[d], spread[d] * sizes * unit[d], (columns, rows)[d])
                for d in (0, 1)
            ]
            return matrices[0], matrices[1]

        def send(
            values: FloatArray, matrices: tuple[FloatArray, FloatArray], beyond: FloatArray
        ) -> FloatArray:
            along_x, along_y = matrices
            inside = along_y.sum(axis=2)[:, :, None] * along_x.sum(axis=2)[:, None]
            return np.asarray(
                along_y @ values @ along_x.swapaxes(1, 2) + np.maximum(1 - inside, 0) * beyond[:, None, None]
            )

        links = {part: kernel(parents[part], part) for part in order[1:]}
        belief = np.repeat(own[:, None], len(sizes), axis=1)  # own factor times the messages from below
        upward = np.ones_like(belief)
        log_scale = np.zeros((parts, len(sizes)))  # what the messages into each part were divided by
        for part in order[:0:-1]:
            upward[part] = send(belief[part], links[part], outside[part] * np.exp(-log_scale[part]))
            height = upward[part].max(axis=(1, 2), keepdims=True)
            upward[part] /= height
            log_scale[parents[part]] += log_scale[part] + np.log(height[:, 0, 0])
            belief[parents[part]] *= upward[part]
        root = order[0]
        incoming = belief / own[:, None]  # messages from below; those from above are added on the way down
        total = belief[root].mean(axis=(1, 2))
        for part in order[1:]:
            parent = parents[part]
            above = incoming[parent] * own[parent] / upward[part]
            above /= above.sum(axis=(1, 2), keepdims=True)
            along_x, along_y = links[part]
            incoming[part] *= along_y.swapaxes(1, 2) @ above @ along_x
        evidence = (incoming * own[:, None]).sum(axis=(2, 3), keepdims=True)
        return np.log(total) + log_scale[root], incoming / np.maximum(evidence, 1e-300)


def spanning_tree(cost: FloatArray, shown: FloatArray) -> tuple[list[int], list[int]]:
    """Return the parts in an order in which parents come first, and each part's parent; the root is the most visible part.

    Parameters
    ----------
    cost: (P, P) of connecting two parts. shown: (P,).
    """
    parts = len(cost)
    positive = cost - cost.min() + 1.0
    # A part that is rarely visible should be no other part's only link.
    positive -= 2 * np.log(np.minimum(shown[:, None], shown[None]))
    tree = minimum_spanning_tree(np.triu(positive, 1))
    order, parents = breadth_first_order(tree, int(shown.argmax()), directed=False)
    assert len(order) == parts
    return order.tolist(), parents.tolist()


def offset_density(mean: FloatArray, spread: FloatArray, cells: int) -> FloatArray:
    """Return (S, cells, cells): row i holds the density of an offset with these means and deviations (S,) from cell i."""
    wide = np.sqrt(spread**2 + 2 * (CELL_SPREAD / cells) ** 2)[:, None, None]
    centres = (np.arange(cells) + 0.5) / cells
    distance = (centres[None, None] - centres[None, :, None] - mean[:, None, None]) / wide
    return np.asarray(np.exp(-0.5 * distance**2) / (np.sqrt(2 * np.pi) * wide * cells))
