"""Predicted classes: what they hold, their files, and their evaluation counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.classification import (
    ClassPredictions,
    evaluate_classes,
    read_classes_csv,
    read_classes_json,
    write_classes_csv,
    write_classes_json,
)
from partscope.classification.files import holds_classes, merge_classes
from partscope.dataset import PartDataset, Sample, Skipped
from partscope.errors import AnnotationError, DatasetError, OptionError, PartscopeError

SCORES = [[3.0, 1.0, 0.0], [0.0, 0.0, -1.0], [0.5, -2.0, 2.5], [1.0, 2.0, 0.0]]
MADE = ClassPredictions(
    ("1", "2", "3", "4"), ("crow", "jay", "wren"), np.array(SCORES), (Skipped("5", "5: the file is empty."),)
)
TRUTH = ["crow", "jay", "crow", "jay"]

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def birds(labels: dict[str, str | None]) -> PartDataset:
    samples = [
        Sample(name, Path(f"{name}.png"), (9, 9), np.ones((1, 2)), np.ones(1, bool), label=label)
        for name, label in labels.items()
    ]
    return PartDataset(("beak",), tuple(samples), "birds", skipped=(Skipped("0", "no box"),))


@st.composite
def predictions(draw: st.DrawFn) -> ClassPredictions:
    ids = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    classes = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    size = len(ids) * len(classes)
    values = draw(st.lists(st.floats(-1e9, 1e9), min_size=size, max_size=size))
    return ClassPredictions(tuple(ids), tuple(classes), np.reshape(values, (len(ids), len(classes))))


def assert_same(left: ClassPredictions, right: ClassPredictions) -> None:
    assert (left.ids, left.classes, left.failures) == (right.ids, right.classes, right.failures)
    np.testing.assert_array_equal(left.scores, right.scores, strict=True)


def test_labels_and_top() -> None:
    assert MADE.labels == ("crow", "crow", "wren", "jay")
    assert MADE.top(2)[:2] == [[("crow", 3.0), ("jay", 1.0)], [("crow", 0.0), ("jay", 0.0)]]
    assert [len(row) for row in MADE.top(9)] == [3] * 4
    assert next(MADE.records()) == {
        "image": "1",
        "class": "crow",
        "scores": {"crow": 3.0, "jay": 1.0, "wren": 0.0},
    }
    with pytest.raises(ValueError, match="read-only"):
        MADE.scores[0, 0] = 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.zeros((3, 3))}, r"\(4, 3\)"),
        ({"classes": ("a", "b", "a")}, "class 'a' occurs more than once"),
        ({"ids": ("1", "2", "3", "1")}, "image '1' occurs more than once"),
        ({"scores": np.where(np.array(SCORES) == 2.5, np.nan, 0)}, "score of 3 is not finite"),
        ({"classes": (), "scores": np.zeros((4, 0))}, "no class"),
    ],
)
def test_predictions_that_do_not_fit(changed: dict, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ClassPredictions(**{"ids": MADE.ids, "classes": MADE.classes, "scores": MADE.scores, **changed})


# -- files ------------------------------------------------------------------------------------------------------------
@given(made=predictions())
def test_files_read_back_exactly(tmp_path: Path, made: ClassPredictions) -> None:
    write_classes_csv(made, tmp_path / "a.csv")
    assert_same(read_classes_csv(tmp_path / "a.csv"), made)
    write_classes_json(made, tmp_path / "a.json")
    assert_same(read_classes_json(tmp_path / "a.json"), made)


def test_files_as_written(tmp_path: Path) -> None:
    write_classes_csv(MADE, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[:2] == ["image,class,score:crow,score:jay,score:wren", "1,crow,3.0,1.0,0.0"]
    write_classes_json(MADE, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["failures"] == [{"image": "5", "reason": "5: the file is empty."}]
    assert content["images"][3] == {"image": "4", "class": "jay", "scores": [1.0, 2.0, 0.0]}
    assert read_classes_json(tmp_path / "a.json").failures == MADE.failures


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    made = ClassPredictions(("b\udce4rd.jpg",), ("jay",), np.ones((1, 1)))
    write_classes_csv(made, tmp_path / "a.csv")
    assert b"b\xe4rd.jpg,jay,1.0" in (tmp_path / "a.csv").read_bytes()
    assert_same(read_classes_csv(tmp_path / "a.csv"), made)
    write_classes_json(made, tmp_path / "a.json")
    assert_same(read_classes_json(tmp_path / "a.json"), made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,class\n", "first line"),
        ("image,label,score:a\n", "first line"),
        ("image,class,score:a\n1,a\n", "line 2: the row does not parse"),
        ("image,class,score:a\n1,a,nan\n", "line 2: the row does not parse"),
        ("image,class,score:a,score:b\n1,a,0,1\n", "'b' has the highest score"),
        ("image,class,score:a\n1,a,0\n1,a,0\n", "image '1' occurs more than once"),
        ('image,class,score:a\n"1,a,0\n', "not valid CSV"),
    ],
)
def test_damaged_tables_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(AnnotationError, match=f"a.csv.*{message}"):
        read_classes_csv(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": None}, "the format is None"),
        ({"images": [{"image": "1"}]}, "lacks a field"),
        ({"images": [{"image": "1", "class": "a", "scores": [1, 2]}]}, "2 scores for 1 classes"),
        ({"images": [{"image": "1", "class": "b", "scores": [1]}]}, "'a' has the highest"),
        ({"images": [{"image": "1", "class": "a", "scores": ["x"]}]}, "does not fit"),
        ({"classes": 3}, "lacks a field or does not fit"),
        ({"failures": [3]}, "lacks a field or does not fit"),
    ],
)
def test_damaged_documents_are_named(tmp_path: Path, changed: dict, message: str) -> None:
    content = {"format": "partscope classes", "classes": ["a"], "images": [], "failures": []} | changed
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=f"a.json.*{message}"):
        read_classes_json(tmp_path / "a.json")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(PartscopeError, match="no such folder"):
        write_classes_csv(MADE, tmp_path / "none" / "a.csv")


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_merged_files_are_the_whole(tmp_path: Path, ending: str) -> None:
    write = write_classes_csv if ending == "csv" else write_classes_json
    files = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for file, rows in zip(files, (slice(0, 3), slice(3, 4)), strict=True):
        lost = MADE.failures if rows.start else ()
        write(ClassPredictions(MADE.ids[rows], MADE.classes, MADE.scores[rows], lost), file)
    whole, merged = tmp_path / f"whole.{ending}", tmp_path / f"merged.{ending}"
    write(MADE, whole)
    assert merge_classes(files, merged) == 4
    assert merged.read_bytes() == whole.read_bytes()
    assert holds_classes(merged)
    with pytest.raises(AnnotationError, match=rf"whole.{ending}: the image 1 is in .*a.{ending} as well"):
        merge_classes([files[0], whole], merged)
    write(ClassPredictions(("9",), ("crow", "jay"), np.zeros((1, 2))), files[1])
    with pytest.raises(AnnotationError, match=rf"b.{ending}: its classes are not those of"):
        merge_classes(files, merged)


# -- evaluation -------------------------------------------------------------------------------------------------------
def test_evaluation_by_hand() -> None:
    found = evaluate_classes(MADE, birds(dict(zip(MADE.ids, TRUTH, strict=True)) | {"5": "jay"}))
    assert found.correct.tolist() == [True, False, False, True]
    row = found.row()
    assert row["accuracy"]["mean"] == 0.5
    assert row["accuracy"]["macro"] == 0.5
    low, high = row["accuracy"]["ci95"]
    assert 0 <= low < 0.5 < high <= 1
    assert row["top5"] == 1.0
    assert (row["images"], row["classes"], row["failures"], row["skipped"], row["unseen"]) == (4, 3, 1, 1, 0)
    assert row["notes"] == ["images that could not be read, left out: 1"]
    assert row["per_class"]["crow"] == {
        "images": 2,
        "correct": 1,
        "predicted": 2,
        "accuracy": 0.5,
        "precision": 0.5,
    }
    assert row["per_class"]["wren"]["accuracy"] is None
    assert found.confusion.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    json.dumps(row, allow_nan=False)
    assert "4 images, 3 classes, accuracy 50.0%" in repr(found)


def test_macro_weighs_classes_equally() -> None:
    found = evaluate_classes(MADE, ["crow", "crow", "crow", "jay"])
    assert found.accuracy == 0.75
    assert found.macro == pytest.approx((2 / 3 + 1) / 2)


def test_top_five_of_seven() -> None:
    made = ClassPredictions(("1", "2"), tuple("abcdefg"), -np.tile(np.arange(7.0), (2, 1)))
    assert evaluate_classes(made, ["e", "f"]).in_top5.tolist() == [True, False]


def test_images_match_by_id_and_the_rest_is_counted() -> None:
    found = evaluate_classes(MADE, birds({"4": "jay", "1": "crow", "9": "wren"}))
    assert found.ids == ("4", "1")
    assert found.accuracy == 1.0
    assert "images without a prediction, left out: 1 (the first: 9)" in found.notes
    assert "predicted images that are not in the data set, left out: 2" in found.notes


def test_unseen_classes_are_an_error_or_wrong() -> None:
    truth = ["crow", "owl", "owl", "emu"]
    with pytest.raises(DatasetError, match=r"^2: .* class of 3 images \('emu', 'owl'\)"):
        evaluate_classes(MADE, truth)
    found = evaluate_classes(MADE, truth, unseen="wrong")
    assert found.accuracy == 0.25
    assert found.top5 == 0.25
    assert found.unseen == 3
    assert found.classes == ("crow", "jay", "wren", "emu", "owl")
    assert any("counted as wrong: 3 ('emu', 'owl')" in note for note in found.notes)
    assert found.per_class["owl"] == (2, 0, 0)
    with pytest.raises(OptionError, match="unseen"):
        evaluate_classes(MADE, truth, unseen="drop")


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (["crow", None, " ", "jay"], r"^2: the image has no class \(2 of 4 images\)"),
        (["crow"], "1 labels for 4"),
        (birds({"1": "crow", "2": None}), r"^2: the image has no class \(1 of 2 images\)"),
        (birds({"7": "crow"}), "no predicted image is in the data set"),
    ],
)
def test_missing_labels_are_named(truth, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        evaluate_classes(MADE, truth)


def test_nothing_to_evaluate() -> None:
    with pytest.raises(DatasetError, match="nothing to evaluate"):
        evaluate_classes(ClassPredictions((), ("a",), np.empty((0, 1))), [])
