"""NMI and ARI between discovered and named parts."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.errors import DatasetError
from partscope.metrics import part_agreement, strongest_part

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=2, max_size=30)


def entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@given(LABELS)
def test_both_measures_follow_their_definitions(pairs: list[tuple[int, int]]) -> None:
    found, true = (np.array(column) for column in zip(*pairs, strict=True))
    table = np.zeros((4, 5))
    np.add.at(table, (found, true), 1)
    rows, columns = entropy(table.sum(axis=1)), entropy(table.sum(axis=0))
    shared = rows + columns - entropy(table.ravel())
    together = [(found[i] == found[j], true[i] == true[j]) for i, j in combinations(range(len(found)), 2)]
    both, first, second = (
        sum(a and b for a, b in together),
        sum(a for a, _ in together),
        sum(b for _, b in together),
    )
    expected = first * second / len(together)
    highest = (first + second) / 2

    result = part_agreement(found, true)
    assert result.keypoints == len(pairs)
    if rows + columns > 0:
        assert result.nmi == pytest.approx(2 * shared / (rows + columns), abs=1e-9)
    if not math.isclose(highest, expected):
        assert result.ari == pytest.approx((both - expected) / (highest - expected), abs=1e-9)


def test_the_names_of_discovered_parts_do_not_matter() -> None:
    true = np.array([0, 0, 1, 1, 2, 2])
    assert part_agreement([5, 5, 3, 3, 9, 9], true) == part_agreement(true, true)
    assert part_agreement(true, true).nmi == pytest.approx(1.0)
    assert part_agreement(np.zeros(6), true).ari == 0.0


def test_the_strongest_part_is_read_between_the_cells() -> None:
    ramp = np.tile(np.arange(4.0), (3, 1))  # rises to the right: 0 at x = 1/8, 3 at x = 7/8
    maps = np.stack([ramp, np.full((3, 4), 1.25)])
    crossing = (1.25 + 0.5) / 4
    points = np.array([[crossing - 0.01, 0.5], [crossing + 0.01, 0.5], [0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(strongest_part(maps, points), [1, 0, 1, 0])
    down = np.stack([ramp.T[:3, :1] @ np.ones((1, 4)), np.full((3, 4), 1.5)])
    np.testing.assert_array_equal(strongest_part(down, [[0.5, 0.1], [0.5, 0.9]]), [1, 0])


@pytest.mark.parametrize(
    ("maps", "points"),
    [
        (np.zeros((2, 3)), np.zeros((1, 2))),
        (np.zeros((0, 3, 3)), np.zeros((1, 2))),
        (np.zeros((2, 3, 3)), np.zeros((1, 3))),
        (np.zeros((2, 3, 3)), np.full((1, 2), np.nan)),
    ],
)
def test_what_cannot_be_read_is_refused(maps: np.ndarray, points: np.ndarray) -> None:
    with pytest.raises(DatasetError, match="strongest part"):
        strongest_part(maps, points)


def test_labels_must_belong_together() -> None:
    with pytest.raises(DatasetError, match="one true part per keypoint"):
        part_agreement([0, 1], [0])
    with pytest.raises(DatasetError, match="one true part per keypoint"):
        part_agreement([], [])
