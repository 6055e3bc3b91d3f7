"""Sufficient statistics, discriminants from them, and the evidence's decoding."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from partscope.errors import BackboneError, OptionError
from partscope.linear import Statistics, decode, presence, solve


def images(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each image 20 cells of 6 correlated features, the features of 3 parts, and their visibility."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(6, 6))
    means = rng.normal(size=(3, 6)) * 2
    made = []
    for _ in range(count):
        cells = (rng.normal(size=(20, 6)) @ mixing).astype(np.float32)
        parts = (means + rng.normal(size=(3, 6)) @ mixing).astype(np.float32)
        made.append((cells, parts, rng.random(3) < 0.8))
    return made


def gathered(made: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Statistics:
    statistics = Statistics.zeros(3, 6)
    for cells, parts, visible in made:
        statistics.add(cells, parts[None], visible[None])
    return statistics


def same(one: Statistics, other: Statistics, exactly: bool = False) -> None:
    for name, stored in one.to_arrays().items():
        array, wanted = stored.astype(float), other.to_arrays()[name].astype(float)
        if exactly:
            np.testing.assert_array_equal(array, wanted, err_msg=name)
        else:
            np.testing.assert_allclose(array, wanted, rtol=1e-6, atol=1e-9, err_msg=name)


def test_statistics_are_sums_over_images() -> None:
    made = images(8)
    whole = gathered(made)
    same(gathered(made[:3]) + gathered(made[3:]), whole)
    same(whole - gathered(made[5:]), gathered(made[:5]))
    same(gathered(made), whole, exactly=True)
    assert whole.images == 8
    assert whole.outer.dtype == np.float64
    np.testing.assert_allclose(whole.outer, sum(c.T.astype(float) @ c for c, _, _ in made), rtol=1e-5)


def test_statistics_are_stored_to_the_last_bit() -> None:
    whole = gathered(images(5))
    whole.outer = (whole.outer + whole.outer.T) / 2
    restored = Statistics.from_arrays(whole.to_arrays())
    same(restored, whole, exactly=True)
    np.testing.assert_array_equal(restored.outer, whole.outer)


def test_statistics_that_do_not_fit_are_refused() -> None:
    whole = gathered(images(3))
    with pytest.raises(OptionError, match="do not go with"):
        _ = whole + Statistics.zeros(3, 7)
    with pytest.raises(OptionError, match="do not hold them"):
        _ = whole - gathered(images(4))


@pytest.mark.parametrize("name", ["images", "cells", "total", "outer", "shown", "part_total"])
def test_stored_statistics_that_contradict_themselves_are_refused(name: str) -> None:
    arrays = gathered(images(3)).to_arrays()
    for damaged in (arrays[name][:-1], np.full(arrays[name].shape, np.nan)):
        with pytest.raises(ValueError, match="of the statistics"):
            Statistics.from_arrays({**arrays, name: damaged})


def test_discriminants_equal_those_of_scikit_learn() -> None:
    """Two classes, one of which is so small that the shared covariance is that of the other."""
    made = images(200)
    statistics = gathered(made)
    cells = np.concatenate([c for c, _, _ in made]).astype(np.float64)
    covariance = np.cov(cells.T, bias=True)
    shrinkage = 0.2
    found = solve(statistics, shrinkage)
    level = np.trace(covariance) / 6
    for p in range(3):
        at_part = np.array([parts[p] for _, parts, visible in made if visible[p]], dtype=np.float64)
        lda = LinearDiscriminantAnalysis(
            solver="lsqr",
            priors=[0.5, 0.5],
            covariance_estimator=Fixed(covariance + shrinkage * level * np.eye(6)),
        )
        lda.fit(np.concatenate([cells, at_part]), np.r_[np.zeros(len(cells)), np.ones(len(at_part))])
        np.testing.assert_allclose(found.weights[:, p], lda.coef_[0], rtol=1e-3)
        np.testing.assert_allclose(found.bias[p], lda.intercept_[0], rtol=1e-3)


class Fixed:
    """A covariance estimator for scikit-learn that returns one covariance whatever it sees."""

    def __init__(self, covariance: np.ndarray) -> None:
        self.covariance_ = covariance

    def fit(self, values: np.ndarray) -> Fixed:
        return self


def test_a_part_that_no_image_shows_has_no_weights() -> None:
    made = [(cells, parts, np.array([True, False, True])) for cells, parts, _ in images(5)]
    found = solve(gathered(made), 0.1)
    assert not found.weights[:, 1].any()
    assert found.bias[1] == 0


def test_a_singular_covariance_is_made_regular() -> None:
    made = [(np.repeat(c[:, :1], 6, axis=1), p, v) for c, p, v in images(5)]
    assert np.isfinite(solve(gathered(made), 0.1).weights).all()


def test_constant_features_and_bad_shrinkage_are_refused() -> None:
    made = [(np.full_like(c, 3.3), np.full_like(p, 3.3), v) for c, p, v in images(5)]
    with pytest.raises(BackboneError, match="same in every cell"):
        solve(gathered(made), 0.1)
    with pytest.raises(OptionError, match="positive number"):
        solve(gathered(images(5)), 0.0)


def test_decoding_finds_a_peak_between_cells() -> None:
    y, x = np.mgrid[:20, :20]
    peak = np.exp(-(((x + 0.5) / 20 - 0.33) ** 2 + ((y + 0.5) / 20 - 0.71) ** 2) / 0.02)
    np.testing.assert_allclose(decode(peak[None].astype(np.float32))[0], (0.33, 0.71), atol=0.005)


def test_decoding_a_flat_map_gives_the_middle_and_a_mask_is_kept_to() -> None:
    flat = np.full((1, 4, 6), 7.1, dtype=np.float32)
    np.testing.assert_allclose(decode(flat), [[0.5, 0.5]])
    mask = np.zeros((4, 6), dtype=np.bool_)
    mask[1, 2] = True
    ramp = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    np.testing.assert_allclose(decode(ramp, mask), [[2.5 / 6, 1.5 / 4]])


def test_presence_is_bayes_rule() -> None:
    maps = np.log(np.array([[[2.0, 4.0], [1.0, 1.0]]], dtype=np.float32))
    np.testing.assert_allclose(presence(maps, np.array([0.25])), [expit(np.log(2.0 / 3.0))], rtol=1e-6)
    assert presence(maps - 50, np.array([1.0]))[0] < 1e-6
