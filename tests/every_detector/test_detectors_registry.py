"""Making a detector by the name of its method."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from partscope.dataset import PartDataset
from partscope.detectors import (
    PartDetector,
    PriorDetector,
    TransferDetector,
    detector_class,
    detector_methods,
    register_detector,
)
from partscope.detectors.registry import _METHODS
from partscope.errors import OptionError


def test_a_method_names_a_class() -> None:
    assert type(PartDetector(method="prior", region="box")) is PriorDetector
    assert type(PartDetector("transfer")) is TransferDetector
    assert PartDetector(method="prior", region="box").get_params() == {"region": "box"}
    assert detector_class("prior") is PriorDetector
    assert {"prior", "transfer"} <= set(detector_methods())


def test_the_default_serves_best_and_an_option_of_the_paper_names_its_method() -> None:
    assert PartDetector().method == "linear"
    assert PartDetector(backbone="squeezenet1_1", region="crop", arrangement="none").method == "linear"
    for option in (
        {"centre": "mixture"},
        {"layer": "features.12"},
        {"search": "exhaustive", "region": "mask"},
    ):
        assert PartDetector(**option).method == "channel"
    assert PartDetector(layers=["a"], shrinkage=0.3).method == "linear"
    with pytest.raises(OptionError, match="'linear' has no option 'centre'"):
        PartDetector("linear", centre="mixture")
    with pytest.raises(OptionError, match="'linear' has no option 'centr'; its options are backbone"):
        PartDetector(centr="mixture")
    with pytest.raises(OptionError, match="'linear' has no option 'centre'"):
        PartDetector(centre="mixture", layers=["a"])


def test_an_unknown_method_and_an_unknown_option_are_named() -> None:
    with pytest.raises(OptionError, match=r"no method 'magic'; the methods are .*prior.*transfer"):
        PartDetector(method="magic")
    with pytest.raises(OptionError, match=r"'prior' has no option 'centre'; its options are region\."):
        PartDetector(method="prior", centre="mixture")
    with pytest.raises(OptionError, match=r"'transfer' has no option 'region'; it has no options\."):
        PartDetector(method="transfer", region="crop")


@pytest.mark.parametrize("method", detector_methods())
def test_every_method_is_a_scikit_learn_estimator_with_the_whole_interface(method: str) -> None:
    estimator = PartDetector(method=method)
    assert estimator.method == method
    copy = clone(estimator)
    assert type(copy) is type(estimator)
    assert copy.get_params() == estimator.get_params()
    assert estimator.set_params(**estimator.get_params()) is estimator
    assert set(vars(estimator)) == set(estimator.get_params())  # nothing is computed in __init__
    kind = type(estimator)
    # A method that does not learn from marked parts has a fit of its own.
    assert kind.fit is not PartDetector.fit or kind._fit is not PartDetector._fit
    for name in ("_locate", "_state", "_restore"):
        assert getattr(kind, name) is not getattr(PartDetector, name)
    for call in (
        lambda: estimator.predict([]),
        lambda: estimator.save("x"),
        lambda: estimator.evaluate(None),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_a_new_method_is_a_registered_subclass(train: PartDataset) -> None:
    @register_detector("centre of the image")
    class Centre(PartDetector):
        def __init__(self, shift: float = 0.0) -> None:
            self.shift = shift

        def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
            pass

        def _locate(self, image, box):  # type: ignore[no-untyped-def]
            points = np.full((len(self.parts_), 2), self.shift) + np.array(image.size) / 2
            yes = np.ones(len(points), dtype=bool)
            return points, yes, np.ones(len(points)), yes

    try:
        found = PartDetector(method="centre of the image", shift=1.0).fit(train).predict(train)
        np.testing.assert_allclose(found.points[:, 0], train.sizes / 2 + 1)
    finally:
        del _METHODS["centre of the image"]
