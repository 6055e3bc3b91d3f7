"""AUC and calibration of visibility scores against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from partscope.errors import DatasetError
from partscope.metrics import reliability, visibility_auc


def wins(score: np.ndarray, visible: np.ndarray) -> float:
    """Return the share of (visible, hidden) pairs that the score orders rightly; a tie counts half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in score[visible] for b in score[~visible]]
    return float(np.mean(pairs))


def example(images: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    visible = rng.random((images, 4)) < (0.5, 0.6, 0.95, 1.0)
    score = np.clip(0.3 * visible + 0.7 * rng.random(visible.shape), 0, 1).round(1)
    return score, visible


def test_auc_equals_pairwise_comparison() -> None:
    score, visible = example()
    auc = visibility_auc(score, visible)
    assert set(auc.per_part) == {0, 1}, "the others lack 25 images of both kinds"
    for part, value in auc.per_part.items():
        assert value == pytest.approx(wins(score[:, part], visible[:, part]))
    assert auc.macro == pytest.approx(np.mean(list(auc.per_part.values())))
    assert auc.pooled == pytest.approx(wins(score.ravel(), visible.ravel()))
    rates = np.tile(visible.mean(axis=0), (len(visible), 1))
    assert auc.base_rates == pytest.approx(wins(rates.ravel(), visible.ravel()))


def test_base_rates_rank_parts_and_no_image() -> None:
    _, visible = example()
    rates = np.tile(visible.mean(axis=0), (len(visible), 1))
    auc = visibility_auc(rates, visible)
    assert auc.macro == 0.5
    assert auc.pooled == auc.base_rates > 0.6


def test_a_part_counts_from_25_images_of_both_kinds_on() -> None:
    visible = np.zeros((60, 2), bool)
    visible[:25, 0] = visible[:24, 1] = True
    score = visible.astype(float)
    assert visibility_auc(score, visible).per_part == {0: 1.0}
    assert set(visibility_auc(score, visible, least=24).per_part) == {0, 1}
    assert visibility_auc(1 - score, ~visible).per_part == {0: 1.0}


def test_nothing_to_rank() -> None:
    auc = visibility_auc(np.ones((3, 2)), np.ones((3, 2), bool))
    assert np.isnan([auc.macro, auc.pooled, auc.base_rates]).all()
    assert np.isnan(visibility_auc(np.empty((0, 2)), np.empty((0, 2), bool)).pooled)


def test_reliability_equals_plain_loops() -> None:
    score, visible = example()
    bins = reliability(score, visible)
    gap = 0.0
    for k in range(10):
        low, high = k / 10, (k + 1) / 10
        inside = [
            (s, v)
            for s, v in zip(score.ravel(), visible.ravel(), strict=True)
            if low <= s + 1e-12 and (s + 1e-12 < high or k == 9)
        ]
        assert bins.count[k] == len(inside)
        if inside:
            mean, share = np.mean(inside, axis=0)
            assert (bins.score[k], bins.share[k]) == (pytest.approx(mean), pytest.approx(share))
            gap += abs(mean - share) * len(inside) / score.size
        else:
            assert np.isnan(bins.score[k])
    assert bins.expected_calibration_error == pytest.approx(gap)
    assert bins.brier == pytest.approx(brier_score_loss(visible.ravel(), score.ravel()))


@given(seed=st.integers(0, 1000), bins=st.integers(1, 20))
def test_every_pair_is_in_one_bin_and_a_true_probability_is_calibrated(seed: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random((200, 5))
    found = reliability(score, rng.random(score.shape) < score, bins)
    assert found.count.sum() == score.size
    assert found.expected_calibration_error < 0.15
    assert reliability(score, score > 2, bins).expected_calibration_error == pytest.approx(score.mean())


def test_empty_and_wrong_input() -> None:
    empty = reliability(np.empty((0, 2)), np.empty((0, 2), bool))
    assert np.isnan(empty.brier)
    assert np.isnan(empty.expected_calibration_error)
    with pytest.raises(DatasetError, match=r"must both be \(N, P\), not \(3, 2\) and \(2, 2\)"):
        visibility_auc(np.ones((3, 2)), np.ones((2, 2), bool))
    with pytest.raises(DatasetError, match="not finite"):
        visibility_auc(np.full((1, 1), np.nan), np.ones((1, 1), bool))
    with pytest.raises(DatasetError, match=r"not reach from 0\.5 to 1\.5"):
        reliability(np.array([[0.5, 1.5]]), np.ones((1, 2), bool))
