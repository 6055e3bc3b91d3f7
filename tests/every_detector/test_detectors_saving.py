"""Detectors are saved and loaded as they are."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from drawn import PARTS
from light_detectors import LIGHT
from partscope.dataset import PartDataset
from partscope.detectors import PartDetector, PriorDetector, TransferDetector
from partscope.errors import ModelFileError, OptionError


@settings(max_examples=5)
@given(count=st.integers(1, 8))
@pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")
@pytest.mark.parametrize("estimator", LIGHT, ids=repr)
def test_a_loaded_detector_is_the_saved_one(
    estimator: PartDetector, train: PartDataset, tmp_path: Path, count: int
) -> None:
    fitted = clone(estimator).fit(train[:count])
    path = tmp_path / "m.partscope"
    fitted.save(path)
    for cls in (PartDetector, type(fitted)):
        loaded = cls.load(path)
        assert type(loaded) is type(fitted)
        assert loaded.get_params() == fitted.get_params()
        assert (loaded.parts_, loaded.train_ids_) == (fitted.parts_, fitted.train_ids_)
        np.testing.assert_array_equal(loaded.mirror_, fitted.mirror_)
        np.testing.assert_array_equal(loaded.prior_.image, fitted.prior_.image)
        one, other = fitted.predict(train), loaded.predict(train)
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.visible, other.visible)
    loaded.save(tmp_path / "again.partscope")
    assert (tmp_path / "again.partscope").read_bytes() == path.read_bytes()


def test_a_file_of_another_method_is_refused_by_a_subclass(train: PartDataset, tmp_path: Path) -> None:
    PriorDetector().fit(train).save(tmp_path / "m.partscope")
    with pytest.raises(ModelFileError, match=r"m\.partscope: .*'prior', not 'transfer'"):
        TransferDetector.load(tmp_path / "m.partscope")


def test_a_backbone_for_a_method_without_one_is_refused(train: PartDataset, tmp_path: Path) -> None:
    PriorDetector().fit(train).save(tmp_path / "m.partscope")
    with pytest.raises(OptionError, match="'prior' uses no backbone"):
        PartDetector.load(tmp_path / "m.partscope", backbone=object())  # type: ignore[arg-type]


def test_given_pairs_are_kept_in_the_model_file(train: PartDataset, tmp_path: Path) -> None:
    data = PartDataset(PARTS, train.samples, pairs=(("beak", "tail"),))
    PriorDetector().fit(data).save(tmp_path / "m.partscope")
    assert PartDetector.load(tmp_path / "m.partscope").mirror_.tolist() == [3, 1, 2, 0, 4]


def test_a_fitted_detector_can_be_pickled_as_scikit_learn_estimators_can(train: PartDataset) -> None:
    fitted = PriorDetector("box").fit(train)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(train).points, fitted.predict(train).points)
