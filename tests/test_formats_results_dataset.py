"""Parts found as marked parts, and `locate --to` a format in which people correct them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import model_file, run
from generated_datasets import write_pictures
from partscope import load_dataset
from partscope.errors import DatasetError
from partscope.formats import as_dataset, read_predictions_csv
from partscope.predictions import PartPredictions

Capture = pytest.CaptureFixture[str]


def test_parts_found_become_marks(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, ["a.png", "b.png"])
    found = PartPredictions(
        ("beak", "tail", "eye"),
        ("a.png", "b.png"),
        np.array([[[1.0, 2.0], [41.0, 2.0], [3.0, 4.0]], [[1.0, 1.0]] * 3]),
        np.array([[True, True, True], [True, False, True]]),
        np.array([[0.5, 0.5, 0.5], [0.5, 0, 0.5]]),
        np.array([[True, True, False], [True, False, True]]),
        boxes=np.array([[-1.0, 0, 20, 20], [np.nan] * 4]),
    )
    files = {name: folder / name for name in found.ids}
    made = as_dataset(found, files, [(40, 30), (40, 30)])
    assert made.visible.tolist() == [[True, False, False], [True, False, True]]
    assert (made[0].box, made[1].box) == ((0, 0, 19, 20), None)
    assert made.notes == (
        "1 parts were found outside their images and count as not visible.",
        "1 predicted boxes overflow their images and were clipped to them or left out.",
    )
    with pytest.raises(DatasetError, match=r"b\.png: the path of the image"):
        as_dataset(found, {"a.png": folder / "a.png"}, [(40, 30), (40, 30)])
    with pytest.raises(DatasetError, match="sizes must have shape"):
        as_dataset(found, files, [(40, 30)])


def test_pre_annotations_from_the_command_line(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    """To Label Studio and back: what is accepted there is what was found here. To CVAT the same."""
    model, images = model_file(tiny_cub, "--method", "prior"), tiny_cub / "images"
    assert run(capsys, "locate", model, images, "--out", tmp_path / "o.csv").code == 0
    found = read_predictions_csv(tmp_path / "o.csv")
    ran = run(
        capsys,
        "locate",
        model,
        images,
        "--out",
        tmp_path / "t.json",
        "--to",
        "label-studio",
        "--prefix",
        "http://x/",
    )
    assert ran.code == 0, ran.err
    tasks = json.loads((tmp_path / "t.json").read_text())
    assert tasks[0]["data"]["image"].startswith("http://x/001.Red/bird_")
    assert tasks[0]["predictions"][0]["model_version"] == model.stem
    for task in tasks:
        task["annotations"] = [{"id": 1, "result": task["predictions"][0]["result"]}]
    (tmp_path / "t.json").write_text(json.dumps(tasks))
    assert run(capsys, "locate", model, images, "--out", tmp_path / "c.xml").code == 0
    for file in ("t.json", "c.xml"):
        read = load_dataset("auto", tmp_path / file, images=images)
        assert (read.ids, read.parts) == (found.ids, found.parts)
        np.testing.assert_allclose(
            read.points, np.where(found.visible[..., None], found.points, np.nan), atol=1e-9
        )
    assert run(capsys, "locate", model, images, "--out", tmp_path / "d.csv", "--to", "deeplabcut").code == 0
    assert (tmp_path / "d.csv").read_text().startswith("scorer,partscope,")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--out", "o.txt"), r"written as .csv, .json \(COCO\) or .xml"),
        (("--out", "o.csv", "--to", "coco"), "coco is written to a file that ends in .json"),
        (("--out", "o.csv", "--to", "nonsense"), "--to must be one of csv, coco"),
        (("--out", "o.csv", "--prefix", "x"), "--prefix belongs to --to label-studio"),
    ],
)
def test_formats_that_do_not_fit(
    options: tuple[str, ...], match: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "locate", "m.partscope", "images", *options)
    with pytest.raises(AssertionError, match=match):
        raise AssertionError(ran.error)
