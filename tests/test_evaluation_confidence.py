"""`evaluate`: confidence, visibility and boxes are judged on the same pairs as the metrics alone would."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from evaluated import DRAWS, make_dataset, predict
from partscope import metrics
from partscope.evaluation import evaluate
from partscope.prior import StaticPrior


def test_confidence_equals_the_metrics_on_the_same_pairs():
    train, test = make_dataset(0, 30), make_dataset(1, 70)
    rng = np.random.default_rng(5)
    plain = predict(test, 2, found=0.8)
    expected = rng.uniform(1, 20, plain.found.shape)
    boxes = test.boxes + rng.uniform(0, 5, test.boxes.shape)
    boxes[3] = math.nan
    guess = dataclasses.replace(plain, expected_error=expected, boxes=boxes)
    order = rng.permutation(len(test))
    result = evaluate(guess[order], test, StaticPrior.fit(train), draws=DRAWS)
    row = result.row()

    scale = np.hypot(test.boxes[:, 2], test.boxes[:, 3])
    wanted = metrics.risk_coverage(result.errors, np.where(plain.found, expected, math.nan) / scale[:, None])
    assert row["kept"]["area"] == pytest.approx(wanted.area)
    assert row["kept"]["shares"]["0.8"] == {
        "error": pytest.approx(wanted.at(0.8)[0]),
        "oracle": pytest.approx(wanted.at(0.8)[1]),
    }
    assert row["kept"]["unordered"] == pytest.approx(result.error)
    both = test.visible & plain.found
    assert row["kept"]["expected"] == pytest.approx((expected / scale[:, None])[both].mean())
    auc = metrics.visibility_auc(plain.score, test.visible)
    assert auc.per_part, "the example must have parts that are judged"
    assert row["visibility"]["macro"] == pytest.approx(auc.macro)
    assert row["visibility"]["per_part"] == {test.parts[p]: pytest.approx(v) for p, v in auc.per_part.items()}
    assert row["reliability"]["brier"] == pytest.approx(np.mean((plain.score - test.visible) ** 2))
    assert sum(entry["pairs"] for entry in row["reliability"]["bins"]) == test.visible.size
    overlap = metrics.box_overlap(boxes, test.boxes)
    assert overlap[3] == 0
    assert row["box"] == {
        "images": 70,
        "mean_iou": pytest.approx(overlap.mean()),
        "share": {
            "0.5": pytest.approx((overlap >= 0.5).mean()),
            "0.75": pytest.approx((overlap >= 0.75).mean()),
        },
    }


def test_a_method_without_confidence_has_no_row_of_it():
    test = make_dataset(1)
    row = evaluate(predict(test, 2), test, draws=DRAWS).row()
    assert row["kept"] is None
    assert row["box"] is None
    assert row["reliability"]["brier"] is not None
