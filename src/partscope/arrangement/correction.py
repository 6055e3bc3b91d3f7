"""Linear correction: every part's point from all parts' points, in closed form.

What remains after the consensus is partly systematic: evidence that peaks beside the marked spot, a part that is pulled
with its neighbours. A ridge regression per part predicts the deviation, in object sizes, from the whole arrangement as it
was found. Iterated reweighting makes it minimise distances instead of their squares, since a part on the wrong side says
nothing about millimetres. Training images count twice, as they are and mirrored, so that the correction of a left part is
the mirror image of the right part's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partscope.arrangement.decoding import Decoded

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Ridge strengths that are compared by leaving images out; infinite means no correction.
STRENGTHS = (30.0, 100.0, 300.0, 1000.0, 3000.0)
#: Deviations beyond this many object sizes are cut: they are mistakes of another kind.
LONGEST = 0.5
#: Distance, in object sizes, below which reweighting stops to favour the nearer.
FLOOR = 0.02
ROUNDS, FOLDS = 3, 4


def correction_features(decoded: Sequence[Decoded]) -> tuple[FloatArray, FloatArray]:
    """Return vectors (N, P, 4) and scalars (N, P) that describe what was found in N images.

    Vectors: position relative to the arrangement's centre, and pull of the local evidence, in object sizes; they change
    sign along x in a mirrored image. Scalars: visible share, centred.
    """
    size = np.array([found.size for found in decoded])[:, None, None]
    middle = np.array([found.middle for found in decoded])
    local = np.array([found.local for found in decoded])
    vectors = np.concatenate(
        [(middle - middle.mean(axis=1, keepdims=True)) / size, (local - middle) / size], axis=2
    )
    return vectors, np.array([found.share for found in decoded]) - 0.5


def design(vectors: FloatArray, scalars: FloatArray) -> FloatArray:
    """Return the design matrix (N, 5·P + 1); its last column is the constant."""
    return np.concatenate([vectors.reshape(len(vectors), -1), scalars, np.ones((len(vectors), 1))], axis=1)


def fit_correction(
    vectors: FloatArray,
    scalars: FloatArray,
    deviation: FloatArray,
    visible: BoolArray,
    mirror: NDArray[np.intp],
) -> tuple[FloatArray, float]:
    """Fit the correction.

    Parameters
    ----------
    vectors, scalars: of :func:`correction_features`, for training images that the arrangements did not contain.
    deviation: (N, P, 2) marked point less local point, in object sizes; anything where not visible.
    visible: (N, P).
    mirror: (P,) the part that each part becomes in a mirrored image.

    Returns
    -------
    (D, P, 2) coefficients, zero where no correction did better, and the chosen strength.
    """
    flip = np.array([-1.0, 1.0])
    features = np.concatenate(
        [design(vectors, scalars), design(vectors[:, mirror] * np.tile(flip, 2), scalars[:, mirror])]
    )
    spread = features.std(axis=0) + 1e-3
    spread[-1] = 1.0
    features = features / spread
    target = np.clip(
        np.nan_to_num(np.concatenate([deviation, deviation[:, mirror] * flip])), -LONGEST, LONGEST
    )
    shown = np.concatenate([visible, visible[:, mirror]])
    fold = np.tile(np.arange(len(vectors)) % FOLDS, 2)
    plain = np.linalg.norm(target, axis=2)[shown].sum()
    errors = np.zeros(len(STRENGTHS))
    if len(vectors) >= FOLDS:
        for index in range(FOLDS):
            test = fold == index
            fitted = _solve(features[~test], target[~test], shown[~test], STRENGTHS)
            guess = np.einsum("nd,sdpx->snpx", features[test], fitted)
            errors += (np.linalg.norm(target[test] - guess, axis=3) * shown[test]).sum(axis=(1, 2))
    best = int(errors.argmin())
    if len(vectors) < FOLDS or errors[best] >= plain:
        return np.zeros((features.shape[1], target.shape[1], 2)), float("inf")
    fitted = _solve(features, target, shown, STRENGTHS[best : best + 1])[0]
    return fitted / spread[:, None, None], STRENGTHS[best]


def _solve(
    features: FloatArray, target: FloatArray, shown: BoolArray, strengths: Sequence[float]
) -> FloatArray:
    """Return coefficients (S, D, P, 2) for every strength."""
    parts = target.shape[1]
    fitted = np.zeros((len(strengths), features.shape[1], parts, 2))
    eye = np.eye(features.shape[1])
    for part in range(parts):
        rows, wanted = features[shown[:, part]], target[shown[:, part], part]
        if not len(rows):
            continue
        # The weights come from the middle strength: they say which images are mistakes, and that hardly depends on it.
        weight = np.ones(len(rows))
        for turn in range(ROUNDS + 1):
            weighted = rows * weight[:, None]
            gram, right = weighted.T @ rows, weighted.T @ wanted
            if turn == ROUNDS:
                break
            middle = strengths[len(strengths) // 2] * weight.mean()
            residual = wanted - rows @ np.linalg.solve(gram + middle * eye, right)
            weight = 1 / np.sqrt((residual**2).sum(axis=1) + FLOOR**2)
        for index, strength in enumerate(strengths):
            fitted[index, :, part] = np.linalg.solve(gram + strength * weight.mean() * eye, right)
    return fitted
