"""The mixture under the symmetries that it must have: shifts, flips, brightness and scale, and in single precision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mixtures import blob_map, blobs, sets_of, steps, uneven
from partscope.centres import Mixture, find_centres


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), dx=st.integers(-60, 60), dy=st.integers(-60, 60))
def test_a_shifted_map_has_a_shifted_centre(seed: int, dx: int, dy: int) -> None:
    maps = blob_map(seed)
    assume(uneven(maps))
    frame = torch.zeros(2, 180, 180, dtype=torch.float64)
    frame[0, 60:108, 60:108] = maps[0]
    frame[1, 60 + dy : 108 + dy, 60 + dx : 108 + dx] = maps[0]
    found = find_centres(frame).points
    torch.testing.assert_close(found[1] - found[0], torch.tensor([dx, dy]).double(), rtol=0, atol=1e-6)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_a_flipped_map_has_a_flipped_centre(seed: int) -> None:
    maps = blob_map(seed)
    assume(uneven(maps))
    (x, y), side = find_centres(maps).points[0].tolist(), maps.shape[-1]
    for flipped, expected in (
        (maps.flip(2), (side - x, y)),
        (maps.flip(1), (x, side - y)),
        (maps.flip(1, 2), (side - x, side - y)),
        (maps.mT, (y, x)),
    ):
        assert find_centres(flipped).points[0].tolist() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), factor=st.sampled_from([1e-40, 1e-30, 1e-9, 0.1, 3.0, 1e9, 1e30]))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_brighter_map_has_the_same_centre(seed: int, factor: float, dtype: torch.dtype) -> None:
    assume(dtype == torch.float64 or factor >= 1e-30)
    maps = blob_map(seed)
    assume(uneven(maps))
    found = find_centres((maps * factor).to(dtype)).points.double()
    # One pixel more or less at the cut moves a centre by less than a tenth of a pixel.
    atol = 1e-6 if dtype == torch.float64 else 0.1
    torch.testing.assert_close(found, find_centres(maps).points, rtol=0, atol=atol)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.05, 20), floor=st.sampled_from([0.0, 0.5, 4.0]))
def test_stretched_points_have_a_stretched_mixture(seed: int, factor: float, floor: float) -> None:
    x, w = blobs(seed)
    plain, stretched = (
        steps(sets_of((x, w)), 10, floor),
        steps(sets_of((x * factor, w)), 10, floor * factor**2),
    )
    torch.testing.assert_close(stretched.mean, plain.mean * factor, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(stretched.covariance, plain.covariance * factor**2, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(stretched.share, plain.share, rtol=1e-7, atol=1e-9)


def test_the_centre_is_the_mean_of_the_heavier_component_and_a_tie_goes_to_the_first() -> None:
    share = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.51, 0.49]])
    mean = torch.arange(12.0).reshape(3, 2, 2)
    mixture = Mixture(
        share, mean, torch.eye(2).expand(3, 2, 2, 2), torch.zeros(3), torch.zeros(3, dtype=torch.long)
    )
    assert mixture.heavier.tolist() == [1, 0, 0]
    assert mixture.centre.tolist() == [[2.0, 3.0], [4.0, 5.0], [8.0, 9.0]]


# -- single precision ----------------------------------------------------------------------------------------------------------------
def test_single_precision_agrees_with_double() -> None:
    maps = torch.cat([blob_map(seed, 96) for seed in range(24)])
    keep = [i for i in range(24) if uneven(maps[i : i + 1])]
    found = find_centres(maps[keep].float()).points.double()
    torch.testing.assert_close(found, find_centres(maps[keep]).points, rtol=0, atol=0.05)
