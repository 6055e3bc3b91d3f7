"""What the linear detector does with too little, with strange pictures, and with features that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from drawn import PARTS, draw, drawn_dataset, mirrored
from networks import backbone_of, seeded
from partscope.backbones import Backbone
from partscope.dataset import PartDataset, Sample
from partscope.detectors import LinearDetector, PartDetector
from partscope.errors import BackboneError, DatasetError, OptionError, PartscopeError, PartscopeWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]

ARRANGEMENTS = ("none", "exemplars")


def small_backbone(side: int = 48) -> Backbone:
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 24, 5, stride=2, padding=2),
        nn.ReLU(),
    )
    return backbone_of(seeded(network).eval().float(), "3", side)


def unfitted(arrangement: str = "exemplars", side: int = 48, **options: object) -> LinearDetector:
    settings = {"layers": ["0", "3"], "context": [], "flips": False, "arrangement": arrangement, **options}
    return LinearDetector(backbone=small_backbone(side), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 24)


def with_pictures(
    folder: Path, count: int, change: Callable[[Image.Image, np.ndarray, np.random.Generator], tuple]
) -> PartDataset:
    """Drawn pictures after a change: it gets picture, points and a generator, and returns picture, points and box."""
    rng = np.random.default_rng(1)
    samples = []
    for i in range(count):
        image, points, box = draw(rng)
        if i % 2:
            image, points, box = mirrored(image, points, box)
        x, y, w, h = box
        cut = image.crop((round(x), round(y), round(x + w), round(y + h)))
        image, points, box = change(cut, points - (round(x), round(y)), rng)
        path = folder / f"{i:02d}.png"
        image.save(path)
        samples.append(Sample(path.name, path, image.size, points, np.isfinite(points).all(axis=1), box))
    return PartDataset(PARTS, tuple(samples), "changed")


def error(detector: PartDetector, data: PartDataset) -> float:
    found = detector.predict(data)
    distance = np.linalg.norm(found.points - data.points, axis=2)
    return float(np.nanmean(distance / np.linalg.norm(data.boxes[:, 2:], axis=1)[:, None]))


# -- few images ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_fewer_images_than_parts_are_a_warning(data: PartDataset, arrangement: str, count: int) -> None:
    with pytest.warns(PartscopeWarning, match=f"{count} training images are fewer than the 5 parts"):
        detector = unfitted(arrangement).fit(data[:count])
    found = detector.predict(data[10:14])
    shown = np.asarray(data[:count].visible.any(axis=0))
    np.testing.assert_array_equal(found.found, np.tile(shown, (4, 1)))
    assert ((found.score >= 0) & (found.score <= 1)).all()


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_a_part_that_is_never_visible_is_named_and_never_found(
    data: PartDataset, arrangement: str, tmp_path: Path
) -> None:
    hidden = PARTS.index("left eye")
    facing_right = data[[i for i in range(16) if i % 2 == 0]]
    with pytest.warns(PartscopeWarning, match="1 of 5 parts are visible in no training image.*left eye"):
        detector = unfitted(arrangement).fit(facing_right)
    found = detector.predict(data[16:])
    assert not found.found[:, hidden].any()
    assert not found.visible[:, hidden].any()
    assert (found.score[:, hidden] == 0).all()
    assert found.found[:, [p for p in range(5) if p != hidden]].all()
    assert np.isfinite(detector.evaluate(data[16:], predictions=found).error)
    detector.save(tmp_path / "model")
    again = PartDetector.load(tmp_path / "model", backbone=small_backbone())
    np.testing.assert_array_equal(again.predict(data[16:]).points, found.points)


def test_a_part_that_only_one_image_shows(data: PartDataset) -> None:
    """It is left out with that image in turn, and learned from it in the end."""
    crest = PARTS.index("crest")
    samples = []
    for i, sample in enumerate(data[:8]):
        points, visible = np.array(sample.points), np.array(sample.visible)
        if i != 2:
            points[crest], visible[crest] = np.nan, False
        else:
            points[crest], visible[crest] = sample.points[PARTS.index("beak")], True
        samples.append(Sample(sample.id, sample.image, sample.size, points, visible, sample.box))
    detector = unfitted().fit(PartDataset(PARTS, tuple(samples), "one crest"))
    assert detector.statistics_.shown[crest] == 1
    assert detector.predict(data[10:]).found[:, crest].all()


def test_no_visible_part_at_all(data: PartDataset) -> None:
    blind = tuple(
        Sample(s.id, s.image, s.size, np.full((5, 2), np.nan), np.zeros(5, bool), s.box) for s in data[:3]
    )
    with pytest.raises(DatasetError, match="no part is visible"):
        unfitted().fit(PartDataset(PARTS, blind, "blind"))


def test_a_visible_part_without_a_position_is_refused(data: PartDataset) -> None:
    sample = data[0]
    with pytest.raises(DatasetError, match="marked visible but its position"):
        Sample(sample.id, sample.image, sample.size, np.full((5, 2), np.nan), np.ones(5, bool), sample.box)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_same_image_many_times(data: PartDataset, arrangement: str) -> None:
    """All arrangements are alike, and nothing differs between the images that are left out."""
    sample = data[0]
    copies = tuple(
        Sample(f"copy {i}", sample.image, sample.size, sample.points, sample.visible, sample.box)
        for i in range(6)
    )
    detector = unfitted(arrangement).fit(PartDataset(PARTS, copies, "copies"))
    found = detector.predict([sample.image])
    distance = np.linalg.norm(found.points[0] - sample.points, axis=1) / np.hypot(*sample.box[2:])
    assert np.nanmax(distance) < 0.15


# -- features that say nothing -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shrinkage", ["auto", 0.3])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_network_whose_features_are_constant(data: PartDataset, shrinkage: object, value: float) -> None:
    detector = unfitted(shrinkage=shrinkage)
    with torch.no_grad():
        for name, parameter in detector.backbone.network.named_parameters():  # type: ignore[union-attr]
            parameter.fill_(0.0 if name.endswith("weight") else value)
    with pytest.raises(BackboneError, match="same in every cell of every training image"):
        detector.fit(data[:8])
    assert not hasattr(detector, "train_ids_")


def test_channels_that_repeat_each_other(data: PartDataset) -> None:
    """The covariance is singular, and shrinkage makes it regular: (2Σ + λsI)w = m − μ is half of a single one's at λ/2."""
    once = unfitted("none", layers=["3"], shrinkage=0.15).fit(data[:16])
    twice = LinearDetector(
        repeated(), layers=["4"], context=[], flips=False, arrangement="none", shrinkage=0.3
    ).fit(data[:16])
    np.testing.assert_allclose(
        twice.discriminants_.weights[:24], twice.discriminants_.weights[24:], rtol=0.01
    )
    np.testing.assert_allclose(2 * twice.discriminants_.weights[:24], once.discriminants_.weights, rtol=0.01)
    np.testing.assert_allclose(twice.predict(data[16:]).points, once.predict(data[16:]).points, atol=0.05)
    arranged = LinearDetector(repeated(), layers=["4"], context=[], flips=False).fit(data[:16])
    assert error(arranged, data[16:]) < 0.5 * error(PartDetector("prior").fit(data[:16]), data[16:])


def repeated() -> Backbone:
    network = nn.Sequential(*small_backbone().network.children(), _Twice())
    return backbone_of(network.eval(), "4", 48)


class _Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], dim=1)


def test_a_shrinkage_too_small_for_a_singular_covariance_is_said(data: PartDataset) -> None:
    detector = LinearDetector(
        repeated(), layers=["4"], context=[], flips=False, arrangement="none", shrinkage=1e-300
    )
    with pytest.raises(OptionError, match="shrinkage"):
        detector.fit(data[:6])


def test_a_network_that_gives_nan_is_said(data: PartDataset) -> None:
    detector = unfitted()
    with torch.no_grad():
        detector.backbone.network[2].bias.fill_(torch.nan)  # type: ignore[union-attr, index]
    with pytest.raises(BackboneError, match="not finite"):
        detector.fit(data[:4])


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_a_blank_picture_gets_an_answer_inside_it(data: PartDataset, arrangement: str) -> None:
    detector = unfitted(arrangement).fit(data[:16])
    found = detector.predict([np.full((60, 90, 3), 127, np.uint8)])
    assert found.found.all()
    assert (found.points >= 0).all()
    assert (found.points <= (90, 60)).all()


# -- sizes ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 2)])
def test_pictures_of_a_pixel_and_slivers(
    data: PartDataset, tmp_path: Path, arrangement: str, size: tuple[int, int]
) -> None:
    detector = unfitted(arrangement).fit(data[:12])
    found = detector.predict([Image.new("RGB", size, (200, 30, 30))])
    assert ((found.points >= 0) & (found.points <= size)).all()
    path = tmp_path / "small.png"
    Image.new("RGB", size, (200, 30, 30)).save(path)
    tiny = Sample(
        "small", path, size, np.tile(np.array(size) / 2, (5, 1)), np.ones(5, bool), (0.0, 0.0, *size)
    )
    with_tiny = PartDataset(PARTS, (*data[:8].samples, tiny), "with a sliver")
    learned = unfitted(arrangement).fit(with_tiny)
    assert len(learned.train_ids_) == 9
    assert np.isfinite(learned.predict(data[20:22]).points).all()


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_four_parts_of_a_single_class_in_pictures_of_a_hundred_pixels(
    tmp_path: Path, arrangement: str
) -> None:
    whole = with_pictures(tmp_path, 30, _on_canvas(100, 0.3))
    four = whole.with_parts(["beak", "right eye", "left eye", "tail"])
    assert four.labels == (None,) * 30
    detector = unfitted(arrangement, side=96).fit(four[:20])
    prior = PartDetector("prior").fit(four[:20])
    assert error(detector, four[20:]) < 0.5 * error(prior, four[20:])


@pytest.mark.parametrize("region", ["image", "crop"])
@pytest.mark.parametrize(("share", "most"), [(0.02, 0.6), (1.0, 0.75)])
def test_objects_of_two_per_cent_and_objects_that_fill_the_frame(
    tmp_path: Path, share: float, most: float, region: str
) -> None:
    changed = with_pictures(tmp_path, 30, _on_canvas(240, share))
    area = np.prod(changed.boxes[:, 2:], axis=1) / np.prod(changed.sizes, axis=1)
    assert np.median(area) == pytest.approx(share, rel=0.3)
    detector = unfitted(side=160 if region == "image" else 96, region=region).fit(changed[:20])
    kind = "image" if region == "image" else "box"
    prior = PartDetector("prior", region=kind).fit(changed[:20])
    assert error(detector, changed[20:]) < most * error(prior, changed[20:])


def _on_canvas(side: int, share: float) -> Callable[..., tuple]:
    """Put the animal at a random place of a square of noise, so large that its box covers `share` of the area."""

    def change(cut: Image.Image, points: np.ndarray, rng: np.random.Generator) -> tuple:
        if share == 1.0:
            box = (0.0, 0.0, float(cut.width), float(cut.height))
            return cut, np.clip(points, 0, cut.size), box
        zoom = side * np.sqrt(share / (cut.width * cut.height))
        width, height = round(cut.width * zoom), round(cut.height * zoom)
        x, y = int(rng.integers(0, side - width)), int(rng.integers(0, side - height))
        canvas = Image.fromarray(rng.integers(90, 130, (side, side, 3), dtype=np.uint8))
        canvas.paste(cut.resize((width, height), Image.Resampling.BOX), (x, y))
        moved = points * (width / cut.width, height / cut.height) + (x, y)
        return canvas, moved, (float(x), float(y), float(width), float(height))

    return change


# -- going on ---------------------------------------------------------------------------------------------------------------
def test_a_fit_that_fails_leaves_an_unfitted_detector(data: PartDataset, tmp_path: Path) -> None:
    detector = unfitted("none", shrinkage=0.3).fit(data[:6])
    broken = drawn_dataset(tmp_path, 4)
    broken[1].image.write_bytes(b"nothing")
    with pytest.raises(PartscopeError):
        detector.fit(broken)
    with pytest.raises(Exception, match="not fitted"):
        detector.predict(data[:1])


def test_part_names_in_another_order_are_matched(data: PartDataset) -> None:
    turned = data.with_parts(tuple(reversed(PARTS)))
    grown = unfitted("none", shrinkage=0.3).fit(data[:6]).partial_fit(turned[6:12])
    whole = unfitted("none", shrinkage=0.3).fit(data[:12])
    np.testing.assert_allclose(grown.predict(data[16:]).points, whole.predict(data[16:]).points, atol=0.01)
