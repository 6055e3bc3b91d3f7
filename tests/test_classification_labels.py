"""Class names: where they come from, and which are refused before features are computed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from partscope.classification.labels import check_classes, checked_labels, labels_of
from partscope.errors import DatasetError
from partscope.formats import load_dataset


def test_names_are_those_of_the_samples_or_of_y(tiny_cub: Path) -> None:
    train = load_dataset("cub", tiny_cub).train
    assert labels_of(train, None).tolist() == [sample.label for sample in train]
    numbers = np.arange(len(train))
    np.testing.assert_array_equal(labels_of(train, numbers), numbers)
    np.testing.assert_array_equal(labels_of([sample.image for sample in train], numbers), numbers)


@pytest.mark.parametrize("label", [None, "", " "])
def test_a_sample_without_a_class_is_named(tiny_cub: Path, label: str | None) -> None:
    train = load_dataset("cub", tiny_cub).train
    bare = dataclasses.replace(train[1], label=label)
    with pytest.raises(DatasetError, match=f"{bare.id}: the image has no class name"):
        labels_of([train[0], bare], None)


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_a_missing_name_is_found_by_its_row(missing: object) -> None:
    with pytest.raises(DatasetError, match="row 1 has no label"):
        checked_labels(["a", missing], 2)
    with pytest.raises(DatasetError, match="1 labels for 2 rows"):
        checked_labels(["a"], 2)


def test_classes_are_checked_before_features_are_made() -> None:
    assert check_classes(["a", "b", "a", "b", "b"]) == 2
    with pytest.raises(DatasetError, match="row 1 has no label"):
        check_classes(["a", float("nan")])
    with pytest.raises(DatasetError, match="'5', 'a', 'b', 'c', 'd' and 1 more"):
        check_classes([*"abcde5"])
