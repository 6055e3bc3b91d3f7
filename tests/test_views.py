from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partscope.backbones import Preprocessing
from partscope.errors import DatasetError, OptionError
from partscope.views import REGIONS, View, box_mask, needs_box, view

PREPROCESSING = Preprocessing(32, (0, 0, 0), (1, 1, 1), 1.0)
BOX = (10.0, 6.0, 40.0, 20.0)


def noise(width: int = 80, height: int = 50) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


# -- inputs -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", ["image", "mask"])
def test_image_and_mask_show_the_whole_picture(region: str) -> None:
    seen = view(PREPROCESSING, noise(), region, BOX)
    assert torch.equal(seen.inputs, PREPROCESSING(noise()))
    assert (seen.origin, seen.extent) == ((0.0, 0.0), (80.0, 50.0))
    assert (seen.mask is None) == (region == "image")


def test_image_uses_nothing_about_the_box() -> None:
    with_box, without = view(PREPROCESSING, noise(), "image", BOX), view(PREPROCESSING, noise(), "image")
    assert torch.equal(with_box.inputs, without.inputs)
    assert with_box.mask is None
    nonsense = (float("nan"), 0.0, -3.0, 0.0)
    assert torch.equal(view(PREPROCESSING, noise(), "image", nonsense).inputs, without.inputs)


def test_crop_shows_the_warped_box() -> None:
    seen = view(PREPROCESSING, noise(), "crop", BOX)
    assert torch.equal(seen.inputs, PREPROCESSING(noise(), BOX))
    assert (seen.origin, seen.extent, seen.mask) == ((10.0, 6.0), (40.0, 20.0), None)


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_a_box_that_reaches_over_the_border_is_clipped(region: str) -> None:
    over, inside = (-5.0, 40.0, 25.0, 30.0), (0.0, 40.0, 20.0, 10.0)
    found, expected = view(PREPROCESSING, noise(), region, over), view(PREPROCESSING, noise(), region, inside)
    assert torch.equal(found.inputs, expected.inputs)
    assert (found.origin, found.extent) == (expected.origin, expected.extent)
    if region == "mask":
        assert found.mask is not None
        assert expected.mask is not None
        assert torch.equal(found.mask, expected.mask)


@pytest.mark.parametrize("region", ["mask", "crop"])
@pytest.mark.parametrize(
    "box", [(0, 0, 0, 5), (90, 0, 5, 5), (0, 0, float("nan"), 5), (-9, 0, 9, 5), (0, 0, 5)]
)
def test_a_box_without_area_in_the_picture_is_refused(region: str, box: tuple[float, ...]) -> None:
    with pytest.raises(DatasetError, match="the bounding box"):
        view(PREPROCESSING, noise(), region, box)  # type: ignore[arg-type]


def test_a_region_that_needs_a_box_says_so() -> None:
    assert [needs_box(region) for region in REGIONS] == [False, True, True]
    for region in ("mask", "crop"):
        with pytest.raises(DatasetError, match=f"region '{region}' needs a bounding box"):
            view(PREPROCESSING, noise(), region)
    for call in (lambda: needs_box("box"), lambda: view(PREPROCESSING, noise(), "box", BOX)):
        with pytest.raises(OptionError, match="one of image, mask, crop, not 'box'"):
            call()


# -- the way back -----------------------------------------------------------------------------------------------------------------
finite = st.floats(-500, 500)
positive = st.floats(0.5, 500)


@given(
    x=finite,
    y=finite,
    width=positive,
    height=positive,
    side=st.integers(16, 300),
    points=st.lists(st.tuples(finite, finite), max_size=5),
)
def test_to_image_and_to_input_undo_each_other(
    x: float, y: float, width: float, height: float, side: int, points: list[tuple[float, float]]
) -> None:
    seen = View(torch.zeros(3, side, side), (x, y), (width, height))
    given_points = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    torch.testing.assert_close(seen.to_input(seen.to_image(given_points)), given_points, rtol=1e-9, atol=1e-6)
    torch.testing.assert_close(seen.to_image(seen.to_input(given_points)), given_points, rtol=1e-9, atol=1e-6)


def test_the_corners_and_the_middle_of_the_input_are_those_of_the_region() -> None:
    seen = view(PREPROCESSING, noise(), "crop", BOX)
    corners = torch.tensor([[0.0, 0.0], [32.0, 32.0], [16.0, 16.0], [32.0, 0.0]])
    assert seen.to_image(corners).tolist() == [[10.0, 6.0], [50.0, 26.0], [30.0, 16.0], [50.0, 6.0]]
    whole = view(PREPROCESSING, noise(), "image")
    assert whole.to_image(corners).tolist() == [[0.0, 0.0], [80.0, 50.0], [40.0, 25.0], [80.0, 0.0]]
    # x·W/S with pixel centres at +0.5: the middle of the first input pixel is W/(2S) from the border.
    assert whole.to_image(torch.tensor([0.5, 0.5])).tolist() == [1.25, 0.78125]
    nan = whole.to_image(torch.full((2, 3, 2), float("nan")))
    assert nan.shape == (2, 3, 2)
    assert torch.isnan(nan).all()


@given(column=st.integers(0, 79), row=st.integers(0, 49))
def test_a_bright_pixel_is_where_the_way_back_says(column: int, row: int) -> None:
    pixels = np.zeros((50, 80, 3), dtype=np.uint8)
    pixels[row, column] = 255
    for region, box in (("image", None), ("crop", (0.0, 0.0, 80.0, 50.0))):
        seen = view(Preprocessing(160, (0, 0, 0), (1, 1, 1), 1.0), Image.fromarray(pixels), region, box)
        weight = seen.inputs[0].double()
        places = torch.arange(160) + 0.5
        x = float((weight.sum(dim=0) * places).sum() / weight.sum())
        y = float((weight.sum(dim=1) * places).sum() / weight.sum())
        found = seen.to_image(torch.tensor([x, y]))
        # Away from the border; there the resampling filter is cut.
        if 1 <= column < 79 and 1 <= row < 49:
            assert found.tolist() == pytest.approx([column + 0.5, row + 0.5], abs=0.03)


# -- the mask ---------------------------------------------------------------------------------------------------------------------
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    width=st.integers(5, 60),
    height=st.integers(5, 60),
    left=st.floats(0, 0.95),
    top=st.floats(0, 0.95),
    across=st.floats(0.04, 1),
    down=st.floats(0.04, 1),
)
def test_the_mask_holds_the_pixels_whose_centres_lie_in_the_box(
    rows: int, columns: int, width: int, height: int, left: float, top: float, across: float, down: float
) -> None:
    x, y = left * width, top * height
    w, h = across * (width - x), down * (height - y)
    found = box_mask((rows, columns), (width, height), (x, y, w, h))
    assert found.shape == (rows, columns)
    expected = np.zeros((rows, columns), dtype=bool)
    for i in range(rows):
        for j in range(columns):
            cx, cy = (j + 0.5) * (width / columns), (i + 0.5) * (height / rows)
            expected[i, j] = x <= cx <= x + w and y <= cy <= y + h
    if expected.any():
        np.testing.assert_array_equal(found, expected)
    else:
        # A box between the pixel centres still has the pixels nearest to it.
        assert found.any()
        cx = (np.flatnonzero(found.any(dim=0).numpy()) + 0.5) * width / columns
        cy = (np.flatnonzero(found.any(dim=1).numpy()) + 0.5) * height / rows
        assert (np.abs(cx - (x + w / 2)) <= max(width / columns, w) / 2 + 1e-9).all()
        assert (np.abs(cy - (y + h / 2)) <= max(height / rows, h) / 2 + 1e-9).all()


def test_the_mask_of_the_whole_picture_is_full_and_mirrors_with_the_box() -> None:
    assert box_mask((7, 9), (50, 40), (0, 0, 50, 40)).all()
    mask = box_mask((16, 16), (64, 48), (4, 6, 20, 12))
    assert torch.equal(box_mask((16, 16), (64, 48), (40, 6, 20, 12)), mask.flip(1))
    assert torch.equal(box_mask((16, 16), (64, 48), (4, 30, 20, 12)), mask.flip(0))
