"""`PartFeatures`: what the rows hold, mirror images, scikit-learn's ways."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from drawn import PARTS, drawn_dataset, mirrored
from networks import SIDE, awkward_network
from partscope.backbones import Embedder, Preprocessing
from partscope.classification import slots
from partscope.classification.part_features import PartFeatures
from partscope.classification.slots import Slots, groups_of
from partscope.dataset import PartDataset, Sample
from partscope.detectors import PartDetector, PriorDetector
from partscope.detectors.queries import Query
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.extraction import Views, extract
from partscope.feature_cache import FeatureCache
from partscope.patches import SCALES, patch_boxes

D = 5
LABELS = ["a", "b", "a", "b", "a", "b"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 6)


@pytest.fixture(scope="module")
def detector(data: PartDataset) -> PartDetector:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartscopeWarning)
        return PriorDetector().fit(data)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(awkward_network(), "7", Preprocessing(SIDE))


def vectors(embedder: Embedder, sample: Sample, boxes: Any, flip: bool = False) -> np.ndarray:
    """The embedder's vectors for boxes of one image, the plain way; zeros for NaN."""
    image = Image.open(sample.image).convert("RGB")
    rows = []
    for box in boxes:
        if np.isnan(box).any():
            rows.append(np.zeros(D, np.float32))
            continue
        inputs = embedder.preprocessing(image, tuple(box))
        rows.append(embedder(torch.flip(inputs, [2])[None] if flip else inputs[None])[0].numpy())
    return np.array(rows)


# -- what a row holds -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", ["image", "crop"])
def test_a_row_is_the_whole_and_a_patch_per_part(data: PartDataset, embedder: Embedder, region: str) -> None:
    features = PartFeatures(source="ground_truth", backbone=embedder, region=region, normalize="none")
    rows = features.fit(data).transform(data)
    assert rows.shape == (6, 6 * D)
    assert rows.dtype == np.float32
    for i, sample in enumerate(data):
        whole = (0.0, 0.0, *sample.size) if region == "image" else sample.box
        assert whole is not None
        side = np.sqrt(whole[2] * whole[3] * SCALES[region])
        boxes = patch_boxes(sample.points[None], [whole[2:]], [sample.size], SCALES[region])[0]
        inside = [box for box in boxes if box[0] > 0 and box[1] > 0 and box[0] + box[2] < sample.size[0] - 1]
        assert all(np.isclose(box[2], side) for box in inside)
        expected = vectors(embedder, sample, [whole, *boxes])
        np.testing.assert_allclose(rows[i], expected.ravel(), atol=1e-4)
    hidden = ~data.visible
    assert hidden.any()
    parts = rows.reshape(6, 6, D)[:, 1:]
    assert (parts[hidden] == 0).all()
    assert (np.abs(parts[~hidden]).max(axis=1) > 0).all()


def test_scale_parts_and_whole(data: PartDataset, embedder: Embedder) -> None:
    options: dict[str, Any] = {"source": "ground_truth", "backbone": embedder, "normalize": "none"}
    features = PartFeatures(**options, parts=["tail", "beak"], whole=False, scale=0.5).fit(data)
    rows = features.transform(data)
    boxes = patch_boxes(data.points[:, [3, 0]], data.sizes, data.sizes, 0.5)
    np.testing.assert_array_equal(features.locate(data).boxes, boxes)
    for i, sample in enumerate(data):
        np.testing.assert_allclose(rows[i], vectors(embedder, sample, boxes[i]).ravel(), atol=1e-4)
    assert features.get_feature_names_out().tolist() == [
        f"{p}_{d}" for p in ("tail", "beak") for d in range(D)
    ]


def test_l2_scales_every_slot_and_leaves_zeros(data: PartDataset, embedder: Embedder) -> None:
    plain, scaled = (
        PartFeatures(source="ground_truth", backbone=embedder, normalize=name).fit(data).transform(data)
        for name in ("none", "l2")
    )
    slots = scaled.reshape(6, 6, D)
    length = np.linalg.norm(slots, axis=2)
    np.testing.assert_allclose(length, np.hstack([np.ones((6, 1)), data.visible]), atol=1e-5)
    raw = plain.reshape(6, 6, D)
    np.testing.assert_allclose(slots * np.linalg.norm(raw, axis=2, keepdims=True), raw, atol=1e-4)


def test_pairs_share_a_slot_by_their_maximum(data: PartDataset, embedder: Embedder) -> None:
    """Not the maximum with the zeros of a missing part: features may be negative."""
    table = np.arange(2 * 4 * 2, dtype=np.float32).reshape(2, 4, 2) - 20
    present = np.array([[True, True, True, True], [True, False, True, False]])
    pooled = Slots(("l", "r", "m"), "image", groups_of([1, 0, 2], True), "none").rows(table, present)
    first = [*table[0, 0], *np.maximum(table[0, 1], table[0, 2]), *table[0, 3]]
    np.testing.assert_array_equal(pooled, [first, [*table[1, 0], *table[1, 2], 0, 0]])
    features = PartFeatures(source="ground_truth", backbone=embedder, pool_pairs=True).fit(data)
    assert features.slots_.names == ("image", "beak", "left eye+right eye", "tail", "crest")
    assert features.transform(data).shape == (6, 5 * D)
    assert features.get_feature_names_out()[2 * D] == "left eye+right eye_0"


def test_the_paths_of_one_image_give_one_row(
    data: PartDataset, detector: PartDetector, embedder: Embedder
) -> None:
    features = PartFeatures(detector, backbone=embedder).fit(data)
    expected = features.transform(data)
    paths = [sample.image for sample in data]
    objects = np.empty(6, dtype=object)
    objects[:] = paths
    pictures = [Image.open(path) for path in paths]
    arrays = [np.asarray(picture.convert("RGB")) for picture in pictures]
    for images in (list(data), [Query.of(s) for s in data], paths, objects, pictures, arrays):
        np.testing.assert_allclose(features.transform(images), expected, atol=1e-5)
    assert features.transform([]).shape == (0, 6 * D)


def test_estimated_parts_are_those_given_or_found(
    data: PartDataset, detector: PartDetector, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = detector.predict(data)
    fresh = PartFeatures(detector, backbone=embedder).fit(data).transform(data)
    given = PartFeatures(detector, backbone=embedder, predictions=found).fit(data)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(PriorDetector, "predict", fail)
    np.testing.assert_array_equal(given.transform(data), fresh)
    alone = PartFeatures(backbone=embedder, predictions=found).fit(data)
    np.testing.assert_array_equal(alone.transform(data[:2]), fresh[:2])


def test_a_network_of_another_kind_than_the_detectors(data: PartDataset, detector: PartDetector) -> None:
    flat = Embedder(awkward_network(1), "9:input", Preprocessing(SIDE))
    features = PartFeatures(detector, backbone=flat, whole=False).fit(data)
    assert features.transform(data).shape == (6, 5 * flat.dimension)


# -- mirror images --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", ["image", "crop"])
@pytest.mark.parametrize("source", ["none", "ground_truth", "prior", "grid", "random"])
def test_mirrored_rows_are_those_of_the_mirror_images(
    data: PartDataset, embedder: Embedder, tmp_path: Path, source: str, region: str
) -> None:
    """Exactly what ground truth gives for images mirrored on disk; for the controls, patches of mirrored places."""
    features = PartFeatures(source=source, backbone=embedder, region=region, normalize="none").fit(data)
    given = features.transform_mirrored(data)
    if source in ("none", "ground_truth", "grid"):  # sources that commute with mirroring
        samples = []
        for sample in data:
            image, points, box = mirrored(Image.open(sample.image).convert("RGB"), sample.points, sample.box)
            path = tmp_path / sample.id
            image.save(path)
            samples.append(Sample(sample.id, path, image.size, points, np.isfinite(points).all(axis=1), box))
        turned = PartDataset(PARTS, tuple(samples))
        np.testing.assert_allclose(given, features.transform(turned), atol=0.03 * np.abs(given).max())
    places = features.locate(data)
    for i, sample in enumerate(data):
        expected = vectors(embedder, sample, places.boxes[i], flip=True)
        if source in ("ground_truth", "prior"):
            expected = expected[[0, 1, 3, 2, 4, 5]]
        if source == "grid":  # five points: rows of two and three, each turned round
            expected = expected[[0, 2, 1, 5, 4, 3]]
        np.testing.assert_allclose(given[i], expected.ravel(), atol=1e-4)


def test_parts_are_detected_once_for_both(data: PartDataset, embedder: Embedder) -> None:
    features = PartFeatures(PriorDetector(), backbone=embedder).fit(data)
    places = features.locate(data)
    plain, turned = features.rows(places), features.rows(places, mirrored=True)
    np.testing.assert_array_equal(plain.features, features.transform(data))
    np.testing.assert_array_equal(turned.features, features.transform_mirrored(data))
    assert plain.kept.tolist() == list(range(6))


def test_samples_without_names_have_no_sides(data: PartDataset, embedder: Embedder) -> None:
    features = PartFeatures(source="ground_truth", backbone=embedder).fit(list(data))
    assert features.parts_[0] == "part 1"
    np.testing.assert_array_equal(
        features.transform(list(data)),
        PartFeatures(source="ground_truth", backbone=embedder).fit(data).transform(data),
    )
    with pytest.raises(DatasetError, match="left and right, are not known"):
        features.transform_mirrored(list(data))


# -- bad images -----------------------------------------------------------------------------------------------------
def test_bad_images_are_named_or_left_out(
    data: PartDataset, detector: PartDetector, embedder: Embedder, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(data[0].image.read_bytes()[:900])
    images = [data[0].image, broken, tmp_path / "none.png", data[1].image]
    for source in ("estimated", "grid"):
        features = PartFeatures(detector, source=source, backbone=embedder).fit(data)
        with pytest.raises(ImageError):
            features.transform(images)
        with pytest.raises(ImageError):
            features.rows(features.locate([broken]))
        rows = features.rows(features.locate(images, on_error="skip"), on_error="skip")
        assert rows.kept.tolist() == [0, 3]
        assert {failure.id for failure in rows.failures} == {str(broken), str(tmp_path / "none.png")}
        np.testing.assert_allclose(rows.features, features.transform([images[0], images[3]]), atol=1e-5)


def test_a_crop_needs_the_box(data: PartDataset, embedder: Embedder) -> None:
    features = PartFeatures(source="prior", region="crop", backbone=embedder).fit(data)
    assert features.needs_box
    with pytest.raises(DatasetError, match="no bounding box"):
        features.transform([data[0].image])
    places = features.locate([sample.image for sample in data], data.boxes)
    np.testing.assert_array_equal(features.rows(places).features, features.transform(data))


# -- scikit-learn ---------------------------------------------------------------------------------------------------
def test_nothing_is_computed_or_checked_before_fit() -> None:
    features = PartFeatures(source="oracle", region="moon", scale=-1, backbone="no such network")
    assert vars(features) == features.get_params(deep=False)
    for call in (features.transform, features.transform_mirrored, features.locate):
        with pytest.raises(NotFittedError):
            call([])
    with pytest.raises(NotFittedError):
        features.get_feature_names_out()


def test_parameters_are_set_and_cloned(detector: PartDetector, embedder: Embedder, data: PartDataset) -> None:
    features = PartFeatures(detector, backbone=embedder, parts=["beak"], scale=0.2)
    copied = clone(features)
    assert copied is not features
    assert copied.detector is detector  # fitted: kept
    assert copied.backbone is embedder
    assert copied.parts == ["beak"]
    assert copied.parts is not features.parts
    features.set_params(detector=PriorDetector(), detector__region="box")
    copied = clone(features)
    assert copied.detector is not features.detector
    assert copied.detector.region == "box"
    assert not hasattr(clone(features.set_params(detector=detector).fit(data)), "embedder_")
    with pytest.raises(
        OptionError, match="fitted and taken as it is, so detector__region would change nothing"
    ):
        features.set_params(detector__region="box")
    with pytest.raises(ValueError, match="Invalid parameter 'colour'"):
        features.set_params(colour=1)


def test_an_open_cache_and_predictions_are_shared_by_clones(
    data: PartDataset, detector: PartDetector, embedder: Embedder, tmp_path: Path
) -> None:
    found = detector.predict(data)
    with FeatureCache(tmp_path / "features") as cache:
        features = PartFeatures(detector, backbone=embedder, cache=cache, predictions=found)
        copied = clone(features)
        assert copied.cache is cache
        assert copied.predictions is found
        first = copied.fit(data).transform(data)
        np.testing.assert_array_equal(features.fit(data).transform(data), first)


def test_features_come_from_the_cache(
    data: PartDataset, embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"source": "ground_truth", "backbone": embedder, "cache": tmp_path / "features"}
    first = PartFeatures(**options).fit(data).transform(data)
    assert (tmp_path / "features").is_file()

    def fail(self: Embedder, inputs: torch.Tensor) -> torch.Tensor:
        raise AssertionError("computed again")

    embedder.dimension  # noqa: B018  # one pass, kept
    monkeypatch.setattr(Embedder, "activations", fail)
    np.testing.assert_array_equal(PartFeatures(**options).fit(data).transform(data), first)
    pooled = PartFeatures(**options, pool_pairs=True, normalize="none").fit(data).transform(data)
    assert pooled.shape == (6, 5 * D)


def test_an_unfitted_detector_is_fitted_by_fit(data: PartDataset, embedder: Embedder) -> None:
    given = PriorDetector()
    features = PartFeatures(given, backbone=embedder).fit(data)
    assert not hasattr(given, "train_ids_")
    assert features.detector_ is not given
    assert features.detector_ is not None
    assert features.detector_.train_ids_ == data.ids


def test_pipelines_searches_and_cross_validation(
    data: PartDataset, detector: PartDetector, embedder: Embedder
) -> None:
    pipe = make_pipeline(PartFeatures(detector, backbone=embedder), LinearSVC())
    assert pipe.fit(data, LABELS).score(data, LABELS) == 1.0
    scores = cross_val_score(pipe, data, LABELS, cv=2)
    assert ((scores >= 0) & (scores <= 1)).all()
    grid = {
        "partfeatures__scale": [0.05, 0.3],
        "partfeatures__source": ["estimated", "ground_truth", "grid"],
        "linearsvc__C": [0.1],
    }
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(data, LABELS)
    assert len(search.cv_results_["params"]) == 6
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_[0].detector_ in (detector, None)
    paths = [sample.image for sample in data]
    assert cross_val_score(pipe, paths, LABELS, cv=2, error_score="raise").shape == (2,)


def test_set_output_and_pickling(data: PartDataset, embedder: Embedder) -> None:
    features = PartFeatures(source="grid", backbone=embedder).fit(data)
    again = pickle.loads(pickle.dumps(features))
    np.testing.assert_array_equal(again.transform(data), features.transform(data))
    pytest.importorskip("pandas")
    frame = clone(features.set_output(transform="pandas")).fit(data).transform(data)
    assert list(frame.columns) == features.get_feature_names_out().tolist()


# -- wrong parameters -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"source": "oracle"}, "no part source 'oracle'"),
        ({"source": "estimated"}, "needs a detector"),
        ({"region": "mask"}, "region must be one of image, crop"),
        ({"normalize": "l1"}, "normalize must be one of l2, none"),
        ({"scale": 0}, "scale must be a positive number"),
        ({"scale": float("nan")}, "scale must be a positive number"),
        ({"scale": "1/9"}, "scale must be a positive number"),
        ({"source": "none", "whole": False}, "leaves nothing to describe"),
        ({"source": "grid", "pool_pairs": True}, "has no left/right pairs"),
        ({"parts": ["beek"]}, "no part 'beek' in the part set of the data; nearest names: 'beak'"),
        ({"detector": "birds.partscope"}, r"read a file with PartDetector\.load"),
        ({"input_size": 64}, "input_size is given by the Embedder object"),
        ({"backbone": torch.nn.ReLU()}, r"wrap a module with Embedder\(module"),
    ],
)
def test_a_wrong_parameter_is_named_by_fit(
    data: PartDataset, embedder: Embedder, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(OptionError, match=match):
        PartFeatures(**{"source": "ground_truth", "backbone": embedder, **options}).fit(data)


def test_normalisations_are_checked_where_they_are_used() -> None:
    with pytest.raises(OptionError, match="normalize must be"):
        slots.Slots(("beak",), None, ((0,),), "l7")


def test_extraction_is_the_rooms_own(data: PartDataset, embedder: Embedder) -> None:
    """The transformer adds nothing to what :func:`extract` gives for the same boxes."""
    features = PartFeatures(source="random", backbone=embedder, normalize="none").fit(data)
    places = features.locate(data)
    views = [Views(Query.of(sample), boxes) for sample, boxes in zip(data, places.boxes, strict=True)]
    np.testing.assert_array_equal(features.transform(data), extract(views, embedder).features.reshape(6, -1))
