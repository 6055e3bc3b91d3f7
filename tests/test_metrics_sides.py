"""Exchanged sides, definitions (a) and (b)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from partscope.metrics import exchanged_sides, wrong_sides

PAIR = [(0, 1)]
TRUTH = np.array([[(10.0, 10.0), (30.0, 10.0)]])
DIAGONAL = np.array([100.0])


@pytest.mark.parametrize(
    ("guess", "wrong"),
    [
        ([(11.0, 10.0), (29.0, 12.0)], 0.0),
        ([(29.0, 12.0), (11.0, 10.0)], 1.0),
        ([(20.0, 10.0), (20.0, 10.0)], 0.5),  # one point for both sides
        ([(12.0, 10.0), (12.9, 10.0)], 0.5),  # less than 1 % of the diagonal apart
        ([(12.9, 10.0), (12.0, 10.0)], 0.5),
        ([(20.0, 0.0), (20.0, 20.0)], 0.5),  # far apart, but a tie
        ([(32.0, 10.0), (40.0, 10.0)], 0.5),  # both beyond one end: a tie again
        ([(12.0, 10.0), (13.1, 10.0)], 0.0),  # just more than 1 % apart
        ([(12.0, 12.0), (14.0, 10.0)], 0.0),
    ],
)
def test_definition_a(guess, wrong):
    result = exchanged_sides(np.array([guess]), TRUTH, PAIR, DIAGONAL)
    assert (result.wrong, result.total, result.left_out) == (wrong, 1, 0)


def test_definition_a_judges_what_is_visible_and_found():
    nowhere = (math.nan, math.nan)
    truth = np.array([TRUTH[0], TRUTH[0], [(1.0, 1.0), nowhere]])
    guess = np.array([TRUTH[0], [(10.0, 10.0), nowhere], TRUTH[0]])
    result = exchanged_sides(guess, truth, PAIR, np.full(3, 100.0))
    assert (result.wrong, result.total, result.left_out) == (0, 1, 1)
    assert result.share == 0


@given(
    arrays(np.float64, (5, 4, 2), elements=st.integers(0, 100)),
    arrays(np.float64, (5, 4, 2), elements=st.integers(0, 100)),
)
def test_exchanging_the_prediction_exchanges_the_count(guess, truth):
    pairs = [(0, 1), (3, 2)]
    diagonal = np.full(5, 50.0)
    forth = exchanged_sides(guess, truth, pairs, diagonal)
    back = exchanged_sides(guess[:, [1, 0, 3, 2]], truth, pairs, diagonal)
    assert forth.total == 10
    assert forth.wrong + back.wrong == pytest.approx(10)


def test_definition_b():
    visible = np.array([[True, False], [True, False], [False, True], [True, True], [False, False]])
    visibility = np.array([[0.9, 0.2], [0.1, 0.2], [0.3, 0.3], [0.1, 0.9], [0.1, 0.9]])
    result = wrong_sides(visibility, visible, PAIR)
    assert (result.wrong, result.total) == (1.5, 3)
    assert result.share == 0.5


def test_no_case_has_no_share():
    assert math.isnan(wrong_sides(np.ones((1, 2)), np.ones((1, 2), bool), PAIR).share)
    assert exchanged_sides(TRUTH, TRUTH, [], DIAGONAL).total == 0
