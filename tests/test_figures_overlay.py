from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partscope.errors import OptionError
from partscope.figures.labels import group_coincident, place_labels, short_names
from partscope.figures.overlay import draw_parts, paste_dot
from partscope.figures.palette import METHOD_COLOURS, PART_COLOURS, ink_on, part_colours

PARTS = [
    "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape", "right eye",
    "right leg", "right wing", "tail", "throat",
]  # fmt: skip


def grey(width: int, height: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_dot_has_the_parts_colour_at_its_position():
    points = np.array([[150.5, 100.5], [400.0, 250.0], [30.0, 280.0]])
    drawn = draw_parts(grey(500, 300), PARTS[:3], points, [True, True, True])
    for (x, y), colour in zip(points, part_colours(PARTS[:3]), strict=True):
        assert drawn.getpixel((int(x), int(y))) == colour


def test_background_away_from_parts_is_untouched():
    drawn = draw_parts(grey(500, 300), ["beak"], [[100.0, 100.0]], [True])
    assert (np.asarray(drawn)[200:300, :500] == 128).all()


def test_small_image_is_enlarged_by_a_whole_factor():
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    drawn = draw_parts(image, ["beak"], [[30.5, 20.5]], [True])
    assert drawn.width == 480
    assert drawn.getpixel((8 * 30 + 4, 8 * 20 + 4)) == PART_COLOURS[0]
    # Far from the dot every 8 × 8 square is one pixel of the original.
    assert (np.asarray(drawn)[:8, :8] == image[0, 0]).all()
    kept = draw_parts(image, ["beak"], [[30.5, 20.5]], [True], smallest=0)
    assert np.array_equal(np.asarray(kept)[:5, :60], image[:5])


@pytest.mark.parametrize("size", [(60, 60), (60, 2000), (2000, 60), (4000, 3000)])
def test_extreme_sizes(size):
    rng = np.random.default_rng(1)
    points = rng.random((15, 2)) * size
    drawn = draw_parts(grey(*size), PARTS, points, np.ones(15, bool), box=(5, 5, size[0] - 10, size[1] - 10))
    factor = max(1, -(-480 // max(size)))
    assert drawn.width >= size[0] * factor
    assert drawn.height > size[1] * factor


def test_parts_at_one_place_share_a_dot_in_sectors():
    drawn = draw_parts(grey(500, 300), PARTS[:2], [[250.0, 150.0]] * 2, [True, True])
    around = {drawn.getpixel((x, y)) for x in range(246, 255) for y in range(146, 155)}
    assert set(PART_COLOURS[:2]) <= around


def test_truth_is_a_cross_joined_to_its_dot():
    drawn = draw_parts(grey(600, 400), ["tail"], [[100.0, 100.0]], [True], truth=[[300.0, 300.0]])
    assert drawn.getpixel((300, 300)) == PART_COLOURS[0]
    assert drawn.getpixel((240, 240)) == PART_COLOURS[0]


def test_truth_of_a_part_that_was_not_found_is_still_drawn():
    drawn = draw_parts(grey(600, 400), ["tail"], [[np.nan, np.nan]], [False], truth=[[300.0, 300.0]])
    assert drawn.getpixel((300, 300)) == PART_COLOURS[0]


def test_legend_has_a_place_for_every_part_found_or_not():
    found = draw_parts(grey(480, 300), PARTS, np.full((15, 2), 50.0), np.ones(15, bool))
    lost = draw_parts(grey(480, 300), PARTS, np.full((15, 2), np.nan), np.zeros(15, bool))
    legend = np.asarray(found)[300:].reshape(-1, 3)
    for colour in part_colours(PARTS):
        assert (legend == colour).all(axis=1).any()
    # Nothing is drawn into the image, and the legend is grey on white.
    assert (np.asarray(lost)[:300, :480] == 128).all()
    strip = np.asarray(lost)[300:].astype(int)
    assert (np.ptp(strip, axis=-1) == 0).all()
    assert strip.min() < 128


def test_part_outside_the_image_is_listed_and_not_drawn():
    drawn = draw_parts(grey(480, 300), ["beak"], [[-40.0, 20.0]], [True])
    assert (np.asarray(drawn)[:300] == 128).all()


def test_box_is_drawn_at_its_borders():
    drawn = draw_parts(grey(500, 300), ["beak"], [[250.0, 150.0]], [True], box=(50, 60, 300, 200))
    assert drawn.getpixel((50, 160)) == (0, 0, 0)
    assert drawn.getpixel((349, 160)) == (0, 0, 0)
    assert drawn.getpixel((51, 160)) == (255, 255, 255)


def test_input_image_is_not_changed():
    image = Image.new("RGB", (500, 300), (10, 20, 30))
    draw_parts(
        image, ["beak"], [[250.0, 150.0]], [True], box=(1, 1, 400, 200), truth=[[20.0, 20.0]], score=[0.5]
    )
    assert image.getcolors() == [(500 * 300, (10, 20, 30))]


@pytest.mark.parametrize(
    "changed",
    [
        {"points": np.zeros((3, 2))},
        {"found": [True]},
        {"truth": np.zeros((2, 3))},
        {"score": [0.1]},
        {"points": np.full((2, 2), np.nan)},
    ],
)
def test_wrong_shapes_are_named(changed):
    arguments = {"points": np.ones((2, 2)), "found": [True, True], "truth": None, "score": None} | changed
    with pytest.raises(OptionError, match=next(iter(changed)) if "nan" not in str(changed) else "'beak'"):
        draw_parts(
            grey(100, 100), ["beak", "tail"], arguments.pop("points"), arguments.pop("found"), **arguments
        )


@pytest.mark.parametrize("position", [(20.5, 20.5), (20.0, 21.0), (19.75, 20.25)])
def test_paste_dot_is_centred_on_the_continuous_position(position):
    canvas = Image.new("RGB", (41, 41), (0, 0, 0))
    paste_dot(canvas, *position, 6.0, [(255, 255, 255)])
    weights = np.asarray(canvas)[..., 0].astype(float)
    pixel_centres = np.arange(41) + 0.5
    centre = [(weights.sum(axis=axis) * pixel_centres).sum() / weights.sum() for axis in (0, 1)]
    assert np.allclose(centre, position, atol=0.1)


def test_short_names_of_cub():
    names = dict(zip(PARTS, short_names(PARTS), strict=True))
    assert names["left eye"] == "le"
    assert names["right wing"] == "rw"
    assert len(set(names.values())) == 15


@given(st.lists(st.text(min_size=0, max_size=12), max_size=60))
def test_short_names_are_unique_and_not_empty(parts):
    names = short_names(parts)
    assert len(set(names)) == len(parts)
    assert all(names)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 300)), min_size=1, max_size=15))
def test_every_label_lies_beside_its_anchor(points):
    anchors = np.array(points)
    sizes = np.tile([24.0, 14.0], (len(points), 1))
    for anchor, (left, top, right, bottom) in zip(
        anchors, place_labels(anchors, sizes, 5.0, (0, 0, 500, 300)), strict=True
    ):
        assert np.allclose([right - left, bottom - top], [24, 14])
        away = np.hypot(*(np.clip(anchor, (left, top), (right, bottom)) - anchor))
        assert away + 1e-6 >= 5.0
        assert away <= 5.0 * 1.25 * 4.5 + 1e-6


def test_labels_of_spread_points_do_not_overlap_and_stay_inside():
    grid = np.stack(np.meshgrid(np.linspace(2, 498, 6), np.linspace(2, 298, 4)), axis=-1).reshape(-1, 2)
    labels = place_labels(grid, np.tile([30.0, 16.0], (24, 1)), 5.0, (0, 0, 500, 300))
    for i, a in enumerate(labels):
        assert a[0] >= 0
        assert a[1] >= 0
        assert a[2] <= 500
        assert a[3] <= 300
        for b in labels[:i]:
            assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])


def test_coincident_points_are_grouped():
    points = np.array([[0.0, 0.0], [50.0, 0.0], [1.0, 1.0], [50.0, 1.0]])
    assert group_coincident(points, 3.0) == [[0, 2], [1, 3]]


def _linear(colours: np.ndarray) -> np.ndarray:
    values = colours / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


#: Machado, Oliveira and Fernandes (2009), severity 1.0.
DEUTERANOPIA = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
PROTANOPIA = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])


@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_part_colours_stay_apart_for_colour_blind_readers(vision):
    from skimage.color import rgb2lab

    seen = np.clip(_linear(np.array(PART_COLOURS, float)) @ vision.T, 0, 1)
    encoded = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(encoded[None])[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e3 * np.eye(len(lab))
    assert distance.min() > 15


def _contrast(a, b) -> float:
    weights = [0.2126, 0.7152, 0.0722]
    light, dark = sorted((float(_linear(np.array(c, float)) @ weights) for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrasts():
    for colour in PART_COLOURS:
        assert _contrast(colour, ink_on(colour)) >= 4.5
    for text in METHOD_COLOURS:
        assert _contrast([int(text[i : i + 2], 16) for i in (1, 3, 5)], (255, 255, 255)) >= 3
