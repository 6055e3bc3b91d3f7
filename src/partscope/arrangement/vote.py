"""The vote: what the whole arrangement says about each part's visibility, in closed form.

Whether a back or a belly can be seen depends on how the object stands, and that shows in all parts together. A ridge
regression per part predicts its visibility from every part's place and signs. All parts share one matrix, so it costs one
decomposition. Training images count twice, as they are and mirrored. The votes of the training images come from
regressions that did not see them, neither as they are nor mirrored: they are as good as those of new images, and can be
weighed against other signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.arrangement.decoding import Decoded

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Ridge strengths that are compared by leaving images out.
STRENGTHS = (30.0, 100.0, 300.0, 1000.0)
#: Groups of images that are left out in turn; with fewer images there is no vote but the base rate.
FOLDS = 8


@dataclass(frozen=True, eq=False)
class Vote:
    """A linear vote for the visibility of each part.

    Parameters
    ----------
    weights: (D + 1, P) coefficients; the last row is the constant.
    """

    weights: FloatArray

    def __call__(self, found: Decoded, signs: FloatArray) -> FloatArray:
        """Return the vote (P,): about 1 for a part that is visible, about 0 for one that is not.

        Parameters
        ----------
        signs: (P, S), of the image.
        """
        row = vote_features([found], signs[None])[0]
        return np.asarray(row @ self.weights[:-1] + self.weights[-1])


def vote_features(decoded: Sequence[Decoded], signs: FloatArray) -> FloatArray:
    """Return (N, P·(2 + S)): each part's place relative to the arrangement's centre in object sizes, and its signs."""
    return _join(_places(decoded), signs)


def fit_vote(
    decoded: Sequence[Decoded], signs: FloatArray, visible: BoolArray, mirror: NDArray[np.intp]
) -> tuple[Vote, FloatArray]:
    """Fit the vote.

    Parameters
    ----------
    decoded: what was found in N training images, each without its own arrangement.
    signs: (N, P, S).
    visible: (N, P).
    mirror: (P,) the part that each part becomes in a mirrored image.

    Returns
    -------
    The vote, and the votes (N, P) of the training images by regressions that left them out.
    """
    places = _places(decoded)
    features = np.concatenate(
        [_join(places, signs), _join(places[:, mirror] * (-1.0, 1.0), signs[:, mirror])]
    )
    target = np.concatenate([visible, visible[:, mirror]]).astype(np.float64)
    images = len(visible)
    if images < FOLDS:
        rate = target.mean(axis=0)
        weights = np.concatenate([np.zeros((features.shape[1], len(rate))), rate[None]])
        return Vote(weights), np.tile(rate, (images, 1))
    fold = np.tile(np.arange(images) % FOLDS, 2)
    held = np.empty((len(STRENGTHS), *target.shape))
    for index in range(FOLDS):
        test = fold == index
        for row, weights in enumerate(_ridge(features[~test], target[~test], STRENGTHS)):
            held[row, test] = features[test] @ weights[:-1] + weights[-1]
    best = int(((held - target) ** 2).sum(axis=(1, 2)).argmin())
    return Vote(_ridge(features, target, STRENGTHS[best : best + 1])[0]), held[best, :images]


def _ridge(features: FloatArray, target: FloatArray, strengths: Sequence[float]) -> list[FloatArray]:
    """Return (D + 1, P) coefficients for every strength; features are standardised, the constant is not penalised."""
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-3
    scaled = (features - centre) / spread
    values, basis = np.linalg.eigh(scaled.T @ scaled)
    right = basis.T @ (scaled.T @ (target - target.mean(axis=0)))
    result = []
    for strength in strengths:
        weights = basis @ (right / (np.maximum(values, 0.0) + strength)[:, None]) / spread[:, None]
        result.append(np.concatenate([weights, (target.mean(axis=0) - centre @ weights)[None]]))
    return result


def _places(decoded: Sequence[Decoded]) -> FloatArray:
    size = np.array([found.size for found in decoded])[:, None, None]
    local = np.array([found.local for found in decoded])
    return np.asarray((local - local.mean(axis=1, keepdims=True)) / size)


def _join(places: FloatArray, signs: FloatArray) -> FloatArray:
    return np.concatenate([places, signs], axis=2).reshape(len(places), -1)
