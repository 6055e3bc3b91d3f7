"""`evaluate`: the rules for what was not found, and what an error is measured by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluated import DRAWS, NOWHERE, PARTS, make_dataset, predict, single
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, OptionError
from partscope.evaluation import evaluate
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior


def test_not_found_is_charged_the_fallback_prior_or_the_farthest_corner():
    test = single([(20, 30), (60, 80), NOWHERE, NOWHERE], box=(10, 20, 60, 80), size=(100, 200))
    prior = StaticPrior(
        ("beak",), np.array([(0.5, 0.5)]), np.array([(0.25, 0.25)]), np.ones(1)
    )  # knows no left wing
    shape = (1, 4)
    nothing = PartPredictions(
        PARTS,
        ("only",),
        np.full((1, 4, 2), np.nan),
        np.zeros(shape, bool),
        np.zeros(shape),
        np.zeros(shape, bool),
    )
    image = evaluate(nothing, test, prior, draws=DRAWS)
    assert image.coverage == 0
    assert image.errors[0, 0] == pytest.approx(math.dist((50, 100), (20, 30)) / 100)
    corner = math.dist((0, 200), (60, 80)) / 100
    assert image.errors[0, 1] == pytest.approx(corner)
    assert image.notes[0] == (
        "visible parts not found: 2; given the image prior's position: 1; "
        "for want of a prior charged the distance to the farthest image corner: 1"
    )
    box = evaluate(nothing, test, prior, fallback="box", draws=DRAWS)
    assert box.errors[0, 0] == pytest.approx(math.dist((25, 40), (20, 30)) / 100)
    assert (box.reference, image.reference) == ("box", "image")
    # The prior itself is charged the same where it has no position, so that both are over the same pairs.
    assert box.prior_errors["box"][0, 1] == pytest.approx(corner)
    assert box.skill == pytest.approx(0)
    alone = evaluate(nothing, test, None, draws=DRAWS)
    assert alone.errors[0, 0] == pytest.approx(math.dist((100, 200), (20, 30)) / 100)


def test_box_prior_of_an_image_without_a_box_is_the_image_prior():
    boxed, boxless = make_dataset(9), make_dataset(9, boxes=False)
    mixed = PartDataset(PARTS, (*boxed.samples[:6], *boxless.samples[6:]))
    prior = StaticPrior.fit(boxed)
    guess = predict(mixed, 10, found=0.0)
    result = evaluate(guess, mixed, prior, info={"region": "crop"}, normaliser="image", draws=DRAWS)
    hidden = int(mixed.visible[6:].sum())
    assert f"(for want of a box the image prior's: {hidden})" in result.notes[0]
    assert np.allclose(result.errors[6:], result.prior_errors["image"][6:], equal_nan=True)
    assert result.prior_errors["box"] is not None
    row = evaluate(predict(boxless, 11), boxless, prior, normaliser="image", draws=DRAWS).row()
    assert row["prior"]["box"] is None


def test_data_without_boxes_say_what_stands_in():
    test = make_dataset(18, boxes=False)
    keep = [i for i, sample in enumerate(test) if sample.visible.sum() > 1]
    test = test[keep]
    result = evaluate(predict(test, 19), test, draws=DRAWS)
    assert any("the visible parts' bounding box" in note for note in result.notes)
    lonely = PartDataset(PARTS, (*test.samples, *single([(5, 5), NOWHERE, NOWHERE, NOWHERE]).samples))
    with pytest.raises(DatasetError, match=r"^only: the scale of the error is zero"):
        evaluate(predict(lonely, 19), lonely, draws=DRAWS)
    skipped = evaluate(predict(lonely, 19), lonely, on_error="skip", draws=DRAWS)
    assert [one.id for one in skipped.skipped] == ["only"]
    assert skipped.row()["skipped"] == 1
    assert len(skipped.ids) == len(test)


def test_named_parts_may_lie_outside_the_predicted_ones():
    test = single([(10, 10), (20, 20), (50, 60), NOWHERE], box=(5, 5, 60, 60))
    guess = predict(test, 20).with_parts(["beak"])
    result = evaluate(guess, test, normaliser=("parts", "left wing", "right wing"), draws=DRAWS)
    assert result.scale.tolist() == [50]
    assert result.row()["normaliser"] == ["parts", "left wing", "right wing"]
    assert result.error == pytest.approx(math.dist(guess.points[0, 0], (10, 10)) / 50)


def test_oks_takes_sigmas_by_name():
    test = single([(10, 10), (20, 20), NOWHERE, NOWHERE], box=(0, 0, 50, 40))
    guess = predict(test, 21, noise=5)
    sigmas = {"beak": 0.05, "left wing": 0.1, "right wing": 0.1, "tail": 0.1}
    terms = [
        math.exp(-(math.dist(guess.points[0, p], test.points[0, p]) ** 2) / (2 * 2000 * (2 * s) ** 2))
        for p, s in ((0, 0.05), (1, 0.1))
    ]
    assert evaluate(guess, test, sigmas=sigmas, draws=DRAWS).row()["oks"] == pytest.approx(sum(terms) / 2)
    with pytest.raises(OptionError, match="none for 'beak'"):
        evaluate(guess, test, sigmas={"tail": 0.1}, draws=DRAWS)


def test_exchanged_wings():
    test = single([NOWHERE, (10, 10), (40, 10), NOWHERE], box=(0, 0, 60, 40))
    guess = predict(test, 22, noise=0)
    swapped = guess.points[:, [0, 2, 1, 3]]
    wrong = PartPredictions(PARTS, guess.ids, swapped, guess.found, guess.score, guess.visible)
    assert evaluate(guess, test, draws=DRAWS).exchanged.share == 0
    assert evaluate(wrong, test, draws=DRAWS).exchanged.share == 1


def test_exchanged_sides_together():
    test = make_dataset(1, 40)
    row = evaluate(predict(test, 2, noise=60.0), test, draws=DRAWS).row()["exchanged_sides"]
    assert row["together"]["total"] == row["both_visible"]["total"] + row["one_visible"]["total"] > 0
    assert row["together"]["wrong"] == row["both_visible"]["wrong"] + row["one_visible"]["wrong"]
    assert row["together"]["share"] == pytest.approx(row["together"]["wrong"] / row["together"]["total"])
