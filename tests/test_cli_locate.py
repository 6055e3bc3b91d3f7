"""`partscope locate`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import partscope.cli.predicting
import partscope.images
from command_line import model_file, run
from partscope import PartDetector, load_dataset
from partscope.cli.overlays import overlay_paths
from partscope.detectors import PriorDetector
from partscope.detectors.located import Located
from partscope.errors import DatasetError, OptionError
from partscope.formats import read_predictions_coco, read_predictions_csv

Capture = pytest.CaptureFixture[str]
HEADER = "image,part,x,y,found,score,visible"


@pytest.fixture
def model(tiny_cub: Path) -> Path:
    return model_file(tiny_cub, "--method", "prior")


def boxes_file(folder: Path, target: Path, change=lambda name, box: (name, box)) -> Path:
    lines = ["image,x,y,width,height"]
    for sample in load_dataset("cub", folder):
        name, box = change(sample.id, sample.box)
        lines.append(",".join([name, *map(str, box)]))
    target.write_text("\n".join(lines) + "\n")
    return target


def test_csv_of_a_folder(tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "parts.csv"
    ran = run(capsys, "locate", model, tiny_cub / "images", "--out", out)
    assert ran.code == 0, ran.err
    assert out.read_text().splitlines()[0] == HEADER
    located = read_predictions_csv(out)
    ids = sorted(load_dataset("cub", tiny_cub).ids)
    assert sorted(located.ids) == ids
    assert len(out.read_text().splitlines()) == 1 + 12 * 15
    expected = PartDetector.load(model).predict([tiny_cub / "images" / name for name in located.ids])
    assert (located.points == expected.points).all()
    assert "180 of 180 parts found in 12 of 12 images" in ran.out
    assert not list(tmp_path.glob("*.partial-*"))


def test_coco(tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "parts.json"
    boxes = boxes_file(tiny_cub, tmp_path / "boxes.csv")
    assert run(capsys, "locate", model, tiny_cub / "images", "--out", out, "--boxes", boxes).code == 0
    content = json.loads(out.read_text())
    assert len(content["images"]) == 12
    assert {(image["width"], image["height"]) for image in content["images"]} == {(64, 48)}
    samples = {sample.id: sample for sample in load_dataset("cub", tiny_cub)}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    for annotation in content["annotations"]:
        assert tuple(annotation["bbox"]) == samples[names[annotation["image_id"]]].box
        assert len(annotation["keypoints"]) == 45
    assert len(read_predictions_coco(out)) == 12


def test_the_channel_method_is_the_librarys(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "channel")
    image = tiny_cub / "images" / "001.Red" / "bird_5.png"
    assert run(capsys, "locate", model, image, "--out", tmp_path / "o.csv").code == 0
    located = read_predictions_csv(tmp_path / "o.csv")
    expected = PartDetector.load(model).predict([image])
    assert located.ids == ("bird_5.png",)
    assert (located.points[located.found] == expected.points[expected.found]).all()
    assert (located.score == expected.score).all()


@pytest.mark.parametrize(
    "method", [("transfer",), ("prior", "--region", "box"), ("channel", "--region", "crop")]
)
def test_a_model_that_searches_the_box_needs_boxes(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, method: tuple[str, ...]
) -> None:
    model = model_file(tiny_cub, "--method", *method)
    argv = ("locate", model, tiny_cub / "images", "--out", tmp_path / "o.csv")
    ran = run(capsys, *argv)
    assert ran.code == 2
    assert "--boxes" in ran.error
    boxes = boxes_file(tiny_cub, tmp_path / "boxes.csv")
    ran = run(capsys, *argv, "--boxes", boxes)
    assert ran.code == 0, ran.err
    located = read_predictions_csv(tmp_path / "o.csv")
    data = load_dataset("cub", tiny_cub)
    expected = PartDetector.load(model).predict(data)
    row = {name: i for i, name in enumerate(expected.ids)}
    order = [row[name] for name in located.ids]
    assert (located.found == expected.found[order]).all()
    assert (located.points[located.found] == expected.points[order][located.found]).all()


def test_boxes_are_clipped_missing_ones_listed(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "transfer")

    def change(name, box):
        if name.endswith("bird_5.png"):
            return name, (box[0], box[1], 900, box[3])
        if name.endswith("bird_8.png"):
            return name, (500, 500, 3, 3)
        return (name.replace("bird_11.", "robin."), box)

    boxes = boxes_file(tiny_cub, tmp_path / "boxes.csv", change)
    ran = run(capsys, "locate", model, tiny_cub / "images", "--out", tmp_path / "o.csv", "--boxes", boxes)
    assert ran.code == 1
    assert "1 of 12 boxes reached over the border" in ran.err
    assert "1 of 12 boxes belong to none of the images" in ran.err
    listed = [line for line in ran.err.splitlines() if "left out: " in line]
    assert len(listed) == 2
    assert any("bird_8.png" in line and "outside the image" in line for line in listed)
    assert any("bird_11.png" in line and "has none" in line for line in listed)
    assert len(read_predictions_csv(tmp_path / "o.csv")) == 10


def test_boxes_that_fit_no_image(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "transfer")
    boxes = boxes_file(tiny_cub, tmp_path / "boxes.csv", lambda name, box: (f"photos/{name}", box))
    ran = run(capsys, "locate", model, tiny_cub / "images", "--out", tmp_path / "o.csv", "--boxes", boxes)
    assert ran.code == 2
    assert "photos/001.Red/bird_5.png" in ran.error


def test_boxes_for_a_model_that_searches_the_image_are_said_to_be_unused(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    boxes = boxes_file(tiny_cub, tmp_path / "boxes.csv")
    argv = ("locate", model, tiny_cub / "images", "--boxes", boxes)
    (line,) = run(capsys, *argv, "--out", tmp_path / "o.csv").err.splitlines()
    assert f"{boxes} changes nothing; leave --boxes out, or fit a model with --region crop" in line
    assert not run(capsys, *argv, "--out", tmp_path / "o.json").err


def test_bad_images_are_listed_and_the_rest_is_done(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_cub / "images" / "001.Red"
    (folder / "bird_5.png").write_bytes(b"no picture")
    good = (folder / "bird_8.png").read_bytes()
    (folder / "bird_8.png").write_bytes(good[:2000])
    Image.new("L", (300, 300)).save(folder / "bomb.png")
    monkeypatch.setattr(partscope.images, "MAX_PIXELS", 10_000)
    missing = tiny_cub / "nowhere.png"
    out = tmp_path / "o.json"
    ran = run(
        capsys, "locate", model, tiny_cub / "images", missing, "--out", out, "--overlay", tmp_path / "ov"
    )
    assert ran.code == 1
    listed = [line for line in ran.err.splitlines() if "left out: " in line]
    assert [next(n for n in ("nowhere", "bird_5", "bird_8", "bomb") if n in line) for line in listed] == [
        *("nowhere", "bird_5", "bird_8", "bomb")
    ]
    assert "4 of 14 images were left out" in ran.err
    assert "10 of 14 images" in ran.out
    assert len(read_predictions_coco(out)) == 10
    assert len(json.loads(out.read_text())["info"]["failures"]) == 4
    assert len(list((tmp_path / "ov").rglob("*.png"))) == 10


def test_all_images_bad(tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run(capsys, "locate", model, tmp_path / "a.jpg", "--out", tmp_path / "o.csv")
    assert ran.code == 1
    assert (tmp_path / "o.csv").read_text() == HEADER + "\n"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("images", "--out", "o.txt"), ".csv"),
        (("images", "--out", "none/o.csv"), "folder"),
        (("empty", "--out", "o.csv"), "no image"),
        (("images/*.gif", "--out", "o.csv"), "no file"),
        (("images", "--out", "o.csv", "--overlay", "images"), "--overlay"),
        (("images", "--out", "o.csv", "--overlay", "images.txt"), "--overlay"),
        (("images", "--out", "o.csv", "--boxes", "none.csv"), "none.csv"),
    ],
)
def test_wrong_arguments(
    tiny_cub: Path,
    model: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    word: str,
) -> None:
    (tiny_cub / "empty").mkdir()
    monkeypatch.chdir(tiny_cub)
    ran = run(capsys, "locate", model, *argv)
    assert ran.code == 2
    assert word in ran.error
    assert not Path("o.csv").exists()


# -- overlays -----------------------------------------------------------------------------------------------------
def test_overlays_have_a_file_for_each_image_and_do_not_overwrite(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(tiny_cub / "images" / "001.Red" / "bird_5.png") as image:
        for name in ("a.png", "a.jpg", "b.bmp"):
            image.save(photos / name)
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    argv = ("locate", model, photos, "--out", tmp_path / "o.csv", "--overlay", photos / "overlays")
    ran = run(capsys, *argv)
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (photos / "overlays").iterdir()) == [
        "a.jpg.png",
        "a.png.png",
        "b.bmp.png",
    ]
    for name, content in before.items():
        assert (photos / name).read_bytes() == content
        with Image.open(photos / "overlays" / f"{name}.png") as drawn:
            assert drawn.width >= 480
    assert run(capsys, *argv).code == 0
    assert len(read_predictions_csv(tmp_path / "o.csv")) == 3, "overlays are not taken for images"


def test_overlay_paths_differ_stay_inside_and_spare_the_images(tmp_path: Path) -> None:
    images = [
        (name, tmp_path / "photos" / name)
        for name in ("a.jpg", "A.JPG", "sub/a.jpg", "a.jpg.png", "x/../b.jpg")
    ]
    paths = overlay_paths(images, tmp_path / "out")
    folded = [str(path).casefold() for path in paths.values()]
    assert len(set(folded)) == len(images)
    for path in paths.values():
        assert path.resolve().is_relative_to(tmp_path / "out")
    with pytest.raises(DatasetError, match="leaves"):
        overlay_paths([("../a.jpg", tmp_path / "a.jpg")], tmp_path / "out")
    with pytest.raises(OptionError, match="take the place"):
        overlay_paths([("a", tmp_path / "a"), ("a.png", tmp_path / "a.png")], tmp_path)


# -- going on after a stop ----------------------------------------------------------------------------------------
@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]) -> list[int]:
    """Press Ctrl-C at the seventh image; the list holds one entry per image that was begun."""
    original, calls = PriorDetector._locate, []

    def locate(self, image, box):
        calls.append(1)
        if len(calls) == 7:
            ctrl_c()
        return original(self, image, box)

    monkeypatch.setattr(PriorDetector, "_locate", locate)
    monkeypatch.setattr(partscope.cli.predicting, "BLOCK", 4)
    return calls


@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
def test_ctrl_c_keeps_what_is_finished(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture, interrupted: list[int]
) -> None:
    argv = ("locate", model, tiny_cub / "images", "--overlay", tmp_path / "ov", "--out")
    out = tmp_path / "o.csv"
    ran = run(capsys, *argv, out)
    assert ran.code == 130
    (folder,) = tmp_path.glob("o.csv.partial-*")
    assert f"kept in {folder}; run the same command again to continue" in ran.err
    assert not out.exists()
    assert run(capsys, *argv, out).code == 0
    assert len(interrupted) == 7 + 6
    assert not folder.exists()
    assert len(list((tmp_path / "ov").rglob("*.png"))) == 12
    assert run(capsys, *argv, tmp_path / "straight.csv").code == 0
    assert out.read_bytes() == (tmp_path / "straight.csv").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
def test_other_images_do_not_continue_a_run(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture, interrupted: list[int]
) -> None:
    argv = ("locate", model, tiny_cub / "images", "--out", tmp_path / "o.csv")
    assert run(capsys, *argv).code == 130
    file = tiny_cub / "images" / "001.Red" / "bird_5.png"
    with Image.open(file) as image:
        image.resize((80, 60)).save(file)
    assert run(capsys, *argv).code == 0
    assert len(interrupted) == 7 + 12
    located = read_predictions_csv(tmp_path / "o.csv")
    expected = PartDetector.load(model).predict([file])
    assert (located.points[located.ids.index("001.Red/bird_5.png")] == expected.points[0]).all()


@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
def test_a_damaged_block_is_computed_again(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture, interrupted: list[int]
) -> None:
    argv = ("locate", model, tiny_cub / "images", "--out", tmp_path / "o.csv")
    assert run(capsys, *argv).code == 130
    blocks = sorted(tmp_path.glob("o.csv.partial-*/block-*.csv"))
    assert len(blocks) == 2
    blocks[0].write_text(blocks[0].read_text()[:300])
    ran = run(capsys, *argv)
    assert ran.code == 0
    assert "computed again" in ran.err
    assert len(interrupted) == 7 + 10
    assert len(read_predictions_csv(tmp_path / "o.csv")) == 12


# -- the order of the results -------------------------------------------------------------------------------------------
def test_most_doubtful_first(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = PriorDetector._locate, []

    def locate(self: PriorDetector, image: Image.Image, box: object) -> Located:
        found = original(self, image, box)  # type: ignore[arg-type]
        calls.append(image)
        count = len(calls)
        where = found.found & (count != 5)  # nothing is found in the fifth
        return found._replace(found=where, expected_error=np.full(len(where), float(count % 7)))

    monkeypatch.setattr(PriorDetector, "_locate", locate)
    out, plain = tmp_path / "sorted.csv", tmp_path / "plain.csv"
    ran = run(capsys, "locate", model, tiny_cub / "images", "--out", out, "--sort", "doubt")
    assert ran.code == 0, ran.err
    located = read_predictions_csv(out)
    assert len(located) == 12
    assert out.read_text().splitlines()[0] == f"{HEADER},expected_error,doubt"
    assert not located.found[0].any()
    assert (np.diff(located.doubt[1:]) <= 0).all()
    assert located.doubt[1] > located.doubt[-1]
    calls.clear()
    assert run(capsys, "locate", model, tiny_cub / "images", "--out", plain).code == 0
    assert read_predictions_csv(plain).ids == tuple(sorted(located.ids))


def test_a_model_without_doubt_is_not_sorted(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "parts.csv"
    ran = run(capsys, "locate", model, tiny_cub / "images", "--out", out, "--sort", "doubt")
    assert ran.code == 2
    assert "does not say how far its parts may be off" in ran.error
    assert not out.exists()
    assert (
        "--sort must be images or doubt"
        in run(capsys, "locate", model, tiny_cub / "images", "--out", out, "--sort", "size").error
    )
