"""Table 2 with some rows, with every method by name, and two measurements as one."""

from __future__ import annotations

import copy
import inspect
import json

import numpy as np
import pytest

import partscope.table2.work as work
from partscope.detectors import PriorDetector
from partscope.errors import OptionError
from partscope.table2 import compare_rows, measure_table2, merged_document, plan_rows
from partscope.table2.searchers import Searcher, plan_searchers
from test_table2 import data, detecting, embedder, options  # noqa: F401  # fixtures

ROWS = ["Full, no parts", "Full, channel", "BB, grid"]


@pytest.fixture
def document(data, options):  # noqa: F811
    return json.loads(json.dumps(measure_table2(data, rows=ROWS, **options).document()))


def test_only_what_the_rows_need_is_fitted(data, options, monkeypatch):  # noqa: F811
    fitted, original = [], work.WorkFolder.fitted

    def watched(self, method, region, *args, **kwargs):
        fitted.append((method, region))
        return original(self, method, region, *args, **kwargs)

    monkeypatch.setattr(work.WorkFolder, "fitted", watched)
    table = measure_table2(data, rows=ROWS[::-1], methods=("channel", "linear"), **options)
    assert [one.plan.name for one in table.measured] == ROWS, "in the table's order"
    assert fitted == [("channel", "image")]
    assert set(table.settings["scales"]) == {"image", "crop"}


def test_every_method_by_name_and_region():
    named = plan_searchers((None, None), ("channel", "linear", "prior", "transfer"), ("image", "crop"))
    assert named == [
        ("channel", "image"), ("linear", "image"), ("channel", "crop"), ("linear", "crop"), ("transfer", "crop"),
    ]  # fmt: skip
    assert plan_searchers((None, None), ("prior", "transfer"), ("image",)) == []
    assert plan_searchers((None, None), (), ("crop",)) == [("transfer", "crop")]


def test_rows_of_two_tables_are_one_table(data, options, document):  # noqa: F811
    again = ["Full, channel", "Full, grid"]
    new = measure_table2(data, rows=again, **options).document()
    for row in new["rows"][:2]:
        row["seconds"] = 7.0
    merged = merged_document(new, document)
    names = [row["name"] for row in merged["rows"] if row["status"] == "measured"]
    assert names == ["Full, no parts", "Full, channel", "Full, grid", "BB, grid"]
    assert [row["seconds"] == 7.0 for row in merged["rows"][:4]] == [False, True, True, False]
    assert sum(row["status"] == "omitted" for row in merged["rows"]) == 2
    whole = measure_table2(data, rows=[*ROWS, *again], **options).document()
    assert merged["comparisons"] == whole["comparisons"]
    assert merged["settings"]["scales"] == whole["settings"]["scales"]
    assert merged["settings"]["notes"] == whole["settings"]["notes"]


def test_rows_that_do_not_say_what_they_have_right_keep_their_comparisons(data, options, document):  # noqa: F811
    old = copy.deepcopy(document)
    for row in old["rows"]:
        row.pop("right", None)
    new = measure_table2(data, rows=["BB, channel"], **options).document()
    merged = merged_document(new, old)
    assert merged["comparisons"] == old["comparisons"] != []
    assert "Full, no parts; Full, channel; BB, grid" in merged["settings"]["notes"][-1]
    # With one of the two measured again, the old comparison no longer holds.
    newer = measure_table2(data, rows=["Full, channel"], **options).document()
    assert merged_document(newer, old)["comparisons"] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classifier": "logistic"}, "differ in classifier"),
        ({"scales": {"image": 0.5, "crop": 0.25}}, "differ in the scale of image"),
        ({"data": ["other", "images"]}, "differ in data"),
        ({"random_state": 3}, "differ in random_state"),
    ],
)
def test_tables_of_other_settings_are_not_mixed(document, change, words):
    other = copy.deepcopy(document)
    other["settings"].update(change)
    with pytest.raises(OptionError, match=words):
        merged_document(document, other)


def test_comparisons_follow_from_what_rows_have_right():
    plans = plan_rows([("channel", "image")], ("image",))[:2]
    right = {"Full, no parts": np.array([1, 0, 0, 0], bool), "Full, channel": np.array([1, 1, 1, 0], bool)}
    (one,) = compare_rows(plans, right)
    assert (one["difference"], one["only_first"], one["only_second"]) == (0.5, 2, 0)
    assert one["p"] == pytest.approx(0.5)  # two images, both the first's


def test_one_default_for_the_features_everywhere():
    """What was chosen on training images holds for the transformer, the table and the commands."""
    from partscope.classification import PartFeatures
    from partscope.classification.pooling import PooledRegions
    from partscope.cli import classify, table2
    from partscope.table2.describe import Settings

    defaults = {
        inspect.signature(function).parameters["normalize"].default
        for function in (PartFeatures, PooledRegions, Settings, measure_table2, classify.fit, table2.table2)
    }
    assert defaults == {"l2"}


# -- cross-fitting --------------------------------------------------------------------------------------------------
def test_parts_of_a_detectors_own_images_are_found_by_others(data, options, monkeypatch):  # noqa: F811
    """Six images in three folds: no image is searched by a detector that was fitted to it, and each once."""
    searched, original = [], work.WorkFolder.located

    def watched(self, detector, content_hash, dataset, **kwargs):
        searched.append((set(detector.train_ids_), dataset.ids))
        return original(self, detector, content_hash, dataset, **kwargs)

    monkeypatch.setattr(work.WorkFolder, "located", watched)
    call = {**options, "rows": ["Full, channel"], "fit_limit": 6}
    table = measure_table2(data, cross_fit=3, **call)
    assert len(searched) == 4
    assert all(not fitted & set(ids) for fitted, ids in searched)
    assert sorted(name for _, ids in searched for name in ids) == sorted(data.ids)
    assert all(len(fitted) == 4 for fitted, _ in searched[:3])
    assert table.settings["detectors"][0]["cross-fitted in"] == 3
    searched.clear()
    plain = measure_table2(data, **call)
    assert [ids for _, ids in searched] == [data.train.ids, data.test.ids]
    assert plain.settings["detectors"][0]["cross-fitted in"] == 0


def test_images_beyond_the_limit_are_searched_by_the_detector_itself(data):  # noqa: F811
    drawn = data.train[[0, 2, 5]]
    detector = PriorDetector().fit(drawn)
    folds = tuple((drawn[[k]], PriorDetector().fit(drawn[[j for j in range(3) if j != k]])) for k in range(3))
    finders = Searcher("prior", "image", detector, folds=folds).finders(data.train)
    assert [images.ids for images, _, _ in finders] == [
        data.train[[1, 3, 4]].ids, (drawn.ids[0],), (drawn.ids[1],), (drawn.ids[2],),
    ]  # fmt: skip
    assert finders[0][1] is detector


@pytest.mark.parametrize("folds", [1, -1, 7])
def test_a_number_of_folds_that_makes_no_sense(data, options, folds):  # noqa: F811
    with pytest.raises(OptionError, match="cross_fit must be 0, or a number of folds from 2 to the 6 images"):
        measure_table2(data, rows=["Full, channel"], cross_fit=folds, **options)
