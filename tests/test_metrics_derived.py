"""A part made of several: the head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError
from partscope.metrics import HEAD_PARTS, mean_of_parts, predictions_with_mean_part, with_mean_part
from partscope.predictions import PartPredictions

NAN = np.nan


def birds() -> PartDataset:
    parts = (*HEAD_PARTS, "left eye", "right eye")
    points = np.full((2, 7, 2), NAN)
    points[0, 0], points[0, 2], points[0, 5] = (10, 20), (30, 40), (1, 1)
    points[1, 6] = (5, 5)
    samples = tuple(
        Sample(str(i), Path(str(i)), (50, 50), points[i], np.isfinite(points[i]).all(axis=1))
        for i in range(2)
    )
    return PartDataset(parts, samples)


def test_mean_of_the_visible_ones():
    points = birds().points
    assert mean_of_parts(points, range(5))[0].tolist() == [20, 30]
    assert np.isnan(mean_of_parts(points, range(5))[1]).all()


def test_head_of_a_data_set():
    data = birds()
    wider = with_mean_part(data)
    assert wider.parts == (*data.parts, "head")
    assert wider.samples[0].points[-1].tolist() == [20, 30]
    assert wider.visible[:, -1].tolist() == [True, False]
    assert np.array_equal(wider.points[:, :-1], data.points, equal_nan=True)
    assert wider.mirror.tolist() == [0, 1, 2, 3, 4, 6, 5, 7]
    assert with_mean_part(data, "eyes", ("left eye", "right eye")).samples[1].points[-1].tolist() == [5, 5]


def test_head_of_predictions():
    shape = (1, 3)
    predictions = PartPredictions(
        ("crown", "beak", "tail"),
        ("a",),
        np.array([[(10.0, 10.0), (NAN, NAN), (90.0, 90.0)]]),
        np.array([[True, False, True]]),
        np.array([[0.5, 0.0, 0.9]]),
        np.ones(shape, bool),
    )
    wider = predictions_with_mean_part(predictions, "head", ("crown", "beak"))
    assert wider.points[0, -1].tolist() == [10, 10]
    assert wider.found[0].tolist() == [True, False, True, True]
    assert wider.score[0, -1] == 0.5
    alone = predictions_with_mean_part(predictions, "head", ("beak",))
    assert not alone.found[0, -1]
    assert alone.score[0, -1] == 0


def test_nothing_is_made_of_something_else():
    with pytest.raises(
        DatasetError, match="'head' is made of 'crwn', which is not a part; nearest names: 'crown'"
    ):
        with_mean_part(birds(), "head", ("crwn",))
    with pytest.raises(DatasetError, match="'beak' already"):
        with_mean_part(birds(), "beak")
    with pytest.raises(DatasetError, match="at least one part"):
        with_mean_part(birds(), "head", ())
