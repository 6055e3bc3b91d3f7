"""The static prior, recomputed with plain loops."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError, OptionError
from partscope.prior import StaticPrior, prior_predictions


def sample(name, size, points, box=None):
    points = np.array(points, dtype=float)
    return Sample(name, Path(name), size, points, np.isfinite(points).all(axis=1), box)


NOWHERE = (np.nan, np.nan)


@pytest.fixture
def three() -> PartDataset:
    return PartDataset(
        ("head", "tail", "wing"),
        (
            sample("a", (100, 50), [(10, 10), (60, 20), NOWHERE], (0, 0, 80, 40)),
            sample("b", (200, 100), [(40, 50), NOWHERE, NOWHERE], (20, 30, 100, 50)),
            sample("c", (50, 50), [(40, 5), (25, 25), NOWHERE]),
        ),
    )


def test_median_is_taken_over_the_images_in_which_a_part_is_visible(three):
    prior = StaticPrior.fit(three)
    assert prior.image[0] == pytest.approx(
        [statistics.median([0.1, 0.2, 0.8]), statistics.median([0.2, 0.5, 0.1])]
    )
    assert prior.image[1] == pytest.approx([0.55, 0.45])
    assert prior.box[0] == pytest.approx([(10 / 80 + 20 / 100) / 2, (10 / 40 + 20 / 50) / 2])
    assert prior.box[1] == pytest.approx([60 / 80, 20 / 40])
    assert prior.visibility == pytest.approx([1, 2 / 3, 0])


def test_mean_is_an_option(three):
    prior = StaticPrior.fit(three, statistic="mean")
    assert prior.image[0] == pytest.approx([1.1 / 3, 0.8 / 3])
    with pytest.raises(OptionError, match="'mode'"):
        StaticPrior.fit(three, statistic="mode")  # type: ignore[arg-type]


def test_a_part_that_is_never_visible_has_no_position(three):
    prior = StaticPrior.fit(three)
    assert np.isnan(prior.image[2]).all()
    assert np.isnan(prior.box[2]).all()


def test_without_boxes_there_is_no_box_prior(three):
    boxless = PartDataset(three.parts, tuple(s.with_box(None) for s in three))
    prior = StaticPrior.fit(boxless)
    assert not prior.has_box
    assert np.isnan(prior.box).all()
    assert np.array_equal(prior.image, StaticPrior.fit(three).image, equal_nan=True)


def test_no_visible_part_is_an_error(three):
    hidden = PartDataset(three.parts, (sample("x", (10, 10), [NOWHERE] * 3),), name="birds")
    for empty in (hidden, three[[]]):
        with pytest.raises(DatasetError, match="no part is visible"):
            StaticPrior.fit(empty)


def test_positions_are_pixels(three):
    prior = StaticPrior.fit(three)
    in_image = prior.positions([(100, 200), (50, 50)])
    assert in_image.shape == (2, 3, 2)
    assert in_image[0, 1] == pytest.approx([55, 90])
    boxes = [(10, 20, 80, 40), (np.nan,) * 4]
    in_box = prior.positions([(100, 200), (50, 50)], boxes, kind="box")
    assert in_box[0, 1] == pytest.approx([10 + 0.75 * 80, 20 + 0.5 * 40])
    assert np.isnan(in_box[1]).all()


def test_positions_refuse_what_they_cannot_use(three):
    prior = StaticPrior.fit(three)
    with pytest.raises(OptionError, match="needs the boxes"):
        prior.positions([(10, 10)], kind="box")
    with pytest.raises(OptionError, match="'centre'"):
        prior.positions([(10, 10)], kind="centre")  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"\(1, 4\)"):
        prior.positions([(10, 10)], [(0, 0, 1, 1)] * 2, kind="box")


def test_arrays_round_trip(three):
    prior = StaticPrior.fit(three, statistic="mean")
    again = StaticPrior.from_arrays(prior.parts, prior.to_arrays(), prior.statistic)
    for name in ("image", "box", "visibility"):
        assert np.array_equal(getattr(again, name), getattr(prior, name), equal_nan=True)
    assert (again.parts, again.statistic) == (prior.parts, "mean")
    arrays = prior.to_arrays()
    del arrays["box"]
    with pytest.raises(DatasetError, match="'box' is missing"):
        StaticPrior.from_arrays(prior.parts, arrays)
    with pytest.raises(DatasetError, match=r"shape \(2, 2\)"):
        StaticPrior.from_arrays(prior.parts[:2], prior.to_arrays())


def test_aligned_gives_unknown_parts_no_position(three):
    prior = StaticPrior.fit(three).aligned(["tail", "crest"])
    assert prior.parts == ("tail", "crest")
    assert prior.image[0] == pytest.approx([0.55, 0.45])
    assert np.isnan(prior.image[1]).all()
    assert prior.visibility.tolist() == pytest.approx([2 / 3, 0])


def test_predictions_of_the_prior(three):
    prior = StaticPrior.fit(three)
    found = prior_predictions(prior, three, "box")
    assert found.ids == three.ids
    assert found.found.tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert found.score[0] == pytest.approx([1, 2 / 3, 0])
    assert found.visible[0].tolist() == [True, True, False]
    assert prior_predictions(prior, three).found[2].tolist() == [True, True, False]


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.integers(1, 400), st.floats(0, 1), st.floats(0, 1)), min_size=1
    ),
    st.sampled_from(["median", "mean"]),
)
def test_prior_is_relative(rows, statistic):
    """Enlarging the images changes nothing, and the prior lies between the smallest and largest position."""
    fits = []
    for factor in (1, 3):
        samples = [
            sample(
                str(i),
                (w * factor, h * factor),
                [(x * w * factor, y * h * factor)],
                (0, 0, w * factor, h * factor),
            )
            for i, (w, h, x, y) in enumerate(rows)
        ]
        fits.append(StaticPrior.fit(PartDataset(("p",), tuple(samples)), statistic=statistic))
    assert fits[0].image == pytest.approx(fits[1].image, abs=1e-9)
    assert fits[0].box == pytest.approx(fits[0].image, abs=1e-9)
    low, high = np.min(np.array(rows)[:, 2:], axis=0), np.max(np.array(rows)[:, 2:], axis=0)
    assert (fits[0].image[0] >= low - 1e-9).all()
    assert (fits[0].image[0] <= high + 1e-9).all()
