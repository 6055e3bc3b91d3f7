from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from drawn import drawn_dataset
from networks import SIDE, awkward_network
from partscope.backbones import Embedder, Preprocessing
from partscope.classification.classifier import PartClassifier
from partscope.classification.deformable import DeformableParts
from partscope.classification.pooling import PooledRegions
from partscope.dataset import PartDataset
from partscope.detectors.queries import Query
from partscope.errors import DatasetError, OptionError
from partscope.extraction import Views, extract

EMBEDDER = Embedder(awkward_network(), "9:input", Preprocessing(SIDE))
REGIONS = 3


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    data = drawn_dataset(tmp_path_factory.mktemp("animals"), 12)
    labelled = [dataclasses.replace(s, label="ab"[i // 2 % 2]) for i, s in enumerate(data)]
    return dataclasses.replace(data, samples=tuple(labelled))


@pytest.fixture(scope="module")
def model(animals: PartDataset) -> DeformableParts:
    return DeformableParts(components=1, parts=REGIONS, rounds=1).fit(animals)


@pytest.fixture(scope="module")
def features(model: DeformableParts, animals: PartDataset) -> PooledRegions:
    return PooledRegions(model, backbone=EMBEDDER, normalize="none").fit(animals)


def test_features_are_those_of_the_box_and_of_the_models_regions(
    features: PooledRegions, model: DeformableParts, animals: PartDataset
) -> None:
    boxes = np.concatenate([animals.boxes[:, None], model.part_boxes(animals)], axis=1)
    views = [Views(Query.of(sample), box) for sample, box in zip(animals, boxes, strict=True)]
    expected = extract(views, EMBEDDER).features
    table = features.transform(animals)
    assert table.shape == (12, (1 + REGIONS) * EMBEDDER.dimension)
    np.testing.assert_allclose(table, expected.reshape(12, -1), rtol=1e-5, atol=1e-6)
    assert features.parts_ == ("region 1", "region 2", "region 3")
    assert features.get_feature_names_out()[[0, -1]].tolist() == [
        "crop_0",
        f"region 3_{EMBEDDER.dimension - 1}",
    ]
    without = clone(features).set_params(whole=False).fit(animals).transform(animals)
    np.testing.assert_allclose(without, table[:, EMBEDDER.dimension :], rtol=1e-5, atol=1e-6)


def test_places_have_the_centres_of_the_regions(features: PooledRegions, animals: PartDataset) -> None:
    places = features.locate(animals)
    np.testing.assert_array_equal(places.boxes[:, 0], animals.boxes)
    regions = places.boxes[:, 1:]
    np.testing.assert_allclose(places.points, regions[..., :2] + regions[..., 2:] / 2)


def test_mirror_images_keep_the_slots(features: PooledRegions, animals: PartDataset) -> None:
    boxes = features.locate(animals).boxes
    views = [Views(Query.of(sample), box, True) for sample, box in zip(animals, boxes, strict=True)]
    expected = extract(views, EMBEDDER).features.reshape(12, -1)
    np.testing.assert_allclose(features.transform_mirrored(animals), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(features.transform(animals), expected)


def test_a_fitted_model_is_kept_by_clone_and_an_unfitted_one_is_fitted(
    features: PooledRegions, model: DeformableParts, animals: PartDataset
) -> None:
    assert clone(features).fit(animals).model_ is model
    assert features.needs_box
    unfitted = PooledRegions(DeformableParts(1, REGIONS, 1), backbone=EMBEDDER).fit(animals)
    assert unfitted.model_ is not unfitted.model
    np.testing.assert_array_equal(unfitted.model_.part_boxes(animals[:2]), model.part_boxes(animals[:2]))
    with pytest.raises(NotFittedError):
        clone(features).transform(animals)


def test_a_classifier_takes_them(features: PooledRegions, animals: PartDataset) -> None:
    classifier = PartClassifier(features, classifier="svm", C=1.0).fit(animals)
    assert classifier.model_.coef.shape == (2, (1 + REGIONS) * EMBEDDER.dimension)
    np.testing.assert_array_equal(classifier.predict(animals), animals.labels)


def test_wrong_parameters_and_missing_boxes(features: PooledRegions, animals: PartDataset) -> None:
    with pytest.raises(OptionError, match="model must be a DeformableParts, not str"):
        PooledRegions("dpm", backbone=EMBEDDER).fit(animals)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="normalize must be one of"):
        PooledRegions(normalize="l1", backbone=EMBEDDER).fit(animals)
    boxless = [animals[0], animals[1].with_box(None)]
    with pytest.raises(DatasetError, match=f"{animals[1].id}: .*no bounding box"):
        features.transform(boxless)
    places = features.locate(boxless, on_error="skip")
    assert [item.id for item in places.failures] == [animals[1].id]
    np.testing.assert_array_equal(features.rows(places).kept, [0])
