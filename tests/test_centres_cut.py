"""The points of a map that are fitted: what reaches the quantile of the pixels inside the mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partscope.centres import PointSets, cut_points
from partscope.errors import OptionError


def plain_cut(
    values: np.ndarray, quantile: float, mask: np.ndarray | None
) -> dict[tuple[float, float], float]:
    """Pixels whose value reaches the quantile of the pixels inside the mask, with their share of the sum."""
    inside = values[mask] if mask is not None else values.ravel()
    if not inside.size:
        return {}
    ordered = sorted(inside.tolist())
    threshold = ordered[math.ceil(round(quantile * (len(ordered) - 1), 9))]
    kept = {}
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if (mask is None or mask[i, j]) and values[i, j] >= threshold and values[i, j] > 0:
                kept[(j + 0.5, i + 0.5)] = float(values[i, j])
    total = sum(kept.values())
    return {place: value / total for place, value in kept.items()}


def as_dict(sets: PointSets, row: int) -> dict[tuple[float, float], float]:
    return {
        (float(x), float(y)): float(w)
        for (x, y), w in zip(sets.points[row].tolist(), sets.weights[row].tolist(), strict=True)
        if w > 0
    }


@given(
    seed=st.integers(0, 10**6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    quantile=st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.55, 0.7, 0.8, 0.9, 0.95, 0.999]),
    levels=st.sampled_from([1, 2, 3, 1000]),
    masked=st.booleans(),
)
def test_the_cut_keeps_what_reaches_the_quantile_inside_the_mask(
    seed: int, height: int, width: int, quantile: float, levels: int, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels + 1, (3, height, width)) / 4  # few levels make ties
    mask = rng.random((height, width)) < 0.6 if masked else None
    found = cut_points(torch.from_numpy(values), quantile, None if mask is None else torch.from_numpy(mask))
    for row in range(3):
        expected = plain_cut(values[row], quantile, mask)
        assert as_dict(found, row) == pytest.approx(expected)


def test_the_cut_is_that_of_numpys_quantile() -> None:
    rng = np.random.default_rng(0)
    for n in (5, 10, 11, 21, 100, 101, 1000):
        values = rng.random((1, 1, n))
        for quantile in (0.0, 0.5, 0.8, 0.9, 0.95):
            kept = (cut_points(torch.from_numpy(values), quantile).weights > 0).sum()
            assert int(kept) == int((values >= np.quantile(values, quantile)).sum())
    assert (cut_points(torch.rand(1, 100, 100), 0.9).weights > 0).sum() == 1000


def test_the_quantile_is_taken_inside_the_mask() -> None:
    """Protocol, section 4: over the whole map, a small bright box would not be cut at all."""
    values = torch.rand(1, 40, 40, dtype=torch.float64) * 0.1
    values[0, 10:20, 10:20] = torch.arange(1, 101, dtype=torch.float64).reshape(10, 10)
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[10:20, 10:20] = True
    kept = as_dict(cut_points(values, 0.9, mask), 0)
    # ceil(0.9·99) = 90: the ten largest.
    assert len(kept) == 10
    assert set(kept) == {(10.5 + j, 19.5) for j in range(10)}
    assert kept[(19.5, 19.5)] == pytest.approx(100 / sum(range(91, 101)))


@pytest.mark.parametrize("quantile", [-0.1, 1.0, 2.0, math.nan])
def test_a_quantile_out_of_range_is_refused(quantile: float) -> None:
    with pytest.raises(OptionError, match=r"must lie in \[0, 1\)"):
        cut_points(torch.ones(1, 3, 3), quantile)
