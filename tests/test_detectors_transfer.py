from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from drawn import PARTS, draw, drawn_dataset, mirrored
from partscope.dataset import PartDataset, Sample
from partscope.detectors import PartDetector, TransferDetector, transfer
from partscope.detectors.transfer import LENGTH, descriptor, grey_crop
from partscope.errors import DatasetError, ImageError, ModelFileError, OptionError, PartscopeWarning

# Two or three pictures that face the same way show one eye only.
pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("train"), 16)


@pytest.fixture(scope="module")
def detector(train: PartDataset) -> TransferDetector:
    return TransferDetector().fit(train)


def test_a_training_image_gets_its_own_parts(detector: TransferDetector, train: PartDataset) -> None:
    found = detector.predict(train)
    np.testing.assert_allclose(found.points, train.points)
    np.testing.assert_array_equal(found.found, train.visible)
    np.testing.assert_array_equal(found.visible, train.visible)
    np.testing.assert_allclose(found.score, np.where(train.visible, 1.0, 0.0))


def test_the_mirror_image_of_a_training_image_gets_the_mirrored_parts(
    detector: TransferDetector, train: PartDataset
) -> None:
    for sample in train:
        assert sample.box is not None
        image, points, box = mirrored(Image.open(sample.image).convert("RGB"), sample.points, sample.box)
        found = detector.predict([image], [box])
        np.testing.assert_allclose(found.points[0], points)


@settings(max_examples=12)
@given(seed=st.integers(1000, 10**6))
def test_the_mirrored_query_gets_the_mirrored_answer(detector: TransferDetector, seed: int) -> None:
    image, points, box = draw(np.random.default_rng(seed))
    # Whole pixels: resampling then mirrors up to rounding, and only a near tie could flip.
    box = (float(int(box[0])), float(int(box[1])), float(int(box[2])), float(int(box[3])))
    flipped, _, flipped_box = mirrored(image, points, box)
    both = detector.predict([image, flipped], [box, flipped_box])
    expected = both.points[0, [0, 2, 1, 3, 4]]
    expected[:, 0] = image.width - expected[:, 0]
    np.testing.assert_allclose(both.points[1], expected)
    np.testing.assert_allclose(both.score[1], both.score[0, [0, 2, 1, 3, 4]], rtol=1e-3)


def test_the_neighbour_is_the_one_that_plain_loops_over_both_orientations_find(
    detector: TransferDetector, train: PartDataset
) -> None:
    image, _, box = draw(np.random.default_rng(77))
    grey = grey_crop(image, box)
    best = (np.inf, -1, False)
    for i, sample in enumerate(train):
        assert sample.box is not None
        reference = descriptor(grey_crop(Image.open(sample.image).convert("RGB"), sample.box))
        for is_mirrored, query in ((False, grey), (True, grey[:, ::-1])):
            distance = float(np.linalg.norm(descriptor(query).astype(float) - reference))
            if distance < best[0]:
                best = (distance, i, is_mirrored)
    distance, index, is_mirrored = best
    assert detector.nearest(image, box)[:2] == (index, is_mirrored)
    assert detector.nearest(image, box)[2] == pytest.approx(distance, rel=1e-5)


def test_mirroring_the_query_instead_of_the_training_images_changes_no_distance_by_much(
    train: PartDataset,
) -> None:
    """HOG bins are half-open, so that mirroring permutes them up to the gradients that lie on an edge."""
    crops = []
    for sample in train[:6]:
        assert sample.box is not None
        crops.append(grey_crop(Image.open(sample.image).convert("RGB"), sample.box))
    for a in crops:
        for b in crops:
            query_mirrored = np.linalg.norm(descriptor(a[:, ::-1]) - descriptor(b))
            train_mirrored = np.linalg.norm(descriptor(a) - descriptor(b[:, ::-1]))
            assert query_mirrored == pytest.approx(train_mirrored, rel=0.05, abs=0.05)


def test_every_block_of_a_descriptor_has_unit_length_or_is_flat() -> None:
    rng = np.random.default_rng(0)
    values = descriptor(rng.uniform(0, 255, (128, 128)))
    assert values.shape == (LENGTH,)
    assert values.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(values.reshape(49, 36), axis=1), 1, rtol=1e-4)
    np.testing.assert_array_equal(descriptor(np.full((128, 128), 90.0)), 0)


@given(gain=st.floats(0.2, 0.9), offset=st.floats(0, 20))
@settings(max_examples=10)
def test_a_descriptor_does_not_depend_on_brightness_and_contrast(gain: float, offset: float) -> None:
    grey = grey_crop(*[draw(np.random.default_rng(3))[i] for i in (0, 2)])  # type: ignore[arg-type]
    np.testing.assert_allclose(descriptor(gain * grey + offset), descriptor(grey), atol=1e-5)


def test_the_score_is_the_mean_cosine_similarity_of_the_blocks(detector: TransferDetector) -> None:
    image, _, box = draw(np.random.default_rng(5))
    index, is_mirrored, _ = detector.nearest(image, box)
    grey = grey_crop(image, box)
    query = descriptor(grey[:, ::-1] if is_mirrored else grey).reshape(49, 36)
    cosines = (query * detector.features_[index].reshape(49, 36)).sum(axis=1)
    found = detector.predict([image], [box])
    np.testing.assert_allclose(found.score[found.found], cosines.mean(), atol=1e-5)


def test_a_tie_goes_to_the_first_training_image_unmirrored(tmp_path: Path) -> None:
    half = np.random.default_rng(0).integers(0, 255, (64, 32), dtype=np.uint8)
    symmetric = Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)).convert("RGB")
    samples = []
    for i in range(3):
        symmetric.save(tmp_path / f"{i}.png")
        point = np.array([[10.0 + i, 5.0]])
        samples.append(
            Sample(f"{i}", tmp_path / f"{i}.png", (64, 64), point, np.array([True]), (0, 0, 64, 64))
        )
    fitted = TransferDetector().fit(PartDataset(("spot",), tuple(samples)))
    assert fitted.nearest(symmetric, (0, 0, 64, 64)) == (0, False, 0.0)
    np.testing.assert_allclose(fitted.predict([symmetric], [(0, 0, 64, 64)]).points[0], [[10, 5]])


def test_flat_images_are_neighbours_of_each_other(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "green").save(tmp_path / "flat.png")
    sample = Sample(
        "flat", tmp_path / "flat.png", (40, 30), np.array([[20.0, 15]]), np.array([True]), (0, 0, 40, 30)
    )
    fitted = TransferDetector().fit(PartDataset(("spot",), (sample,)))
    found = fitted.predict([Image.new("RGB", (80, 60))], [(0, 0, 80, 60)])
    np.testing.assert_allclose(found.points[0], [[40, 30]])
    assert found.score[0, 0] == 1


def test_it_finds_parts_better_than_the_prior_in_the_box(detector: TransferDetector, tmp_path: Path) -> None:
    test = drawn_dataset(tmp_path, 20, seed=1)
    result = detector.evaluate(test)
    assert result.reference == "box"
    assert result.row()["region"] == "crop"
    assert result.skill > 0.5


def test_a_missing_box_is_an_error_that_names_the_image(
    detector: TransferDetector, train: PartDataset
) -> None:
    boxless = PartDataset(PARTS, (train[0], train[1].with_box(None)))
    with pytest.raises(DatasetError, match=f"{train[1].id}: the sample has no bounding box"):
        TransferDetector().fit(boxless)
    with pytest.raises(OptionError, match=f"{train[1].id}: .*bounding box"):
        detector.predict(boxless)
    with pytest.warns(PartscopeWarning, match="1 of 2 training images were left out"):
        fitted = TransferDetector().fit(boxless, on_error="skip")
    assert fitted.train_ids_ == (train[0].id,)
    assert len(fitted.features_) == 1


def test_unreadable_training_images_stop_the_fit_or_are_listed(train: PartDataset, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    first = train[0]
    broken = Sample("broken", tmp_path / "broken.png", first.size, first.points, first.visible, first.box)
    with pytest.raises(ImageError, match=r"broken\.png"):
        TransferDetector().fit(PartDataset(PARTS, (first, broken)))
    with pytest.warns(PartscopeWarning, match=r"1 of 2 training images .*broken\.png"):
        fitted = TransferDetector().fit(PartDataset(PARTS, (broken, first)), on_error="skip")
    assert [item.id for item in fitted.skipped_] == ["broken"]
    np.testing.assert_allclose(fitted.predict(PartDataset(PARTS, (first,))).points[0], first.points)
    with pytest.raises(DatasetError, match="none of the 1 training images"):
        TransferDetector().fit(PartDataset(PARTS, (broken,)), on_error="skip")


def test_an_image_of_another_size_than_stated_is_refused(train: PartDataset) -> None:
    first = train[0]
    wrong = Sample("wrong", first.image, (400, 400), first.points, first.visible, first.box)
    with pytest.raises(DatasetError, match=r"pixels where the data set states 400×400"):
        TransferDetector().fit(PartDataset(PARTS, (wrong,)))


def test_a_model_of_other_hog_settings_is_refused(
    detector: TransferDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector.save(tmp_path / "m.partscope")
    monkeypatch.setitem(transfer._SETTINGS, "block", 3)
    with pytest.raises(ModelFileError, match="other HOG settings"):
        PartDetector.load(tmp_path / "m.partscope")


def test_the_crop_of_the_mirrored_image_is_the_mirrored_crop() -> None:
    image, _, _ = draw(np.random.default_rng(9))
    box = (7.0, 3.0, 61.0, 47.0)
    flipped = (image.width - 68.0, 3.0, 61.0, 47.0)
    np.testing.assert_allclose(
        grey_crop(ImageOps.mirror(image), flipped), grey_crop(image, box)[:, ::-1], atol=1
    )


@pytest.mark.cub
def test_on_real_birds_it_beats_the_prior_in_the_box(cub_folder: Path) -> None:
    from partscope.formats import load_dataset

    birds = load_dataset("cub", cub_folder)
    result = TransferDetector().fit(birds.train.limit(200)).evaluate(birds.test.limit(100))
    assert 0.08 < result.error < 0.20
    assert result.skill > 0.1
