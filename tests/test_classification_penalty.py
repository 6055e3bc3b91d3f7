"""The choice of C: it goes on while held-out images get better, and ends beside the best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.classification.penalty import HIGHEST, LOWEST, PATIENCE, TriedC, choose_penalty

IMAGES = 100


def searched(right: dict[int, int], first: int, default: int = 0) -> tuple[float, list[float]]:
    """The exponent taken and those tried, for numbers of images that are right by exponent."""
    best, tried = choose_penalty(lambda e: TriedC(10.0**e, right.get(e, default), IMAGES), first)
    return best.C, [one.C for one in tried]


def powers(*exponents: int) -> list[float]:
    return [10.0**e for e in exponents]


def test_a_peak_above_is_followed_beyond_any_list() -> None:
    right = {-3: 50, -2: 60, -1: 70, 0: 80, 1: 81, 2: 82, 3: 82, 4: 81}
    assert searched(right, -3) == (100.0, powers(-3, -2, -1, 0, 1, 2, 3, 4))


def test_a_peak_below_is_found_after_two_steps_up() -> None:
    right = {-3: 80, -2: 70, -1: 70, -4: 85, -5: 90, -6: 90, -7: 89}
    assert searched(right, -3) == (1e-5, powers(-7, -6, -5, -4, -3, -2, -1))


def test_one_worse_value_does_not_end_the_search() -> None:
    assert searched({0: 50, 1: 49, 2: 51, 3: 40, 4: 40}, 0) == (100.0, powers(0, 1, 2, 3, 4))


def test_equal_values_leave_the_first_one_tried() -> None:
    assert searched({}, 0, default=70) == (1.0, powers(-2, -1, 0, 1, 2))


def test_the_search_stops_where_nothing_can_be_better() -> None:
    assert searched({0: 99, 1: IMAGES}, 0) == (10.0, powers(0, 1))


def test_limits_end_it() -> None:
    always_better = {e: e + 20 for e in range(-20, 20)}
    assert searched(always_better, 0)[0] == 10.0**HIGHEST
    always_worse = {e: 20 - e for e in range(-20, 20)}
    best, tried = searched(always_worse, 0)
    assert best == 10.0**LOWEST == tried[0]


@given(
    right=st.lists(st.integers(0, IMAGES - 1), min_size=HIGHEST - LOWEST + 1, max_size=HIGHEST - LOWEST + 1),
    first=st.integers(LOWEST, HIGHEST),
)
def test_the_value_taken_has_no_better_neighbours(right: list[int], first: int) -> None:
    table = dict(zip(range(LOWEST, HIGHEST + 1), right, strict=True))
    best, tried = choose_penalty(lambda e: TriedC(10.0**e, table[e], IMAGES), first)
    assert best.right == max(one.right for one in tried)
    assert [one.C for one in tried] == sorted({one.C for one in tried})
    place = tried.index(best)
    above, below = tried[place + 1 :], tried[:place]
    assert len(above) >= PATIENCE or tried[-1].C == 10.0**HIGHEST
    assert below or best.C == 10.0**LOWEST
    if 10.0**first >= best.C:
        assert len(below) >= PATIENCE or tried[0].C == 10.0**LOWEST


def test_accuracy_is_the_share_of_images() -> None:
    assert TriedC(1.0, 3, 12).accuracy == pytest.approx(0.25)
