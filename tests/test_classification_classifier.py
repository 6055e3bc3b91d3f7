"""`PartClassifier`: labels, mirror images in training, predictions, errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from networks import SIDE, awkward_network
from partscope.backbones import Embedder, Preprocessing
from partscope.classification import classifier as module
from partscope.classification.classifier import PartClassifier
from partscope.classification.linear import fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.dataset import PartDataset, Sample
from partscope.detectors import PriorDetector
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning

PARTS = ("left spot", "right spot")
CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    """Eighteen pictures in three classes; each has two spots of its class's colour on noise."""
    folder = tmp_path_factory.mktemp("spots")
    rng = np.random.default_rng(0)
    samples = []
    for i in range(18):
        label = CLASSES[i % 3]
        pixels = rng.integers(60, 140, (48, 64, 3), dtype=np.uint8)
        points = np.array([rng.uniform((8, 8), (24, 40)), rng.uniform((40, 8), (56, 40))])
        for x, y in points.astype(int):
            pixels[y - 6 : y + 6, x - 6 : x + 6] = 20
            pixels[y - 6 : y + 6, x - 6 : x + 6, 2 - i % 3] = 250
        path = folder / f"{i:02d}.png"
        Image.fromarray(pixels).save(path)
        split = "test" if i >= 12 else "train"
        samples.append(
            Sample(path.name, path, (64, 48), points, np.ones(2, bool), (4, 4, 56, 40), label, split)
        )
    return PartDataset(PARTS, tuple(samples), "spots")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(awkward_network(), "9:input", Preprocessing(SIDE))


@pytest.fixture
def features(embedder: Embedder) -> PartFeatures:
    return PartFeatures(source="ground_truth", backbone=embedder, scale=0.05)


@pytest.fixture(scope="module")
def fitted(data: PartDataset, embedder: Embedder) -> PartClassifier:
    return PartClassifier(PartFeatures(PriorDetector(), backbone=embedder)).fit(data.train)


def relabelled(data: PartDataset, change: Any) -> PartDataset:
    samples = (dataclasses.replace(s, label=change(i, s.label)) for i, s in enumerate(data))
    return dataclasses.replace(data, samples=tuple(samples))


# -- fit and predict ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("classifier", ["svm", "logistic"])
def test_it_learns_what_the_parts_show(data: PartDataset, features: PartFeatures, classifier: str) -> None:
    model = PartClassifier(features, classifier=classifier).fit(data.train)
    assert model.classes_.tolist() == list(CLASSES)
    assert model.train_ids_ == data.train.ids
    assert model.skipped_ == ()
    assert not hasattr(features, "embedder_")  # cloned, not changed
    predicted = model.predict(data.test)
    assert predicted.tolist() == list(data.test.labels)
    assert model.score(data.test, data.test.labels) == 1.0
    scores = model.decision_function(data.test)
    assert scores.shape == (6, 3)
    assert (model.classes_[scores.argmax(axis=1)] == predicted).all()


def test_mirror_images_double_the_training_set(
    data: PartDataset, features: PartFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def spy(rows: np.ndarray, labels: Any, **options: Any) -> Any:
        seen.update(options, rows=rows, labels=labels)
        return fit_linear(rows, labels, **options)

    monkeypatch.setattr(module, "fit_linear", spy)
    PartClassifier(features, C=1.0).fit(data.train)
    ready = clone(features).fit(data.train)
    plain, turned = ready.transform(data.train), ready.transform_mirrored(data.train)
    np.testing.assert_array_equal(seen["rows"], np.vstack([plain, turned]))
    assert not np.allclose(plain, turned)
    assert list(seen["labels"]) == [*data.train.labels] * 2
    assert seen["groups"].tolist() == [*range(12)] * 2
    assert seen["mirrored"].tolist() == [False] * 12 + [True] * 12
    PartClassifier(features, C=1.0, flips=False).fit(data.train)
    np.testing.assert_array_equal(seen["rows"], plain)
    assert not seen["mirrored"].any()


def test_given_labels_take_precedence_and_keep_their_type(data: PartDataset, features: PartFeatures) -> None:
    numbers = [10 if i % 3 else 9 for i in range(12)]
    model = PartClassifier(features, C=1.0).fit(data.train, numbers)
    assert model.classes_.tolist() == [9, 10]
    predicted = model.predict(data.train)
    assert predicted.dtype.kind == "i"
    scores = model.decision_function(data.train)
    assert scores.shape == (12,)
    assert ((scores > 0) == (predicted == 10)).all()
    paths = [sample.image for sample in data.train]
    whole = PartFeatures(source="none", backbone=features.backbone)
    assert PartClassifier(whole, C=1.0).fit(paths, list(data.train.labels)).predict(paths).shape == (12,)


def test_by_default_the_papers_pipeline_with_the_linear_detector(
    data: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PartFeatures] = []

    def stop(self: PartFeatures, X: Any, y: Any = None, **options: Any) -> PartFeatures:
        asked.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(PartFeatures, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        PartClassifier().fit(data.train)
    assert asked[0].source == "estimated"
    assert asked[0].detector.method == "linear"


def test_predictions_with_names_and_scores(data: PartDataset, fitted: PartClassifier, tmp_path: Path) -> None:
    predictions = fitted.predict_classes(data.test)
    assert predictions.ids == data.test.ids
    assert tuple(predictions.classes) == CLASSES
    np.testing.assert_allclose(predictions.scores, fitted.decision_function(data.test))
    assert list(predictions.labels) == fitted.predict(data.test).tolist()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    images = [data.test[0].image, broken, data.test[1].image]
    with pytest.raises(ImageError, match=r"broken\.png"):
        fitted.predict_classes(images)
    predictions = fitted.predict_classes(images, on_error="skip")
    assert predictions.ids == (str(images[0]), str(images[2]))
    assert [failure.id for failure in predictions.failures] == [str(broken)]


def test_boxes_are_given_beside_images(data: PartDataset, embedder: Embedder) -> None:
    features = PartFeatures(PriorDetector("box"), region="crop", backbone=embedder)
    model = PartClassifier(features, C=1.0).fit(data.train)
    paths = [sample.image for sample in data.test]
    predictions = model.predict_classes(paths, data.test.boxes)
    np.testing.assert_array_equal(predictions.scores, model.predict_classes(data.test).scores)
    with pytest.raises(DatasetError, match="no bounding box"):
        model.predict_classes(paths)


def test_evaluation(data: PartDataset, fitted: PartClassifier) -> None:
    result = fitted.evaluate(data.test)
    right = np.mean(fitted.predict(data.test) == np.array(data.test.labels))
    assert result.row()["accuracy"]["mean"] == pytest.approx(right)
    assert result.row()["images"] == 6
    again = fitted.evaluate(data.test, predictions=fitted.predict_classes(data.test))
    assert again.row() == result.row()


# -- scikit-learn ---------------------------------------------------------------------------------------------------
def test_parameters_clone_and_searches(data: PartDataset, fitted: PartClassifier, embedder: Embedder) -> None:
    assert vars(PartClassifier(classifier="oracle", C=-1)) == PartClassifier(
        classifier="oracle", C=-1
    ).get_params(deep=False)
    model = PartClassifier(
        PartFeatures(PriorDetector().fit(data.train), backbone=embedder), C=1.0, classifier="svm"
    )
    copied = clone(model)
    assert copied.features is not model.features
    assert copied.features.detector is model.features.detector
    assert model.set_params(features__scale=0.3).features.scale == 0.3
    train = data.train
    scores = cross_val_score(model, train, train.labels, cv=2, error_score="raise")
    assert scores.shape == (2,)
    search = GridSearchCV(model, {"features__source": ["none", "ground_truth"], "C": [0.1]}, cv=2)
    assert search.fit(train, train.labels).best_params_["C"] == 0.1
    for call in (PartClassifier().predict, PartClassifier().decision_function, PartClassifier().evaluate):
        with pytest.raises(NotFittedError):
            call(data.test)


def test_a_failed_fit_leaves_an_unfitted_classifier(data: PartDataset, features: PartFeatures) -> None:
    model = PartClassifier(features, C=1.0).fit(data.train)
    gone = dataclasses.replace(data.train[0], image=Path("nowhere.png"))
    with pytest.raises(ImageError):
        model.fit(dataclasses.replace(data.train, samples=(gone, *data.train.samples[1:])))
    with pytest.raises(NotFittedError):
        model.predict(data.test)


# -- bad input ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda i, label: None if i == 3 else label, r"03\.png: the image has no class name"),
        (lambda i, label: " " if i == 3 else label, r"03\.png: the image has no class name"),
        (lambda i, label: "owl" if i == 3 else label, "fewer than two training images in the class 'owl'"),
        (lambda i, label: "red", r"all 12 training images belong to one class \('red'\)"),
    ],
)
def test_labels_that_nothing_can_be_learned_from(
    data: PartDataset, features: PartFeatures, change: Any, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("features were computed first")

    monkeypatch.setattr(PartFeatures, "fit", fail)
    with pytest.raises(DatasetError, match=match):
        PartClassifier(features).fit(relabelled(data.train, change))


def test_labels_that_do_not_fit_the_images(data: PartDataset, features: PartFeatures) -> None:
    paths = [sample.image for sample in data.train]
    with pytest.raises(DatasetError, match="the class names are missing"):
        PartClassifier(features).fit(paths)
    with pytest.raises(DatasetError, match=r"shape \(3,\) for 12 images"):
        PartClassifier(features).fit(paths, ["a", "b", "c"])
    with pytest.raises(DatasetError, match="row 1 has no label"):
        PartClassifier(features).fit(data.train, ["a", None] * 6)


def test_an_unseen_class_at_test_is_named(data: PartDataset, fitted: PartClassifier) -> None:
    with pytest.raises(DatasetError, match="owl"):
        fitted.evaluate(relabelled(data.test, lambda i, label: "owl" if i == 2 else label))
    with pytest.raises(DatasetError, match=r"13\.png|no label|no class"):
        fitted.evaluate(relabelled(data.test, lambda i, label: None if i == 1 else label))


def test_bad_training_images_are_left_out_on_request(
    data: PartDataset, features: PartFeatures, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(data[0].image.read_bytes()[:300])
    samples = list(data.train)
    samples[4] = dataclasses.replace(samples[4], image=broken)
    bad = dataclasses.replace(data.train, samples=tuple(samples))
    with pytest.raises(ImageError, match=r"broken\.png"):
        PartClassifier(features, C=1.0).fit(bad)
    with pytest.warns(PartscopeWarning, match=r"1 of 12 training images were left out; the first is 04\.png"):
        model = PartClassifier(features, C=1.0).fit(bad, on_error="skip")
    assert [item.id for item in model.skipped_] == ["04.png"]
    assert model.train_ids_ == tuple(name for name in data.train.ids if name != "04.png")
    rest = PartClassifier(features, C=1.0).fit(data.train[[i for i in range(12) if i != 4]])
    np.testing.assert_allclose(model.model_.coef, rest.model_.coef, atol=1e-4)
    lost = [dataclasses.replace(s, image=broken) if s.label == "red" else s for s in data.train]
    with pytest.raises(DatasetError, match="no training image of the class 'red' could be read"):
        PartClassifier(features).fit(dataclasses.replace(data.train, samples=tuple(lost)), on_error="skip")
    gone = dataclasses.replace(
        data.train, samples=tuple(dataclasses.replace(s, image=broken) for s in data.train)
    )
    with pytest.raises(DatasetError, match="not one of the 12 training images could be read"):
        PartClassifier(features).fit(gone, on_error="skip")


def test_wrong_parameters(data: PartDataset, features: PartFeatures) -> None:
    with pytest.raises(OptionError, match="classifier must be one of svm, logistic, not 'forest'"):
        PartClassifier(features, classifier="forest").fit(data.train)
    with pytest.raises(OptionError, match="features must be a PartFeatures"):
        PartClassifier(PriorDetector()).fit(data.train)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="C must be a positive"):
        PartClassifier(features, C=-1.0).fit(data.train)
