"""`partscope discover`."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Ran, run
from partscope import PartDetector, PartDiscovery, load_dataset

Capture = pytest.CaptureFixture[str]
SMALL = ("--input-size", "64", "--parts", "3")


def discover(capsys: Capture, data: Path, out: Path, *options: object) -> Ran:
    return run(capsys, "discover", data, "--out", out, *SMALL, *options)


def test_the_model_is_the_library_s_and_locate_uses_it(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    ran = discover(capsys, tiny_cub, tmp_path / "a", "--json", "-")
    assert ran.code == 0, ran.err
    PartDiscovery(3, input_size=64).fit(load_dataset("cub", tiny_cub).train).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [row["part"] for row in ran.json["discovered"]] == ["part 1", "part 2", "part 3"]
    assert ran.json["named_from"] is None
    assert "from the boxes of 6 images of tiny_cub" in ran.err
    located = run(capsys, "locate", tmp_path / "a", tiny_cub / "images", "--out", tmp_path / "parts.csv")
    assert located.code == 0, located.err
    assert "36 of 36 parts found in 12 of 12 images" in located.out
    evaluated = run(capsys, "evaluate", tmp_path / "a", tiny_cub)
    assert evaluated.code == 2
    assert "no names yet" in evaluated.error


def test_named_parts_can_be_evaluated(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "named"
    ran = discover(capsys, tiny_cub, out, "--supervision", "none", "--name-from", "3", "--seed", "1")
    assert ran.code == 0, ran.err
    data = load_dataset("cub", tiny_cub)
    assert "from the images alone of 6 images" in ran.out
    assert "named from 3 marked images: back, beak" in ran.out
    detector = PartDetector.load(out)
    assert detector.parts_ == data.parts
    assert set(data.train.limit(3, 1).ids) <= set(detector.train_ids_)
    evaluated = run(capsys, "evaluate", out, tiny_cub, "--json", "-")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["rows"][0]["method"] == "discovered"


def test_channels_are_shown_with_their_layers(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = discover(capsys, tiny_cub, tmp_path / "m", "--by", "channels", "--layers", "blocks.4.2.bn2")
    assert ran.code == 0, ran.err
    detector = PartDetector.load(tmp_path / "m")
    for layer, channel in detector.part_channels_:
        assert layer == "blocks.4.2.bn2"
        assert str(channel) in ran.out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--parts", "99"), "6 images are too few to discover 99 parts"),
        (("--parts", "0"), "positive whole number"),
        (("--supervision", "labels"), "supervision must be one of box, none"),
        (("--by", "magic"), "by must be one of combinations, channels"),
        (("--region", "crop"), "region must be one of image, mask"),
        (("--name-from", "0"), "--name-from must be a positive number"),
        (("--layers", "blocks.9"), "no layer 'blocks.9'"),
    ],
)
def test_what_cannot_be_done_is_said(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, options: tuple[str, ...], says: str
) -> None:
    ran = discover(capsys, tiny_cub, tmp_path / "m", *options)
    assert ran.code == 2
    assert says in ran.error
    assert not (tmp_path / "m").exists()
