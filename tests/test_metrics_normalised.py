"""Normalised errors and their summaries against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from partscope.metrics import axes_error, diagonal_error, macro_mean, mean, median, part_means, skill

coordinates = arrays(np.float64, (4, 3, 2), elements=st.floats(-500, 500))
lengths = arrays(np.float64, (4, 2), elements=st.floats(1, 500))


@given(coordinates, coordinates, lengths)
def test_errors_equal_plain_loops(guess, truth, sides):
    diagonal = diagonal_error(guess, truth, np.hypot(sides[:, 0], sides[:, 1]))
    axes = axes_error(guess, truth, sides)
    for i in range(4):
        w, h = sides[i]
        for p in range(3):
            dx, dy = guess[i, p] - truth[i, p]
            assert diagonal[i, p] == pytest.approx(math.sqrt(dx**2 + dy**2) / math.sqrt(w**2 + h**2))
            assert axes[i, p] == pytest.approx(math.sqrt((dx / w) ** 2 + (dy / h) ** 2) / math.sqrt(2))


@given(
    coordinates, coordinates, lengths, st.floats(0.1, 20), st.tuples(st.floats(-99, 99), st.floats(-99, 99))
)
def test_errors_do_not_depend_on_the_images_scale_and_origin(guess, truth, sides, factor, shift):
    diagonal = np.hypot(sides[:, 0], sides[:, 1])
    moved = diagonal_error(guess * factor + shift, truth * factor + shift, diagonal * factor)
    assert moved == pytest.approx(diagonal_error(guess, truth, diagonal), abs=1e-8)
    axes = axes_error(guess * factor + shift, truth * factor + shift, sides * factor)
    assert axes == pytest.approx(axes_error(guess, truth, sides), abs=1e-8)


@given(coordinates, coordinates, st.floats(1, 500))
def test_errors_are_equal_for_square_boxes(guess, truth, side):
    sides = np.full((4, 2), side)
    assert axes_error(guess, truth, sides) == pytest.approx(
        diagonal_error(guess, truth, np.full(4, side * math.sqrt(2))), abs=1e-9
    )


def test_errors_differ_for_long_boxes():
    """An error along the short side weighs more in `axes`."""
    guess, truth = np.array([[(0.0, 10.0)]]), np.zeros((1, 1, 2))
    assert (
        axes_error(guess, truth, [(100, 20)])[0, 0]
        > diagonal_error(guess, truth, [math.hypot(100, 20)])[0, 0]
    )


@given(arrays(np.float64, (5, 3), elements=st.floats(0, 10) | st.just(math.nan)))
def test_summaries_equal_plain_loops(errors):
    columns = [[value for value in errors[:, p] if not math.isnan(value)] for p in range(3)]
    pairs = [value for column in columns for value in column]
    means = [sum(column) / len(column) for column in columns if column]
    if not pairs:
        assert math.isnan(mean(errors))
        assert math.isnan(macro_mean(errors))
        assert math.isnan(median(errors))
        return
    assert mean(errors) == pytest.approx(sum(pairs) / len(pairs))
    assert macro_mean(errors) == pytest.approx(sum(means) / len(means))
    middle = sorted(pairs)
    half = len(middle) // 2
    assert median(errors) == pytest.approx(
        middle[half] if len(middle) % 2 else (middle[half - 1] + middle[half]) / 2
    )
    assert np.isnan(part_means(errors)).tolist() == [not column for column in columns]


def test_skill():
    assert skill(0.2, 0.2) == 0
    assert skill(0.0, 0.2) == 1
    assert skill(0.3, 0.2) == pytest.approx(-0.5)
    assert math.isnan(skill(0.1, 0.0))
    assert math.isnan(skill(0.1, math.nan))
