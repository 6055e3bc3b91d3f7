from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partscope.backbones import Preprocessing
from partscope.backbones.caffenet import CAFFENET_PREPROCESSING
from partscope.backbones.embedded import EFFICIENTNET_LITE0_PREPROCESSING, SQUEEZENET1_1_PREPROCESSING
from partscope.errors import DatasetError, OptionError

CAFFE_MEANS = {"squeezenet": (103.94, 116.78, 123.68), "caffenet": (104.0, 117.0, 123.0)}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def plain(
    image: Image.Image, mean: tuple[float, ...], std: tuple[float, ...], scale: float, bgr: bool
) -> np.ndarray:
    pixels = np.asarray(image, dtype=np.float64)
    result = np.empty((3, *pixels.shape[:2]))
    for k in range(3):
        channel = pixels[:, :, 2 - k if bgr else k]
        result[k] = (channel * scale - mean[k]) / std[k]
    return result


@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_a_picture_of_the_input_size_is_only_normalised(bgr: bool, scale: float) -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    found = Preprocessing(20, mean, std, scale, bgr)(noise(20, 20))
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    np.testing.assert_allclose(found, plain(noise(20, 20), mean, std, scale, bgr), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("preprocessing", "mean"),
    [
        (SQUEEZENET1_1_PREPROCESSING, CAFFE_MEANS["squeezenet"]),
        (CAFFENET_PREPROCESSING, CAFFE_MEANS["caffenet"]),
    ],
)
def test_the_caffe_networks_take_blue_green_red_minus_the_mean(
    preprocessing: Preprocessing, mean: tuple[float, ...]
) -> None:
    image = noise(preprocessing.input_size, preprocessing.input_size)
    np.testing.assert_allclose(preprocessing(image), plain(image, mean, (1, 1, 1), 1, True), atol=1e-4)
    red = preprocessing(Image.new("RGB", (60, 40), (255, 0, 0)))[:, 0, 0]
    np.testing.assert_allclose(red, [-mean[0], -mean[1], 255 - mean[2]], rtol=1e-5)


def test_efficientnet_takes_minus_one_to_one() -> None:
    found = EFFICIENTNET_LITE0_PREPROCESSING(Image.new("RGB", (60, 40), (255, 0, 51)))
    np.testing.assert_allclose(found[:, 5, 7], [1.0, -1.0, -0.6], atol=1e-6)


@given(width=st.integers(1, 70), height=st.integers(1, 70), side=st.integers(16, 40))
def test_a_picture_is_warped_whole_whatever_its_shape(width: int, height: int, side: int) -> None:
    image = noise(width, height)
    found = Preprocessing(side, (0, 0, 0), (1, 1, 1), 1.0)(image)
    assert found.shape == (3, side, side)
    expected = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected)
    mirrored = Preprocessing(side, (0, 0, 0), (1, 1, 1), 1.0)(
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    )
    assert (mirrored.flip(2) - found).abs().max() <= 1  # rounding of the 8-bit resampling


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_box_is_the_picture_cut_to_it(interpolation: str) -> None:
    preprocessing, image = (
        Preprocessing(24, (0, 0, 0), (1, 1, 1), 1, interpolation=interpolation),
        noise(60, 50),
    )
    found = preprocessing(image, (10, 5, 33, 41))
    expected = preprocessing(image.crop((10, 5, 43, 46)))
    # At its rim the resampling filter also sees the pixels just outside the box.
    difference = (found - expected)[:, 2:-2, 2:-2].abs()
    assert difference.max() <= 1
    assert torch.equal(preprocessing(image, (0, 0, 60, 50)), preprocessing(image))


def test_a_box_between_pixels_is_cut_between_pixels() -> None:
    ramp = Image.fromarray(
        np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 64, axis=0).repeat(3, axis=2)
    )
    found = Preprocessing(16, (0, 0, 0), (1, 1, 1), 1)(ramp, (10.5, 3.25, 16, 20))
    # Column j of the input is centred at 10.5 + (j + 0.5), where the ramp has the value 3·(10.5 + j).
    np.testing.assert_allclose(found[0, 8], 3 * (10.5 + np.arange(16)), atol=0.51)


def test_interpolation_and_size_make_a_difference() -> None:
    image = noise(60, 50)
    linear, cubic = Preprocessing(24), Preprocessing(24, interpolation="bicubic")
    assert not torch.equal(linear(image), cubic(image))
    assert linear.with_size(30).input_size == 30
    assert linear.with_size(24) == linear


@given(
    side=st.integers(1, 400),
    start=st.floats(0, 0.999),
    excess=st.sampled_from([0.0, 1e-13, 9e-7]),
)
def test_a_box_that_ends_at_the_border_up_to_rounding_is_cut(side: int, start: float, excess: float) -> None:
    # PIL compares in single precision and refuses a box that reaches over by one bit.
    x = start * side
    found = Preprocessing(16)(noise(side, side), (x, x, side - x + excess, side - x + excess))
    assert found.shape == (3, 16, 16)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    "box", [(50, 0, 20, 10), (-5, 0, 20, 10), (0, 0, 0, 10), (300, 300, 5, 5), (float("nan"), 0, 5, 5)]
)
def test_a_box_that_is_not_in_the_picture_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(DatasetError, match=r"box .* picture of 60×50 pixels"):
        Preprocessing(16)(noise(60, 50), box)


def test_the_settings_survive_json() -> None:
    for preprocessing in (CAFFENET_PREPROCESSING, Preprocessing(32, interpolation="bicubic")):
        stored = json.loads(json.dumps(preprocessing.as_dict()))
        back = Preprocessing(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()})
        assert back == preprocessing


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"input_size": 15}, "between 16 and 4096 pixels, not 15"),
        ({"input_size": 4097}, "not 4097"),
        ({"input_size": 224.5}, "whole number.*224.5"),
        ({"input_size": "224"}, "whole number.*'224'"),
        ({"std": (1, 0, 1)}, "std positive"),
        ({"std": (1, float("nan"), 1)}, "std positive"),
        ({"mean": (1, 2)}, "three numbers"),
        ({"mean": (1, 2, float("inf"))}, "three numbers"),
        ({"interpolation": "nearest"}, "one of bilinear, bicubic, not 'nearest'"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        Preprocessing(**{"input_size": 32, **options})
