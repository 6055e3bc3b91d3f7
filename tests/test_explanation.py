"""What a part rests on: summands that add up to the evidence, the ranking, the figure, and the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from command_line import run
from drawn import PARTS, drawn_dataset
from networks import backbone_of, seeded
from partscope.backbones import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, LinearDetector, PartDetector
from partscope.errors import OptionError
from partscope.explanation import explain, strongest_channels
from partscope.images import load_image
from partscope.maps import gradient_maps
from partscope.views import view

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]

LAYERS = ["0", "3"]
CHANNELS = 8 + 12


def network() -> Backbone:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(8, 12, 5, stride=2, padding=2),
        nn.ReLU(),
    )
    return backbone_of(seeded(layers).float(), "3", 48)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 16)


@pytest.fixture(scope="module")
def linear(data: PartDataset) -> LinearDetector:
    return LinearDetector(
        network(), layers=LAYERS, context=["3"], arrangement="none", shrinkage=0.3, flips=False
    ).fit(data[:12])


@pytest.fixture(scope="module")
def channel(data: PartDataset) -> ChannelDetector:
    return ChannelDetector(network(), centre="centroid", search="exhaustive").fit(data[:12])


@pytest.mark.parametrize("part", ["beak", "tail"])
def test_what_all_channels_add_is_the_evidence(linear: LinearDetector, data: PartDataset, part: str) -> None:
    """But for a constant: the evidence at the background's mean features."""
    image = load_image(data[13].image)
    found = explain(linear, image, part, count=CHANNELS)
    assert len(found.channels) == CHANNELS
    assert found.signed
    statistics, p = linear.statistics_, PARTS.index(part)
    usual = statistics.total / statistics.cells @ linear.discriminants_.weights[:, p].astype(np.float64)
    constant = usual + float(linear.discriminants_.bias[p])
    np.testing.assert_allclose(found.maps.sum(axis=0) + constant, found.evidence, atol=1e-3)
    np.testing.assert_allclose(found.evidence, linear.evidence(image)[0][p], atol=1e-5)
    assert found.frame == (0.0, 0.0, float(image.width), float(image.height))


def test_the_strongest_come_first(linear: LinearDetector) -> None:
    few, all_of_them = strongest_channels(linear, "beak", 3), strongest_channels(linear, "beak", 99)
    assert len(all_of_them) == CHANNELS
    assert all_of_them[:3] == few
    strengths = [abs(one.strength or 0) for one in all_of_them]
    assert strengths == sorted(strengths, reverse=True)
    assert all(one.cost is None for one in few)


def test_of_the_channel_detector_the_ranking_and_its_gradient_maps(
    channel: ChannelDetector, data: PartDataset
) -> None:
    found = explain(channel, load_image(data[13].image), "tail", count=3)
    ranked = channel.ranking_.top("tail", 3)
    assert [one.channel for one in found.channels] == [one["channel"] for one in ranked]
    assert [one.cost for one in found.channels] == [one["cost"] for one in ranked]
    assert not found.signed
    seen = view(channel.backbone_.preprocessing, load_image(data[13].image), "image")
    expected = gradient_maps(channel.backbone_, seen.inputs, [one["channel"] for one in ranked])
    np.testing.assert_allclose(found.maps, expected, rtol=1e-5)
    np.testing.assert_array_equal(found.evidence, found.maps[0])
    predicted = channel.predict([data[13].image])
    np.testing.assert_allclose(found.point, predicted.points[0, PARTS.index("tail")])


def test_with_the_box_the_maps_show_it(data: PartDataset) -> None:
    boxed = LinearDetector(
        network(), layers=["3"], context=[], arrangement="none", shrinkage=0.3, region="crop", flips=False
    ).fit(data[:4])
    found = explain(boxed, load_image(data[13].image), "tail", data[13].box, count=2)
    np.testing.assert_allclose(found.frame, data[13].box)
    masked = ChannelDetector(network(), centre="maximum", search="exhaustive", region="mask").fit(data[:4])
    shown = explain(masked, load_image(data[13].image), "tail", data[13].box, count=1)
    x, y, width, height = shown.frame
    assert (x, y, width, height) == (0.0, 0.0, *map(float, data[13].size))
    assert data[13].box is not None
    outside = (np.arange(48) + 0.5) / 48 * width < data[13].box[0]
    assert outside.any()
    assert (shown.maps[:, :, outside] == 0).all()
    with pytest.raises(OptionError, match="bounding box"):
        explain(boxed, load_image(data[13].image), "tail")


def test_what_cannot_be_explained(linear: LinearDetector, data: PartDataset) -> None:
    image = load_image(data[0].image)
    with pytest.raises(OptionError, match="no part 'wing'"):
        explain(linear, image, "wing")
    with pytest.raises(OptionError, match="at least 1"):
        strongest_channels(linear, "beak", 0)
    with pytest.raises(OptionError, match="'prior' finds cannot be told from single channels"):
        strongest_channels(PartDetector("prior").fit(data), "beak")
    facing_right = data[[i for i in range(8) if i % 2 == 0]]
    for detector in (
        LinearDetector(network(), layers=["3"], context=[], arrangement="none", shrinkage=0.3, flips=False),
        ChannelDetector(network(), centre="maximum", search="exhaustive"),
    ):
        with pytest.raises(OptionError, match="no training image shows the part 'left eye'"):
            explain(detector.fit(facing_right), image, "left eye")


def test_figure(linear: LinearDetector, channel: ChannelDetector, data: PartDataset) -> None:
    pytest.importorskip("matplotlib")
    from partscope.figures import figure_bytes, figure_evidence

    image = load_image(data[13].image)
    rows = [explain(linear, image, "beak", count=3), explain(channel, image, "tail", count=2)]
    figure = figure_evidence(image, rows)
    axes = np.array(figure.axes).reshape(2, 5)
    strongest = rows[0].channels[0]
    assert f"channel {strongest.channel}: {strongest.strength:+.2f}" in axes[0, 2].get_title(loc="left")
    drawn = axes[0, 2].get_images()[0]
    np.testing.assert_array_equal(drawn.get_array(), rows[0].maps[0])
    most = np.abs(rows[0].maps).max()
    assert (drawn.norm.vmin, drawn.norm.vmax) == (-most, most), "zero is white, one scale for the row"
    assert tuple(drawn.get_extent()) == (0, image.width, image.height, 0)
    assert not axes[1, 4].get_visible()
    np.testing.assert_allclose(axes[0, 1].lines[-1].get_xydata()[0], rows[0].point)
    assert figure_bytes(figure) == figure_bytes(figure_evidence(image, rows))
    with pytest.raises(OptionError, match="no part to draw"):
        figure_evidence(image, [])


Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of the linear method with a network of the registry, on tiny pictures."""
    folder = tmp_path_factory.mktemp("model")
    data = drawn_dataset(folder, 4)
    detector = LinearDetector(
        layers=["blocks.1.0"], context=[], input_size=64, arrangement="none", shrinkage=0.3, flips=False
    )
    detector.fit(data).save(folder / "m.partscope")
    Image.open(data[0].image).save(folder / "a.png")
    return folder / "m.partscope"


def test_command_lists_and_draws(model: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run(capsys, "explain", model, "--part", "beak, tail", "--top", "2", "--json", "-")
    assert ran.code == 0, ran.err
    assert set(ran.json["parts"]) == {"beak", "tail"}
    detector = PartDetector.load(model)
    expected = strongest_channels(detector, "beak", 2)
    assert [(one["layer"], one["channel"], one["strength"]) for one in ran.json["parts"]["beak"]] == [
        (one.layer, one.channel, one.strength) for one in expected
    ]
    assert ran.json["figure"] is None
    pytest.importorskip("matplotlib")
    out = tmp_path / "why.png"
    ran = run(capsys, "explain", model, model.parent / "a.png", "--out", out, "--json", "-")
    assert ran.code == 0, ran.err
    found = detector.predict([model.parent / "a.png"])
    assert ran.json["figure"]["parts"]["beak"]["x"] == pytest.approx(found.points[0, 0, 0])
    assert set(ran.json["parts"]) == set(PARTS)
    with Image.open(out) as figure:
        assert min(figure.size) > 400


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a.png",), "both IMAGE and --out"),
        (("--out", "x.png"), "both IMAGE and --out"),
        (("--box", "1,2,3,4"), "--box belongs to an image"),
        (("--part", "wing"), "no part 'wing'"),
        (("--part", ","), "--part names no part"),
        (("a.png", "--out", "x.gif"), ".png, .svg or .pdf"),
        (("a.png", "--out", "x.png", "--box", "1,2"), "--box must be four numbers"),
        (("missing.png", "--out", "x.png"), "missing.png"),
    ],
)
def test_command_refuses(
    model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(model.parent)
    ran = run(capsys, "explain", model, *words)
    assert ran.code == 2
    assert says in ran.error
    assert not (model.parent / "x.png").exists()
