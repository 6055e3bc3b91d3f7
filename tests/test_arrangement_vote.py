"""The vote on visibility against plain ridge regressions, and what it must not see."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from partscope.arrangement.decoding import Decoded
from partscope.arrangement.vote import FOLDS, STRENGTHS, fit_vote, vote_features

MIRROR = np.array([0, 2, 1, 3])


def found(count: int, seed: int = 0) -> tuple[list[Decoded], np.ndarray, np.ndarray]:
    """Return what was found of animals, signs, and visibility: part 1 is seen where the nose points right, 2 where left."""
    rng = np.random.default_rng(seed)
    decoded, visible = [], []
    for _ in range(count):
        side = rng.choice([-1.0, 1.0])
        place = rng.uniform(0.3, 0.7, 2) + np.array([[side * 0.3, 0], [0, 0.1], [0, 0.1], [0, -0.2]])
        place = place + 0.02 * rng.standard_normal(place.shape)
        zero = np.zeros(4)
        decoded.append(Decoded(place, place, zero + 0.1, zero + 0.5, zero, zero, 0.5))
        visible.append([True, side > 0, side < 0, rng.random() > 0.5])
    return decoded, rng.standard_normal((count, 4, 3)), np.array(visible)


def test_the_pose_of_all_parts_tells_what_is_visible() -> None:
    decoded, signs, visible = found(60)
    vote, held = fit_vote(decoded, signs, visible, MIRROR)
    assert held[:, 1][visible[:, 1]].min() > held[:, 1][~visible[:, 1]].max()
    fresh, more, truth = found(20, 1)
    votes = np.array([vote(one, each) for one, each in zip(fresh, more, strict=True)])
    assert votes[:, 2][truth[:, 2]].min() > votes[:, 2][~truth[:, 2]].max()
    assert abs(votes[:, 0] - 1).max() < 0.1


def test_it_is_a_ridge_regression_on_images_and_mirror_images() -> None:
    decoded, signs, visible = found(30)
    vote, _ = fit_vote(decoded, signs, visible, MIRROR)
    flipped = [
        Decoded(d.middle, d.local[MIRROR] * (-1, 1), d.spread, d.share, d.support, d.strength, d.size)
        for d in decoded
    ]
    rows = np.concatenate([vote_features(decoded, signs), vote_features(flipped, signs[:, MIRROR])])
    target = np.concatenate([visible, visible[:, MIRROR]]).astype(float)
    spread = rows.std(axis=0) + 1e-3
    fits = [Ridge(alpha=strength).fit((rows - rows.mean(axis=0)) / spread, target) for strength in STRENGTHS]
    slopes = [fit.coef_.T / spread[:, None] for fit in fits]
    assert min(np.abs(vote.weights[:-1] - slope).max() for slope in slopes) < 1e-9


def test_the_votes_of_training_images_have_not_seen_them() -> None:
    decoded, signs, visible = found(24)
    _, held = fit_vote(decoded, signs, visible, MIRROR)
    changed = visible.copy()
    changed[5] = ~changed[5]
    _, again = fit_vote(decoded, signs, changed, MIRROR)
    group = np.arange(24) % FOLDS == 5 % FOLDS
    np.testing.assert_array_equal(held[group], again[group])
    assert np.abs(held[~group] - again[~group]).max() > 1e-3


def test_with_few_images_the_vote_is_the_base_rate() -> None:
    decoded, signs, visible = found(3)
    vote, held = fit_vote(decoded, signs, visible, MIRROR)
    rate = (visible.mean(axis=0) + visible.mean(axis=0)[MIRROR]) / 2
    np.testing.assert_allclose(held, np.tile(rate, (3, 1)))
    assert vote(decoded[0], signs[0]) == pytest.approx(rate)
