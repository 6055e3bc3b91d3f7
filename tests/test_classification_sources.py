"""Where patches are: scenes, the registry of sources, and what they learn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawn import PARTS, drawn_dataset
from partscope.classification.knowledge import learn
from partscope.classification.scenes import Scenes, scenes_of
from partscope.classification.sources import (
    Known,
    mirror_of,
    part_source,
    part_sources,
    points_of,
    register_source,
)
from partscope.dataset import PartDataset, Sample
from partscope.detectors import PartDetector, PriorDetector
from partscope.detectors.queries import Query
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.predictions import PartPredictions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 6)


@pytest.fixture(scope="module")
def detector(data: PartDataset) -> PartDetector:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartscopeWarning)
        return PriorDetector().fit(data)


def located(source: str, images: Any, known: Known, **options: Any) -> np.ndarray:
    scenes, _, _ = scenes_of(images, needs_box=known.region == "crop")
    return points_of(source, scenes, known, **options)[0]


# -- scenes ---------------------------------------------------------------------------------------------------------
def test_every_kind_of_images_gives_the_same_sizes(data: PartDataset) -> None:
    paths = [sample.image for sample in data]
    pictures = [Image.open(path) for path in paths]
    objects = np.empty(len(paths), dtype=object)
    objects[:] = paths
    queries = [Query.of(sample) for sample in data]
    for images in (
        data,
        list(data),
        tuple(data.samples),
        queries,
        paths,
        [str(path) for path in paths],
        objects,
        pictures,
        [np.asarray(picture.convert("RGB")) for picture in pictures],
    ):
        scenes, kept, failures = scenes_of(images)
        np.testing.assert_array_equal(scenes.sizes, data.sizes)
        np.testing.assert_array_equal(kept, np.arange(6))
        assert failures == ()
        assert np.isnan(scenes.boxes).all()  # nobody asked for them


def test_only_annotated_images_bring_marked_parts(data: PartDataset) -> None:
    assert scenes_of(data)[0].parts == PARTS
    samples = scenes_of(list(data))[0]
    assert samples.parts is None
    np.testing.assert_array_equal(samples.marked, data.points)
    assert scenes_of([sample.image for sample in data])[0].marked is None


def test_an_upright_picture_has_its_upright_size() -> None:
    picture = Image.new("RGB", (30, 20))
    picture.getexif()[0x0112] = 6
    assert scenes_of([picture])[0].sizes.tolist() == [[20, 30]]


def test_boxes_are_clipped_with_a_warning_and_needed_ones_are_asked_for(data: PartDataset) -> None:
    boxes = data.boxes.copy()
    boxes[0] = (-5, -5, 50, 40)
    with pytest.warns(PartscopeWarning, match="1 of 6 bounding boxes reached over the border"):
        scenes, _, _ = scenes_of(data, boxes, needs_box=True)
    assert scenes.boxes[0].tolist() == [0, 0, 45, 35]
    paths = [sample.image for sample in data]
    with pytest.raises(DatasetError, match=r"0_00\.png: the image has no bounding box.*region 'image'"):
        scenes_of(paths, needs_box=True)
    rows: list[Any] = [None, *data.boxes[1:].tolist()]
    scenes, kept, failures = scenes_of(paths, rows, needs_box=True, on_error="skip")
    assert kept.tolist() == [1, 2, 3, 4, 5]
    assert [failure.id for failure in failures] == [str(paths[0])]
    np.testing.assert_array_equal(scenes.boxes, data.boxes[1:])


def test_what_cannot_be_a_scene_is_refused(data: PartDataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="mixed"):
        scenes_of([data[0], data[1].image])
    with pytest.raises(OptionError, match="must be a sequence"):
        scenes_of(str(data[0].image))
    with pytest.raises(OptionError, match="has 2 parts where"):
        scenes_of([data[0], data.with_parts(PARTS[:2])[1]])
    with pytest.raises(ImageError, match=r"none\.png"):
        scenes_of([tmp_path / "none.png"])
    with pytest.raises(OptionError, match="on_error"):
        scenes_of(data, on_error="ignore")
    scenes, kept, failures = scenes_of([tmp_path / "none.png", data[0].image], on_error="skip")
    assert (len(scenes), kept.tolist(), len(failures)) == (1, [1], 1)


# -- the registry ---------------------------------------------------------------------------------------------------
def test_the_sources_of_the_protocol_are_there() -> None:
    assert {"none", "estimated", "ground_truth", "prior", "grid", "random"} <= set(part_sources())
    with pytest.raises(OptionError, match=r"no part source 'oracle'.*estimated"):
        part_source("oracle")


def test_a_new_source_is_a_decorated_function(data: PartDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from partscope.classification import sources

    monkeypatch.setattr(sources, "_SOURCES", dict(sources._SOURCES))

    @register_source("corner")
    def corner(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Any:
        return np.zeros((len(scenes), len(known.parts), 2)), {}

    assert located("corner", data, learn(data, source="corner")).shape == (6, 5, 2)


# -- points ---------------------------------------------------------------------------------------------------------
def test_none_has_no_patches(data: PartDataset) -> None:
    assert located("none", data, learn([s.image for s in data], source="none")).shape == (6, 0, 2)


def test_ground_truth_is_the_visible_marked_parts(data: PartDataset) -> None:
    known = learn(data, source="ground_truth")
    np.testing.assert_array_equal(located("ground_truth", data, known), data.points)
    assert np.isnan(data.points).any()
    known = learn(data, source="ground_truth", parts=["tail", "beak"])
    np.testing.assert_array_equal(located("ground_truth", data, known), data.points[:, [3, 0]])
    # By name: a data set with its parts in another order.
    turned = data.with_parts(PARTS[::-1])
    np.testing.assert_array_equal(located("ground_truth", turned, known), data.points[:, [3, 0]])


def test_ground_truth_needs_marked_parts_of_the_same_names(data: PartDataset) -> None:
    known = learn(data, source="ground_truth")
    with pytest.raises(DatasetError, match=r"brings no marked parts.*'estimated' with a detector"):
        located("ground_truth", [data[0].image], known)
    with pytest.raises(DatasetError, match="no part 'crest', which was learned; nearest names:"):
        located("ground_truth", data.with_parts(PARTS[:4]), known)
    with pytest.raises(DatasetError, match="has 4 parts where 5 were learned"):
        located("ground_truth", list(data.with_parts(PARTS[:4])), known)


def test_the_prior_is_relative_to_image_or_box(data: PartDataset, detector: PartDetector) -> None:
    known = learn(data, source="prior")
    np.testing.assert_allclose(located("prior", data, known), detector.predict(data).points)
    crop = located("prior", data, learn(data, source="prior", region="crop"))
    np.testing.assert_allclose(crop, PriorDetector("box").fit(data).predict(data).points)
    bare = PartDataset(PARTS, tuple(sample.with_box(None) for sample in data))
    with pytest.raises(DatasetError, match="no training image has one"):
        learn(bare, source="prior", region="crop")
    with pytest.raises(DatasetError, match="learns from marked parts"):
        learn([data[0].image], source="prior", detector=detector)


@pytest.mark.parametrize("region", ["image", "crop"])
@pytest.mark.parametrize("source", ["grid", "random"])
def test_controls_have_as_many_points_as_parts_inside_the_region(
    data: PartDataset, source: str, region: str
) -> None:
    known = learn(data, source=source, region=region)
    points = located(source, data, known)
    assert points.shape == (6, 5, 2)
    areas = data.boxes if region == "crop" else np.hstack([np.zeros((6, 2)), data.sizes])
    relative = (points - areas[:, None, :2]) / areas[:, None, 2:]
    assert ((relative > 0) & (relative < 1)).all()
    if source == "grid":  # one place in every image
        np.testing.assert_allclose(relative, np.broadcast_to(relative[0], relative.shape), atol=1e-9)


def test_random_points_depend_on_seed_and_image_alone(data: PartDataset) -> None:
    first = located("random", data, learn(data, source="random"))
    np.testing.assert_array_equal(located("random", data[::-1], learn(data, source="random"))[::-1], first)
    assert not np.isclose(located("random", data, learn(data, source="random", random_state=1)), first).any()


def test_estimated_parts_are_the_detectors(data: PartDataset, detector: PartDetector) -> None:
    expected = detector.predict(data).points
    known = learn(data, source="estimated", detector=detector)
    assert known.parts == PARTS
    assert known.detector is detector
    np.testing.assert_array_equal(located("estimated", data, known), expected)
    known = learn([], source="estimated", detector=detector, parts=["tail"])
    np.testing.assert_array_equal(located("estimated", [s.image for s in data], known), expected[:, 3:4])
    pictures = [Image.open(sample.image) for sample in data]
    np.testing.assert_array_equal(located("estimated", pictures, known), expected[:, 3:4])


def test_predictions_are_used_where_they_are_known(data: PartDataset, detector: PartDetector) -> None:
    shape = (3, 5)
    ready = PartPredictions(
        PARTS[::-1],
        data.ids[:3],
        np.full((*shape, 2), 7.0),
        np.ones(shape, bool),
        np.ones(shape),
        np.ones(shape, bool),
    )
    known = learn(data, source="estimated", detector=detector, predictions=ready)
    points = located("estimated", data, known)
    assert (points[:3] == 7).all()
    np.testing.assert_array_equal(points[3:], detector.predict(data[3:]).points)
    alone = learn([], source="estimated", predictions=ready)
    assert alone.parts == PARTS[::-1]
    assert (located("estimated", data[:3], alone) == 7).all()
    with pytest.raises(DatasetError, match=r"0_03\.png: the predictions hold no parts"):
        located("estimated", data, alone)


def test_images_that_cannot_be_searched_are_listed(
    data: PartDataset, detector: PartDetector, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(data[0].image.read_bytes()[:900])
    images = [data[0].image, broken, data[1].image]
    known = learn([], source="estimated", detector=detector)
    scenes, _, _ = scenes_of(images)
    points, kept, failures = points_of("estimated", scenes, known, on_error="skip")
    assert kept.tolist() == [0, 2]
    assert [failure.id for failure in failures] == [str(broken)]
    np.testing.assert_array_equal(points, detector.predict(data[:2]).points)
    with pytest.raises(ImageError, match=r"broken\.png"):
        points_of("estimated", scenes, known)


# -- what is learned ------------------------------------------------------------------------------------------------
def test_an_unfitted_detector_is_cloned_and_fitted(data: PartDataset) -> None:
    given = PriorDetector()
    known = learn(data, source="estimated", detector=given)
    assert known.detector is not given
    assert not hasattr(given, "train_ids_")
    assert known.detector is not None
    assert known.detector.train_ids_ == data.ids
    with pytest.raises(DatasetError, match=r"the detector is not fitted.*fit the detector first"):
        learn(list(data), source="estimated", detector=given)


def test_a_source_says_what_it_lacks(data: PartDataset, detector: PartDetector) -> None:
    with pytest.raises(OptionError, match=r"needs a detector; give PartFeatures\(detector\)"):
        learn(data, source="estimated")
    with pytest.raises(OptionError, match=r"searches the whole image.*region='crop'"):
        learn(data, source="estimated", detector=detector, region="crop")
    with pytest.raises(DatasetError, match="'grid' needs to know the parts"):
        learn([data[0].image], source="grid")


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (["beek"], "no part 'beek' in the part set of the data; nearest names: 'beak'"),
        ([], "parts is empty"),
        (["beak", "beak"], "'beak' is given more than once"),
        ("beak", r"write parts=\['beak'\]"),
    ],
)
def test_a_part_set_that_does_not_fit_is_named(data: PartDataset, parts: Any, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        learn(data, source="ground_truth", parts=parts)


def test_a_part_that_the_detector_does_not_have(data: PartDataset) -> None:
    small = PriorDetector().fit(data.with_parts(PARTS[:4]))
    with pytest.raises(OptionError, match="no part 'crest'"):
        learn(data, source="estimated", detector=small, parts=["beak", "crest"])


def test_samples_alone_have_names_only_from_a_fitted_detector(
    data: PartDataset, detector: PartDetector
) -> None:
    known = learn(list(data), source="ground_truth")
    assert known.parts == ("part 1", "part 2", "part 3", "part 4", "part 5")
    np.testing.assert_array_equal(located("ground_truth", list(data), known), data.points)
    with pytest.raises(DatasetError, match="left and right, are not known"):
        mirror_of("ground_truth", known)
    named = learn(list(data), source="ground_truth", detector=detector, parts=["tail"])
    np.testing.assert_array_equal(located("ground_truth", list(data), named), data.points[:, 3:4])
    with pytest.raises(DatasetError, match="has 4 parts where the detector has 5"):
        learn(list(data.with_parts(PARTS[:4])), source="ground_truth", detector=detector)


# -- mirror images --------------------------------------------------------------------------------------------------
def test_left_and_right_change_places_among_the_chosen_parts(data: PartDataset) -> None:
    known = learn(data, source="ground_truth")
    assert mirror_of("ground_truth", known).tolist() == [0, 2, 1, 3, 4]
    known = learn(data, source="ground_truth", parts=["right eye", "tail", "left eye"])
    assert mirror_of("ground_truth", known).tolist() == [2, 1, 0]
    known = learn(data, source="ground_truth", parts=["right eye", "tail"])
    assert mirror_of("ground_truth", known).tolist() == [0, 1]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 12, 15, 16])
def test_a_mirrored_grid_is_the_grid(count: int) -> None:
    known = Known(tuple(f"p{i}" for i in range(count)))
    sample = Sample("a", Path("a.png"), (90, 60), np.empty((0, 2)), np.empty(0, bool))
    points = located("grid", [sample], known)[0]
    mirror = mirror_of("grid", known)
    np.testing.assert_allclose(points[mirror], points * (-1, 1) + (90, 0), atol=1e-9)
    assert mirror_of("random", known).tolist() == list(range(count))
