from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor

from partscope.centres import CENTRES, Centres, concentration, find_centres, register_centre
from partscope.errors import OptionError

METHODS = ["mixture", "maximum", "smoothed", "centroid"]


def random_maps(seed: int, count: int = 3, height: int = 12, width: int = 17, levels: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if levels:
        return rng.integers(0, levels + 1, (count, height, width)).astype(float)
    return rng.random((count, height, width)) ** 6


# -- each method against plain loops ----------------------------------------------------------------------------------------
def place_of_maximum(values: np.ndarray) -> tuple[float, float]:
    """Mean position of the pixels that hold the largest value."""
    peak = max(values.ravel().tolist())
    hits = [
        (j + 0.5, i + 0.5)
        for i in range(values.shape[0])
        for j in range(values.shape[1])
        if values[i, j] == peak
    ]
    return sum(x for x, _ in hits) / len(hits), sum(y for _, y in hits) / len(hits)


@given(seed=st.integers(0, 10**6), levels=st.sampled_from([0, 1, 2]), masked=st.booleans())
def test_maximum_equals_a_plain_loop(seed: int, levels: int, masked: bool) -> None:
    values = random_maps(seed, levels=levels)
    mask = np.random.default_rng(seed).random(values.shape[1:]) < 0.7 if masked else None
    found = find_centres(
        torch.from_numpy(values), "maximum", None if mask is None else torch.from_numpy(mask)
    )
    for row, value in enumerate(values):
        inside = value if mask is None else np.where(mask, value, 0)
        assert bool(found.found[row]) == bool(inside.max() > 0)
        if inside.max() > 0:
            assert found.points[row].tolist() == pytest.approx(place_of_maximum(inside), abs=1e-9)


@given(
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from([0.3, 0.625, 1.0, 3.0, 7.5]),
    masked=st.booleans(),
    size=st.sampled_from([(12, 17), (1, 9), (40, 5)]),
)
def test_smoothed_equals_scipys_gaussian(
    seed: int, sigma: float, masked: bool, size: tuple[int, int]
) -> None:
    values = random_maps(seed, 2, *size)
    mask = np.random.default_rng(seed).random(size) < 0.7 if masked else np.ones(size, dtype=bool)
    mask[0, 0] = True
    found = find_centres(torch.from_numpy(values), "smoothed", torch.from_numpy(mask), sigma=sigma)
    for row, value in enumerate(values):
        smooth = np.where(mask, gaussian_filter(np.where(mask, value, 0), sigma, mode="constant"), 0)
        assert found.points[row].tolist() == pytest.approx(place_of_maximum(smooth), abs=1e-9)


def test_smoothing_finds_the_broad_blob_and_not_the_bright_pixel() -> None:
    y, x = np.mgrid[:60, :60] + 0.5
    values = np.exp(-((x - 20.5) ** 2 + (y - 30.5) ** 2) / 50)
    values[10, 50] = 3
    maps = torch.from_numpy(values)[None]
    assert find_centres(maps, "maximum").points[0].tolist() == [50.5, 10.5]
    assert find_centres(maps, "smoothed").points[0].tolist() == [20.5, 30.5]


@given(seed=st.integers(0, 10**6), quantile=st.sampled_from([0.0, 0.5, 0.9]), masked=st.booleans())
def test_centroid_equals_a_plain_loop(seed: int, quantile: float, masked: bool) -> None:
    values = random_maps(seed)
    mask = (
        np.random.default_rng(seed).random(values.shape[1:]) < 0.7
        if masked
        else np.ones((12, 17), dtype=bool)
    )
    found = find_centres(torch.from_numpy(values), "centroid", torch.from_numpy(mask), quantile=quantile)
    for row, value in enumerate(values):
        threshold = np.quantile(value[mask], quantile, method="higher")
        total = x = y = 0.0
        for i in range(12):
            for j in range(17):
                if mask[i, j] and value[i, j] >= threshold:
                    total += value[i, j]
                    x += value[i, j] * (j + 0.5)
                    y += value[i, j] * (i + 0.5)
        assert found.points[row].tolist() == pytest.approx((x / total, y / total), abs=1e-9)


# -- what all methods share --------------------------------------------------------------------------------------------------
def one_pixel() -> Tensor:
    maps = torch.zeros(1, 9, 11)
    maps[0, 3, 7] = 2.5
    return maps


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_single_pixel_is_its_own_centre(method: str, dtype: torch.dtype) -> None:
    found = find_centres(one_pixel().to(dtype), method)
    assert found.found.tolist() == [True]
    assert found.points[0].tolist() == pytest.approx([7.5, 3.5], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_without_a_positive_value_is_not_found(method: str) -> None:
    maps = torch.stack(
        [torch.zeros(9, 11), one_pixel()[0], torch.full((9, 11), -1.0), torch.full((9, 11), math.nan)]
    )
    found = find_centres(maps, method)
    assert found.found.tolist() == [False, True, False, False]
    assert torch.isnan(found.points[[0, 2, 3]]).all()
    assert found.points[1].tolist() == pytest.approx([7.5, 3.5], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_values_that_are_not_finite_count_as_nothing(method: str) -> None:
    maps = one_pixel()
    maps[0, 0, 0], maps[0, 8, 10], maps[0, 5, 5], maps[0, 4, 4] = math.nan, math.inf, -math.inf, -7.0
    assert find_centres(maps, method).points[0].tolist() == pytest.approx([7.5, 3.5], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_map_has_its_centre_in_the_middle(method: str) -> None:
    found = find_centres(torch.full((1, 9, 11), 0.3, dtype=torch.float64), method)
    assert found.points[0].tolist() == pytest.approx([5.5, 4.5], abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_line_has_its_centre_on_the_line(method: str) -> None:
    maps = torch.zeros(2, 31, 41, dtype=torch.float64)
    maps[0, 12, 5:30] = torch.linspace(1, 2, 25, dtype=torch.float64)
    maps[1, range(31), range(31)] = torch.linspace(2, 1, 31, dtype=torch.float64)
    points = find_centres(maps, method).points
    assert points[0, 1] == pytest.approx(12.5, abs=1e-6)
    assert 5 < points[0, 0] < 30
    assert points[1, 0] == pytest.approx(float(points[1, 1]), abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_of_one_pixel_and_of_none(method: str) -> None:
    maps, mask = torch.rand(2, 9, 11) + 0.1, torch.zeros(9, 11, dtype=torch.bool)
    nothing = find_centres(maps, method, mask)
    assert not nothing.found.any()
    assert torch.isnan(nothing.points).all()
    mask[6, 2] = True
    found = find_centres(maps, method, mask)
    assert found.found.all()
    for point in found.points.tolist():
        assert point == pytest.approx([2.5, 6.5], abs=1e-5)
    # Positive outside the mask alone: nothing was seen.
    maps[1, 6, 2] = 0
    assert find_centres(maps, method, mask).found.tolist() == [True, False]


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10**6), density=st.floats(0, 1))
@settings(max_examples=15)
def test_a_centre_is_finite_and_inside_whatever_the_map(method: str, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((6, 8, 13)) ** rng.integers(1, 40) * (rng.random((6, 8, 13)) < density)
    mask = torch.from_numpy(rng.random((8, 13)) < 0.5)
    for given_mask in (None, mask):
        found = find_centres(torch.from_numpy(values).float(), method, given_mask)
        points = found.points[found.found]
        assert torch.isfinite(points).all()
        assert ((points >= 0) & (points <= torch.tensor([13.0, 8.0]))).all()
        inside = values if given_mask is None else values * mask.numpy()
        assert found.found.tolist() == (inside.astype(np.float32).max(axis=(1, 2)) > 0).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_the_same_centre_in_every_batch(method: str) -> None:
    maps = torch.from_numpy(random_maps(0, 12, 30, 30))
    maps[3] = (maps[3] > 0.2).double()  # ties, which lengthen the batch's point sets
    maps[7] = 0
    together = find_centres(maps, method).points
    for row in range(12):
        alone = find_centres(maps[row : row + 1], method).points[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-7, equal_nan=True)
    torch.testing.assert_close(
        find_centres(maps.flip(0), method).points.flip(0), together, rtol=0, atol=1e-7, equal_nan=True
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_map_and_the_mask_are_left_alone(method: str) -> None:
    maps, mask = torch.from_numpy(random_maps(0)), torch.ones(12, 17, dtype=torch.bool)
    maps[0, 0, 0] = math.nan
    before = maps.clone()
    find_centres(maps, method, mask)
    torch.testing.assert_close(maps, before, equal_nan=True, rtol=0, atol=0)
    assert mask.all()


@pytest.mark.parametrize("method", METHODS)
def test_no_maps_have_no_centres(method: str) -> None:
    found = find_centres(torch.zeros(0, 5, 5), method)
    assert found.points.shape == (0, 2)
    assert found.found.shape == (0,)
    assert found.found.dtype == torch.bool


def test_options_that_do_not_fit_are_refused() -> None:
    maps = torch.ones(2, 4, 5)
    with pytest.raises(OptionError, match="no centre method 'mixtures'; nearest names: 'mixture'"):
        find_centres(maps, "mixtures")
    with pytest.raises(OptionError, match=r"shape \(M, H, W\), not \(4, 5\)"):
        find_centres(maps[0])
    with pytest.raises(OptionError, match=r"the maps' shape \(4, 5\), not \(5, 4\)"):
        find_centres(maps, "maximum", torch.ones(5, 4, dtype=torch.bool))
    with pytest.raises(OptionError, match="'maximum' has no option 'sigma'"):
        find_centres(maps, "maximum", sigma=3.0)
    with pytest.raises(OptionError, match=r"'mixture' has no option 'sigmas'.*quantile, floor"):
        find_centres(maps, "mixture", sigmas=3.0)
    with pytest.raises(OptionError, match="sigma must be positive, not 0"):
        find_centres(maps, "smoothed", sigma=0)


def test_a_method_of_ones_own() -> None:
    def corner(maps: Tensor, mask: Tensor | None = None, away: float = 0.0) -> Tensor:
        return maps.new_full((len(maps), 2), away)

    register_centre("corner")(corner)
    try:
        found = find_centres(torch.stack([torch.ones(3, 3), torch.zeros(3, 3)]), "corner", away=2.0)
        assert isinstance(found, Centres)
        assert found.points[0].tolist() == [2.0, 2.0]
        assert not found.found[1]

        def broken(maps: Tensor, mask: Tensor | None = None) -> Tensor:
            return len(maps) + "x"  # type: ignore[operator]

        register_centre("corner")(broken)
        with pytest.raises(
            TypeError, match="unsupported operand"
        ):  # a fault in a method is not an unknown option
            find_centres(torch.ones(1, 3, 3), "corner")
    finally:
        del CENTRES["corner"]


# -- concentration --------------------------------------------------------------------------------------------------------------
@given(
    seed=st.integers(0, 10**6),
    radius=st.sampled_from([0.05, 0.1, 0.4]),
    factor=st.sampled_from([1e-38, 1e-9, 1.0, 1e37]),
    masked=st.booleans(),
)
def test_concentration_equals_a_plain_loop(seed: int, radius: float, factor: float, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    values = random_maps(seed).astype(np.float32)
    points = rng.uniform(-2, 20, (3, 2))
    mask = rng.random((12, 17)) < 0.7 if masked else np.ones((12, 17), dtype=bool)
    scaled = torch.from_numpy(values) * factor
    found = concentration(scaled, torch.from_numpy(points), torch.from_numpy(mask), radius)
    reach = radius * math.hypot(12, 17)
    for row in range(3):
        near = total = 0.0
        for i in range(12):
            for j in range(17):
                if mask[i, j]:
                    value = float(scaled[row, i, j]) / factor
                    total += value
                    near += value * (math.hypot(j + 0.5 - points[row, 0], i + 0.5 - points[row, 1]) <= reach)
        assert float(found[row]) == pytest.approx(near / total, abs=1e-4)
        assert 0 <= float(found[row]) <= 1


def test_concentration_of_the_limits() -> None:
    maps = one_pixel().expand(4, 9, 11).clone()
    maps[3] = 0
    points = torch.tensor([[7.5, 3.5], [0.5, 8.5], [math.nan, math.nan], [5.0, 5.0]])
    assert concentration(maps, points).tolist() == [1.0, 0.0, 0.0, 0.0]
    huge = torch.full((1, 50, 50), 3e38)
    found = concentration(huge, torch.tensor([[25.0, 25.0]]))
    assert 0 < float(found) < 1
    broken = one_pixel()
    broken[0, 0, 0], broken[0, 0, 1] = math.inf, math.nan
    assert concentration(broken, torch.tensor([[7.5, 3.5]])).tolist() == [1.0]
