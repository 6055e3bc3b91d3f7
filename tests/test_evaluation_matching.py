"""`evaluate`: images match by id and parts by name; the rest is counted or refused."""

from __future__ import annotations

import numpy as np
import pytest

from evaluated import DRAWS, NOWHERE, PARTS, make_dataset, predict, single
from partscope.dataset import PartDataset, Skipped
from partscope.errors import DatasetError, OptionError
from partscope.evaluation import evaluate
from partscope.predictions import PartPredictions


def test_images_match_by_id_and_the_rest_is_counted():
    test = make_dataset(12)
    guess = predict(test, 13)
    failures = (Skipped(test.ids[0], "truncated"),)
    some = guess[2:]
    extra = PartPredictions(
        some.parts, (*some.ids[:-1], "elsewhere"), some.points, some.found, some.score, some.visible, failures
    )
    result = evaluate(extra, test, draws=DRAWS)
    assert result.ids == test.ids[2:-1]
    assert result.failures == failures
    assert result.row()["failures"] == 1
    for note in (
        "images that could not be read, left out: 1",
        "images without a prediction, left out: 2 (the first: 001)",
        "predicted images that are not in the data set, left out: 1",
    ):
        assert note in result.notes
    whole = evaluate(guess, test, draws=DRAWS)
    assert np.array_equal(whole.errors[2:-1], result.errors, equal_nan=True)


def test_parts_match_by_name_and_the_rest_is_named():
    test = make_dataset(14)
    guess = predict(test, 15)
    other = PartPredictions(
        ("tail", "crest", "beak", "left wing"),
        guess.ids,
        guess.points,
        guess.found,
        guess.score,
        guess.visible,
    )
    result = evaluate(other, test, draws=DRAWS)
    assert result.parts == ("beak", "left wing", "tail")
    assert "parts annotated but not predicted, counted nowhere: right wing" in result.notes
    assert "parts predicted but not annotated, counted nowhere: crest" in result.notes
    assert result.exchanged.total == 0
    tail = np.linalg.norm(guess.points[:, 0] - test.points[:, 3], axis=1)
    assert np.allclose(result.distances[:, 2], tail, equal_nan=True)


def test_images_without_a_visible_part_count_nowhere():
    seen, hidden = make_dataset(16, 3), single([NOWHERE] * 4)
    both = PartDataset(PARTS, (*seen.samples, *hidden.samples), notes=("a remark",))
    result = evaluate(predict(both, 17), both, draws=DRAWS)
    assert len(result.ids) == 3
    assert result.notes == (
        "a remark",
        "images without a visible part, counted nowhere: 1",
        "there is no prior relative to the image, so there is no skill",
    )


def test_what_does_not_fit_is_refused():
    test = make_dataset(23)
    guess = predict(test, 24)
    renamed = PartPredictions(
        ("beaks", "b", "c", "d"), guess.ids, guess.points, guess.found, guess.score, guess.visible
    )
    with pytest.raises(DatasetError, match="nearest annotated ones are 'beak'"):
        evaluate(renamed, test)
    with pytest.raises(DatasetError, match="the image '000' occurs more than once"):
        evaluate(guess[[0, 0]], test)
    twice = PartPredictions(("tail",) * 4, guess.ids, guess.points, guess.found, guess.score, guess.visible)
    with pytest.raises(DatasetError, match="the part 'tail' occurs more than once"):
        evaluate(twice, test)
    with pytest.raises(
        DatasetError, match="first ids are '000' in the predictions and 'only' in the data set"
    ):
        evaluate(guess, single([(1, 1), (2, 2), NOWHERE, NOWHERE]))
    hidden = single([NOWHERE] * 4)
    with pytest.raises(DatasetError, match="nothing to evaluate"):
        evaluate(predict(hidden, 0), hidden)
    for options, message in (
        ({"info": {"model": "x"}}, "unknown key 'model'"),
        ({"info": {"region": "full"}}, "not 'full'"),
        ({"fallback": "centre"}, "not 'centre'"),
        ({"on_error": "ignore"}, "not 'ignore'"),
        ({"draws": 0}, "not 0"),
    ):
        with pytest.raises(OptionError, match=message):
            evaluate(guess, test, **options)
