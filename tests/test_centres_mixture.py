"""The mixture against plain numpy loops and against pomegranate, its weights and batches, and degenerate sets."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixtures import FLOOR, blobs, density, sets_of, steps
from partscope.centres import Mixture, PointSets, find_centres, fit_mixture


# -- plain loops -----------------------------------------------------------------------------------------------------------------
def start(x: np.ndarray, w: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the fit starts, as numpy arrays; what the start is has a test of its own."""
    mixture = steps(sets_of((x, w)), 0, floor)
    return mixture.share[0].numpy(), mixture.mean[0].numpy(), mixture.covariance[0].numpy()


def em_step(
    x: np.ndarray, w: np.ndarray, share: np.ndarray, mean: np.ndarray, covariance: np.ndarray, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """One step by the textbook (Bishop 2006, section 9.2.2), every point counted w times."""
    responsibility, log_likelihood = np.zeros((len(x), 2)), 0.0
    for i in range(len(x)):
        joint = [share[j] * density(x[i], mean[j], covariance[j]) for j in (0, 1)]
        responsibility[i] = np.array(joint) / sum(joint)
        log_likelihood += w[i] * math.log(sum(joint))
    new_share, new_mean, new_covariance = np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2, 2))
    for j in (0, 1):
        mass = sum(w[i] * responsibility[i, j] for i in range(len(x)))
        new_share[j] = mass / w.sum()
        new_mean[j] = sum(w[i] * responsibility[i, j] * x[i] for i in range(len(x))) / mass
        for i in range(len(x)):
            d = x[i] - new_mean[j]
            new_covariance[j] += w[i] * responsibility[i, j] * np.outer(d, d) / mass
        new_covariance[j] += floor * np.eye(2)
    return new_share, new_mean, new_covariance, log_likelihood / w.sum()


@pytest.mark.parametrize("floor", [0.0, FLOOR])
def test_both_components_start_at_the_mean_and_one_is_a_third_as_wide(floor: float) -> None:
    x, w = blobs(0)
    share, mean, covariance = start(x, w, floor)
    whole = np.cov(x.T, aweights=w, bias=True)
    np.testing.assert_allclose(share, [0.5, 0.5])
    np.testing.assert_allclose(mean, [np.average(x, axis=0, weights=w)] * 2)
    np.testing.assert_allclose(covariance, np.stack([whole / 9, whole]) + floor * np.eye(2))


@pytest.mark.parametrize("seed", range(4))
def test_every_step_equals_plain_loops(seed: int) -> None:
    x, w = blobs(seed)
    share, mean, covariance = start(x, w, FLOOR)
    for count in range(5):
        found = steps(sets_of((x, w)), count)
        np.testing.assert_allclose(found.share[0], share, rtol=1e-9)
        np.testing.assert_allclose(found.mean[0], mean, rtol=1e-9)
        np.testing.assert_allclose(found.covariance[0], covariance, rtol=1e-8, atol=1e-9)
        assert int(found.iterations[0]) == count
        share, mean, covariance, log_likelihood = em_step(x, w, share, mean, covariance, FLOOR)
        if count:
            before = steps(sets_of((x, w)), count + 1)
            assert float(before.log_likelihood[0]) == pytest.approx(log_likelihood, rel=1e-9)


def test_the_stopping_rule_is_the_growth_of_the_mean_log_likelihood() -> None:
    for seed in range(6):
        x, w = blobs(seed)
        share, mean, covariance = start(x, w, FLOOR)
        earlier, count = -math.inf, 0
        while True:
            share, mean, covariance, now = em_step(x, w, share, mean, covariance, FLOOR)
            count += 1
            if now - earlier < 1e-3:
                break
            earlier = now
        found = fit_mixture(sets_of((x, w)), floor=FLOOR, tolerance=1e-3)
        assert int(found.iterations[0]) == count
        np.testing.assert_allclose(found.mean[0], mean, rtol=1e-8)
        assert float(found.log_likelihood[0]) == pytest.approx(now, rel=1e-9)
        np.testing.assert_allclose(found.centre[0], mean[int(share[1] > share[0])], rtol=1e-8)


# -- pomegranate ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("floor", [0.0, FLOOR])
@pytest.mark.parametrize("count", [1, 7, 25])
def test_the_mixture_is_pomegranates_weighted_mixture(floor: float, count: int) -> None:
    """Same points, weights, start, number of steps and covariance floor, in double precision.

    pomegranate 1.1 accepts `min_cov` but never uses it, so that the floor is added here where it updates a covariance. It
    stops by the *unweighted* sum of log-likelihoods, hence a fixed number of steps; it casts weights to single precision, hence
    weights that single precision holds exactly; and it computes in the precision of a parameter of its own, hence `.double()`. The shares stay in single precision even so.
    """
    threads = torch.get_num_threads()
    gmm = pytest.importorskip("pomegranate.gmm")
    normal = pytest.importorskip("pomegranate.distributions").Normal
    torch.set_num_threads(threads)  # importing pomegranate changes it, for every test that follows

    class Floored(normal):  # type: ignore[misc,valid-type]
        def from_summaries(self) -> None:
            super().from_summaries()
            self.covs += floor * torch.eye(2, dtype=self.covs.dtype)
            self._reset_cache()

    for seed in range(3):
        x, w = blobs(seed, 120)
        share, mean, covariance = start(x, w, floor)
        model = gmm.GeneralMixtureModel(
            [
                Floored(torch.tensor(mean[j]), torch.tensor(covariance[j]), covariance_type="full")
                for j in (0, 1)
            ],
            priors=torch.tensor(share),
            max_iter=count,
            tol=-math.inf,
        ).double()
        for part in (*model.distributions, model):
            part._reset_cache()
        model.fit(torch.from_numpy(x), sample_weight=torch.from_numpy(w)[:, None])
        found = steps(sets_of((x, w)), count, floor)
        theirs = [component.means.numpy() for component in model.distributions]
        covariances = [component.covs.numpy() for component in model.distributions]
        np.testing.assert_allclose(found.mean[0], theirs, rtol=1e-6)
        np.testing.assert_allclose(found.share[0], model.priors.numpy(), rtol=1e-6)
        np.testing.assert_allclose(found.covariance[0], covariances, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found.centre[0], theirs[int(model.priors.argmax())], rtol=1e-6)


# -- weights ---------------------------------------------------------------------------------------------------------------------
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 12))
def test_integer_weights_are_repeated_points(seed: int, count: int) -> None:
    x, _ = blobs(seed)
    times = np.random.default_rng(seed).integers(1, 5, len(x))
    weighted = steps(sets_of((x, times.astype(float))), count)
    repeated = steps(sets_of((np.repeat(x, times, axis=0), np.ones(times.sum()))), count)
    torch.testing.assert_close(weighted.mean, repeated.mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(weighted.share, repeated.share, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(weighted.covariance, repeated.covariance, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(weighted.log_likelihood, repeated.log_likelihood, rtol=1e-8, atol=1e-8)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3), rows=st.integers(1, 30))
def test_padding_and_the_scale_of_the_weights_change_nothing(seed: int, factor: float, rows: int) -> None:
    x, w = blobs(seed)
    plain = fit_mixture(sets_of((x, w)))
    padded = sets_of((x, w))
    padded = PointSets(
        torch.cat([padded.points, torch.full((1, rows, 2), 1e3, dtype=torch.float64)], dim=1),
        torch.cat([padded.weights * factor, torch.zeros(1, rows, dtype=torch.float64)], dim=1),
    )
    torch.testing.assert_close(fit_mixture(padded).mean, plain.mean, rtol=1e-7, atol=1e-7)


# -- likelihood --------------------------------------------------------------------------------------------------------------------
def log_likelihood(mixture: Mixture, x: np.ndarray, w: np.ndarray) -> float:
    total = 0.0
    share, mean, covariance = (t[0].numpy() for t in (mixture.share, mixture.mean, mixture.covariance))
    for point, weight in zip(x, w / w.sum(), strict=True):
        total += weight * math.log(sum(share[j] * density(point, mean[j], covariance[j]) for j in (0, 1)))
    return total


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_likelihood_never_falls(seed: int) -> None:
    # Without a floor: this is the guarantee of EM, which adding to a covariance is not part of.
    x, w = blobs(seed)
    values = [log_likelihood(steps(sets_of((x, w)), count, 0.0), x, w) for count in range(12)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(values))
    assert values[-1] > values[0]


def test_the_components_are_found() -> None:
    """Where the truth is known and well apart, the fit recovers it."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal((50, 40), (2, 4), (3000, 2)), rng.normal((20, 80), (6, 3), (1000, 2))])
    found = fit_mixture(sets_of((x, np.ones(4000))), floor=0.0, tolerance=1e-9, max_iterations=500)
    heavy = int(found.heavier[0])
    np.testing.assert_allclose(found.mean[0, heavy], (50, 40), atol=0.3)
    np.testing.assert_allclose(found.mean[0, 1 - heavy], (20, 80), atol=0.7)
    np.testing.assert_allclose(found.share[0, heavy], 0.75, atol=0.01)
    np.testing.assert_allclose(found.covariance[0, heavy], np.diag((4, 16)), atol=1)


# -- batches -----------------------------------------------------------------------------------------------------------------------
@settings(max_examples=15)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=12),
    sizes=st.lists(st.integers(3, 60), min_size=12, max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_a_set_is_fitted_alike_alone_and_in_any_batch(
    seeds: list[int], sizes: list[int], order: object
) -> None:
    pairs = [blobs(seed, size) for seed, size in zip(seeds, sizes, strict=False)]
    together = fit_mixture(sets_of(*pairs))
    for row, pair in enumerate(pairs):
        alone = fit_mixture(sets_of(pair))
        torch.testing.assert_close(together.mean[row], alone.mean[0], rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(together.share[row], alone.share[0], rtol=1e-8, atol=1e-8)
        assert together.iterations[row] == alone.iterations[0]


def test_many_sets_finish_each_in_its_own_time() -> None:
    pairs = [blobs(seed, 12 + seed % 30) for seed in range(150)]
    together = fit_mixture(sets_of(*pairs), tolerance=1e-6)
    assert len(set(together.iterations.tolist())) > 10
    for row in range(0, 150, 7):
        alone = fit_mixture(sets_of(pairs[row]), tolerance=1e-6)
        assert together.iterations[row] == alone.iterations[0]
        torch.testing.assert_close(together.mean[row], alone.mean[0], rtol=1e-8, atol=1e-8)


def test_the_same_input_gives_the_same_bytes() -> None:
    maps = torch.rand(20, 40, 40, generator=torch.Generator().manual_seed(0)) ** 8
    first, second = find_centres(maps).points, find_centres(maps.clone()).points
    assert torch.equal(first, second)


# -- degenerate sets --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_single_point_is_its_own_mixture(dtype: torch.dtype) -> None:
    found = fit_mixture(sets_of((np.array([[300.5, 7.5]]), np.ones(1)), dtype=dtype))
    assert found.centre[0].tolist() == pytest.approx([300.5, 7.5])
    torch.testing.assert_close(found.covariance[0], FLOOR * torch.eye(2, dtype=dtype).expand(2, 2, 2))


def test_a_line_has_its_centre_on_the_line() -> None:
    x = np.stack([np.arange(30) + 0.5, 2 * np.arange(30) + 4.5], axis=1)
    for points in (x, x[:, ::-1].copy(), np.stack([x[:, 0], np.full(30, 3.5)], axis=1)):
        found = fit_mixture(sets_of((points, np.linspace(1, 2, 30))))
        assert torch.isfinite(found.mean).all()
        direction, start_ = points[1] - points[0], points[0]
        for mean in found.mean[0].numpy():
            offset = mean - start_
            assert direction[0] * offset[1] - direction[1] * offset[0] == pytest.approx(0, abs=1e-6)


def test_a_set_without_weight_has_no_mean_and_does_not_disturb_the_others() -> None:
    x, w = blobs(1)
    sets = sets_of((x, w), (x, w), (x, w))
    sets.weights[1] = 0
    found, alone = fit_mixture(sets), fit_mixture(sets_of((x, w)))
    assert torch.isnan(found.mean[1]).all()
    assert torch.isnan(found.centre[1]).all()
    for row in (0, 2):
        torch.testing.assert_close(found.mean[row], alone.mean[0])
    nothing = fit_mixture(PointSets(torch.zeros(3, 1, 2), torch.zeros(3, 1)))
    assert torch.isnan(nothing.centre).all()
    assert fit_mixture(PointSets(torch.zeros(0, 4, 2), torch.zeros(0, 4))).centre.shape == (0, 2)
