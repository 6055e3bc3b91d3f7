"""`compare`: two methods on the pairs that both have."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest

from evaluated import DRAWS, PARTS, make_dataset, predict
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, OptionError
from partscope.evaluation import compare, evaluate
from partscope.prior import StaticPrior


def test_compare_is_paired():
    test = make_dataset(25, 40)
    prior = StaticPrior.fit(make_dataset(26))
    good, bad = (evaluate(predict(test, 27, noise), test, prior, draws=DRAWS) for noise in (3, 30))
    result = compare(bad, good)
    assert result.total.difference == pytest.approx(bad.error - good.error)
    assert result.total.ci[0] > 0
    assert result.total.positive == 1
    assert result.notes == ()
    row = result.row()
    json.dumps(row, allow_nan=False)
    assert row["per_part"]["tail"]["difference"] == pytest.approx(
        bad.row()["per_part"]["tail"]["mean"] - good.row()["per_part"]["tail"]["mean"]
    )


def test_compare_takes_what_both_have():
    test = make_dataset(28, 20)
    first = evaluate(predict(test, 29)[:15].with_parts(["beak", "tail"]), test, draws=DRAWS)
    second = evaluate(
        predict(test, 30)[np.arange(19, 4, -1)].with_parts(["tail", "left wing"]), test, draws=DRAWS
    )
    result = compare(first, second, draws=DRAWS)
    common = [i for i in range(5, 15) if test.visible[i, 3]]
    gaps = [
        first.errors[first.ids.index(test.ids[i]), 1] - second.errors[second.ids.index(test.ids[i]), 1]
        for i in common
    ]
    assert result.total.difference == pytest.approx(statistics.fmean(gaps))
    assert result.total.pairs == len(common)
    assert "parts that only one of the two methods has, left out: 2" in result.notes
    assert list(result.per_part) == ["tail"]


def test_compare_refuses_other_scales():
    test = make_dataset(31)
    guess = predict(test, 32)
    box, image = (evaluate(guess, test, normaliser=kind, draws=DRAWS) for kind in ("box", "image"))
    with pytest.raises(OptionError, match="'box' and by 'image'"):
        compare(box, image)
    wider = PartDataset(PARTS, tuple(s.with_box((0, 0, *s.size)) for s in test))
    with pytest.raises(DatasetError, match="different boxes"):
        compare(box, evaluate(guess, wider, draws=DRAWS))
