from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from drawn import draw, drawn_dataset, mirrored
from partscope.classification.components import Grids, learn_components
from partscope.classification.deformable import DeformableParts, PlacedParts
from partscope.classification.facing import common_facing
from partscope.classification.hog_cells import DEPTH, grey_crop, hog_cells, mirror_cells
from partscope.classification.placement import Deformation, distance_transform, responses
from partscope.classification.whitening import Background, Whitening
from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning

COUNT = 30


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("animals"), COUNT)


@pytest.fixture(scope="module")
def model(animals: PartDataset) -> DeformableParts:
    return DeformableParts(components=2, parts=6, rounds=2).fit(animals)


@pytest.fixture(scope="module")
def placed(model: DeformableParts, animals: PartDataset) -> PlacedParts:
    return model.place(animals)


# -- cells ----------------------------------------------------------------------------------------------------------
def test_cells_leave_out_the_border_and_mirror() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (48, 64))
    cells = hog_cells(grey)
    assert cells.shape == (4, 6, DEPTH)
    assert cells.dtype == np.float32
    # HOG takes the gradients of the outermost rows as horizontal, which is on the edge of an orientation bin.
    inner = np.s_[1:-1]
    np.testing.assert_allclose(mirror_cells(cells)[inner], hog_cells(grey[:, ::-1])[inner], atol=1e-5)
    np.testing.assert_allclose(mirror_cells(cells), hog_cells(grey[:, ::-1]), atol=0.1)
    np.testing.assert_array_equal(mirror_cells(mirror_cells(cells)), cells)
    # Both ways of summing a cell's 4×9 values have the same total.
    np.testing.assert_allclose(cells[..., :9].sum(axis=2), cells[..., 9:].sum(axis=2), rtol=1e-5)
    np.testing.assert_array_equal(hog_cells(np.full((32, 32), 7.0)), 0)


def test_a_crop_has_its_surroundings_and_reflects_the_border() -> None:
    ramp = np.tile(np.arange(100, dtype=np.uint8), (80, 1))
    image = Image.fromarray(ramp).convert("RGB")
    inside = grey_crop(image, (20.0, 20.0, 40.0, 40.0), 40, 10)
    np.testing.assert_allclose(inside, np.tile(np.arange(10.0, 70.0), (60, 1)), atol=0.01)
    corner = grey_crop(image, (0.0, 0.0, 40.0, 40.0), 40, 10)
    assert corner.shape == (60, 60)
    np.testing.assert_allclose(corner[0, 10:], np.arange(50), atol=0.5)
    np.testing.assert_array_equal(corner[:, :10], corner[:, 19:9:-1])
    np.testing.assert_array_equal(corner[:10], corner[19:9:-1])


@settings(max_examples=30)
@given(
    x=st.floats(0, 95),
    y=st.floats(0, 75),
    width=st.floats(0.01, 300),
    height=st.floats(0.01, 300),
)
def test_every_box_in_the_image_gives_a_whole_crop(x: float, y: float, width: float, height: float) -> None:
    image = Image.new("RGB", (100, 80), "white")
    box = (x, y, min(width, 100 - x), min(height, 80 - y))
    np.testing.assert_allclose(grey_crop(image, box, 32, 8), np.full((48, 48), 255.0), atol=1e-3)


# -- templates ------------------------------------------------------------------------------------------------------
def smooth_grid(seed: int, rows: int = 12, columns: int = 15, depth: int = 3) -> np.ndarray:
    """Cells that depend on their neighbours and on each other's values."""
    noise = np.random.default_rng(seed).normal(size=(rows + 1, columns + 1, depth))
    cells = noise[1:, 1:] + 0.6 * noise[:-1, 1:] + 0.3 * noise[1:, :-1]
    cells[..., 1] += 0.5 * cells[..., 0]
    return (cells + np.array([1.0, 2.0, 3.0])).astype(np.float32)


def test_the_covariance_is_that_of_plain_loops_over_pairs_of_cells() -> None:
    grids = [smooth_grid(0), smooth_grid(1, 7, 9)]
    background = Background.measure(grids, 3)
    cells = np.concatenate([grid.reshape(-1, 3) for grid in grids]).astype(float)
    np.testing.assert_allclose(background.mean, cells.mean(axis=0), rtol=1e-6)
    for dy, dx in ((0, 0), (1, 0), (0, 2), (2, -1), (-1, 3), (-3, -3)):
        expected = np.zeros((3, 3))
        for grid in grids:
            values = grid - cells.mean(axis=0)
            for y in range(grid.shape[0]):
                for x in range(grid.shape[1]):
                    if 0 <= y + dy < grid.shape[0] and 0 <= x + dx < grid.shape[1]:
                        expected += np.outer(values[y, x], values[y + dy, x + dx])
        np.testing.assert_allclose(
            background.covariance[3 + dy, 3 + dx], expected / len(cells), rtol=1e-5, atol=1e-7
        )


def test_a_templates_covariance_holds_the_offset_of_every_pair() -> None:
    background = Background.measure([smooth_grid(2)], 3)
    whole = background.of_template(2, 4).reshape(2, 4, 3, 2, 4, 3)
    np.testing.assert_array_equal(whole[0, 3, :, 1, 1], background.covariance[3 + 1, 3 - 2])
    np.testing.assert_array_equal(whole[1, 0, :, 0, 3], background.covariance[3 - 1, 3 + 3])
    flat = background.of_template(4, 4)
    np.testing.assert_allclose(flat, flat.T)
    assert np.linalg.eigvalsh(flat).min() > -1e-9
    with pytest.raises(ValueError, match="farther than 3 cells"):
        background.of_template(2, 5)


def test_whitening_and_templates_solve_the_linear_system() -> None:
    background = Background.measure([smooth_grid(3), smooth_grid(4)], 2)
    space = Whitening(background, 2, 3, ridge=0.1)
    covariance = background.of_template(2, 3)
    covariance += 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    mean = np.random.default_rng(5).normal(size=(2, 3, 3))
    weights, bias = space.template(mean)
    difference = mean.ravel() - np.tile(background.mean, 6)
    np.testing.assert_allclose(weights.ravel(), np.linalg.solve(covariance, difference))
    # The log likelihood ratio of the two Gaussians, at any point.
    point = np.random.default_rng(6).normal(size=18)
    inverse = np.linalg.inv(covariance)
    centred = [point - mean.ravel(), point - np.tile(background.mean, 6)]
    ratio = -0.5 * (centred[0] @ inverse @ centred[0] - centred[1] @ inverse @ centred[1])
    assert weights.ravel() @ point + bias == pytest.approx(ratio)
    # Distances between whitened points are Mahalanobis distances.
    points = np.random.default_rng(7).normal(size=(2, 2, 3, 3))
    a, b = space.whiten(points)
    between = (points[0] - points[1]).ravel()
    assert np.square(a - b).sum() == pytest.approx(between @ inverse @ between)


def test_images_without_gradients_give_no_templates() -> None:
    space = Whitening(Background.measure([np.zeros((6, 6, 2), np.float32)], 1), 2, 2)
    with pytest.raises(DatasetError, match="gradients do not vary"):
        space.template(np.ones((2, 2, 2)))
    with pytest.raises(DatasetError, match="at least one image"):
        Background.measure([], 1)


# -- placement ------------------------------------------------------------------------------------------------------
def test_responses_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(5, 7, 3))
    weights, bias = rng.normal(size=(2, 2, 4, 3)), rng.normal(size=2)
    found = responses(cells, weights, bias)
    assert found.shape == (2, 4, 4)
    for t in range(2):
        for y in range(4):
            for x in range(4):
                expected = (cells[y : y + 2, x : x + 4] * weights[t]).sum() + bias[t]
                assert found[t, y, x] == pytest.approx(expected)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    anchor=st.tuples(st.floats(-3, 8), st.floats(-3, 8)),
    variance=st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)),
)
def test_the_distance_transform_is_the_best_of_all_positions(
    seed: int, anchor: tuple[float, float], variance: tuple[float, float]
) -> None:
    scores = np.random.default_rng(seed).normal(scale=3, size=(6, 9))
    deformation = Deformation(anchor, variance)
    rows, columns = np.array([0.0, 2.0]), np.array([-1.0, 1.0, 3.0])
    value, position = distance_transform(
        scores, deformation.cost(1, 6, rows), deformation.cost(0, 9, columns)
    )
    assert value.shape == (2, 3)
    assert position.shape == (2, 3, 2)
    for r, origin_y in enumerate(rows):
        for q, origin_x in enumerate(columns):
            total = np.empty((6, 9))
            for y in range(6):
                for x in range(9):
                    dx, dy = x - origin_x - anchor[0], y - origin_y - anchor[1]
                    density = np.exp(-(dx**2) / (2 * variance[0]) - dy**2 / (2 * variance[1]))
                    density /= 2 * np.pi * np.sqrt(variance[0] * variance[1])
                    total[y, x] = scores[y, x] + np.log(density) if density > 0 else -np.inf
            assert value[r, q] == pytest.approx(total.max())
            x, y = position[r, q]
            assert total[y, x] == pytest.approx(total.max())


# -- facing ---------------------------------------------------------------------------------------------------------
def test_objects_are_turned_to_the_same_side() -> None:
    rng = np.random.default_rng(0)
    shape, other = rng.normal(size=(2, 30))
    flipped = rng.random(60) < 0.4
    noise = rng.normal(scale=0.8, size=(2, 60, 30))
    vectors = np.where(flipped[:, None], other, shape) + noise[0]
    mirror_images = np.where(flipped[:, None], shape, other) + noise[1]
    found = common_facing(vectors, mirror_images)
    assert found.sum() <= 30
    assert max((found == flipped).mean(), (found != flipped).mean()) > 0.95


def test_facing_of_symmetric_objects_is_no_failure() -> None:
    vectors = np.ones((4, 3))
    assert not common_facing(vectors, vectors).any() or common_facing(vectors, vectors).sum() <= 2


# -- the model ------------------------------------------------------------------------------------------------------
def in_common(placed: PlacedParts, data: PartDataset) -> tuple[np.ndarray, np.ndarray]:
    """(N, P, 2) region centres and (N, parts, 2) marked parts relative to the box, all objects turned to one side."""
    box = data.boxes[:, None]
    centres = (placed.boxes[..., :2] + placed.boxes[..., 2:] / 2 - box[..., :2]) / box[..., 2:]
    points = (data.points - box[..., :2]) / box[..., 2:]
    turned = placed.mirrored[:, None]
    centres[..., 0] = np.where(turned, 1 - centres[..., 0], centres[..., 0])
    points[..., 0] = np.where(turned, 1 - points[..., 0], points[..., 0])
    return centres, points


def spread(offsets: np.ndarray) -> float:
    """Mean distance from the median, over the images where the part is visible."""
    seen = offsets[np.isfinite(offsets).all(axis=1)]
    return float(np.linalg.norm(seen - np.median(seen, axis=0), axis=1).mean())


def test_the_model_finds_which_way_objects_look(placed: PlacedParts) -> None:
    looks_left = np.arange(COUNT) % 2 == 1
    assert max((placed.mirrored == looks_left).mean(), (placed.mirrored != looks_left).mean()) > 0.9


def test_regions_land_on_the_same_parts_of_all_objects(placed: PlacedParts, animals: PartDataset) -> None:
    centres, points = in_common(placed, animals)
    rng = np.random.default_rng(0)
    for part in (0, 3):  # beak and tail
        ours = min(spread(points[:, part] - centres[:, p]) for p in range(centres.shape[1]))
        chance = [
            min(spread(points[:, part] - rng.uniform(0.15, 0.85, centres[:, p].shape)) for p in range(6))
            for _ in range(20)
        ]
        assert ours < 0.75 * min(chance)
        # Against where the part is in the box when nothing is known.
        unturned = (animals.points[:, part] - animals.boxes[:, :2]) / animals.boxes[:, 2:]
        assert ours < 0.5 * spread(unturned)


def test_regions_have_their_size_and_lie_in_the_image(placed: PlacedParts, animals: PartDataset) -> None:
    assert placed.boxes.shape == (COUNT, 6, 4)
    np.testing.assert_allclose(
        placed.boxes[..., 2:], np.broadcast_to(animals.boxes[:, None, 2:] * 5 / 16, (COUNT, 6, 2))
    )
    assert (placed.boxes[..., :2] >= 0).all()
    assert (placed.boxes[..., :2] + placed.boxes[..., 2:] <= animals.sizes[:, None] + 1e-6).all()


def test_the_mirror_image_gets_the_mirrored_regions(model: DeformableParts) -> None:
    same = 0
    for seed in range(500, 510):
        image, points, box = draw(np.random.default_rng(seed))
        box = (float(int(box[0])), float(int(box[1])), float(int(box[2])), float(int(box[3])))
        # Drawn edges are exactly vertical, which is on the edge of an orientation bin; those of photographs are not.
        noise = np.random.default_rng(seed).normal(scale=4, size=(image.height, image.width, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
        flipped, _, flipped_box = mirrored(image, points, box)
        both = model.place([image, flipped], [box, flipped_box])
        expected = both.boxes[0].copy()
        expected[:, 0] = image.width - expected[:, 0] - expected[:, 2]
        assert both.score[1] == pytest.approx(both.score[0], rel=0.1)
        same += np.allclose(both.boxes[1], expected, atol=0.01) and both.mirrored[0] != both.mirrored[1]
    assert same >= 8  # rounding in the resampling may move a region by a cell


def test_a_fit_is_repeated_exactly_without_marked_parts_and_classes(
    model: DeformableParts, animals: PartDataset, placed: PlacedParts
) -> None:
    blind = [
        dataclasses.replace(s, points=np.full((5, 2), np.nan), visible=np.zeros(5, bool), label=None)
        for s in animals
    ]
    again = clone(model).fit(blind).place(animals)
    np.testing.assert_array_equal(again.boxes, placed.boxes)
    np.testing.assert_array_equal(again.score, placed.score)
    np.testing.assert_array_equal(model.part_boxes(animals[3:5]), placed.boxes[3:5])
    assert model.train_ids_ == animals.ids


def test_slots_correspond_by_position(model: DeformableParts) -> None:
    first, second = (np.array([d.anchor for d in c.deformations]) for c in model.components_)
    paired = np.square(first - second).sum()
    rng = np.random.default_rng(0)
    assert paired <= min(np.square(first - second[rng.permutation(6)]).sum() for _ in range(50)) * 1.5


def test_the_reading_improves_from_round_to_round(animals: PartDataset) -> None:
    grids = []
    for sample in animals[:20]:
        assert sample.box is not None
        grids.append(Grids.of(Image.open(sample.image).convert("RGB"), sample.box))
    scenes = [grid.parts[0] for grid in grids]
    scores = [
        np.mean([p.score for p in learn_components(grids, scenes, 1, 4, rounds, 0)[1]]) for rounds in (1, 3)
    ]
    assert scores[1] > scores[0]


# -- bad input ------------------------------------------------------------------------------------------------------
def test_too_few_images_and_wrong_settings(animals: PartDataset) -> None:
    with pytest.raises(DatasetError, match="9 images are too few for a part model of 2 components"):
        DeformableParts(components=2).fit(animals[:9])
    for name, value in (("components", 0), ("parts", 2.5), ("rounds", True)):
        with pytest.raises(OptionError, match=f"{name} must be a whole number"):
            DeformableParts(**{name: value}).fit(animals)
    with pytest.raises(NotFittedError):
        DeformableParts().place(animals)


def test_missing_boxes_and_unreadable_images(
    model: DeformableParts, animals: PartDataset, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="no bounding box"):
        model.place([Image.new("RGB", (50, 50))])
    (tmp_path / "broken.png").write_bytes(b"no image")
    first = animals[0]
    broken = Sample("broken", tmp_path / "broken.png", first.size, first.points, first.visible, first.box)
    boxless = dataclasses.replace(animals[1], id="boxless", box=None)
    mixed = [broken, first, boxless, animals[2]]
    with pytest.raises(ImageError, match=r"broken\.png"):
        model.place(mixed[:2])
    found = model.place(mixed, on_error="skip")
    assert found.scenes.ids == (first.id, animals[2].id)
    np.testing.assert_array_equal(found.kept, [1, 3])
    assert {item.id for item in found.failures} == {"broken", "boxless"}
    np.testing.assert_array_equal(found.boxes, model.part_boxes([first, animals[2]]))
    fitted = DeformableParts(1, 2, 1).fit([*mixed, *animals[3:8]], on_error="skip")
    assert len(fitted.train_ids_) == 7
    assert {item.id for item in fitted.skipped_} == {"broken", "boxless"}
    with pytest.raises(ImageError, match=r"broken\.png"):
        DeformableParts(1, 2, 1).fit([broken, *animals[3:9]])


def test_a_box_over_the_border_is_clipped_with_a_warning(model: DeformableParts) -> None:
    image, _, _ = draw(np.random.default_rng(1))
    with pytest.warns(PartscopeWarning, match="1 of 1 bounding boxes"):
        found = model.place([image], [(-20.0, 5.0, 60.0, 50.0)])
    np.testing.assert_array_equal(found.boxes, model.part_boxes([image], [(0.0, 5.0, 40.0, 50.0)]))


def test_the_drawing_is_what_the_tests_take_it_for() -> None:
    image, _, box = draw(np.random.default_rng(2))
    one = grey_crop(image, box, 32, 0)
    other = grey_crop(ImageOps.mirror(image), (image.width - box[0] - box[2], *box[1:]), 32, 0)
    np.testing.assert_allclose(other, one[:, ::-1], atol=2)
