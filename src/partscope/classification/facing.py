"""Turning all objects the same way without being told which way they look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 50


def common_facing(vectors: NDArray[np.floating], mirrored: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Choose for every image whether to mirror it, so that all of them become as alike as they can.

    Sought are the signs s that maximise the length of the sum of s·d, where d is half the difference of an image's vector
    and its mirror image's: the mean of both does not depend on the choice. The signs of the first principal component are
    the start; then every image takes the sign that agrees with the sum of the others, until nothing changes.

    Parameters
    ----------
    vectors, mirrored: (N, F) descriptions of the images and of their mirror images.

    Returns
    -------
    (N,) bool, True for images to be mirrored. All true and all false would be the same answer: at least half are False.
    """
    differences = (np.asarray(vectors, dtype=np.float64) - mirrored) / 2
    gram = differences @ differences.T
    signs = np.where(np.linalg.eigh(gram)[1][:, -1] >= 0, 1.0, -1.0)
    np.fill_diagonal(gram, 0.0)
    for _ in range(_ROUNDS):
        before = signs.copy()
        for i in range(len(signs)):
            pull = gram[i] @ signs
            signs[i] = signs[i] if pull == 0 else np.sign(pull)
        if np.array_equal(before, signs):
            break
    flips = signs < 0
    if 2 * flips.sum() > len(flips) or (2 * flips.sum() == len(flips) and flips[0]):
        flips = ~flips
    return np.asarray(flips)
