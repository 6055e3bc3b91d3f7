from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partscope.dataset import PartDataset, Sample
from partscope.detectors import PriorDetector
from partscope.errors import DatasetError, OptionError

NAN = float("nan")


def annotated(points: list[list[list[float]]], size: tuple[int, int] = (100, 50)) -> PartDataset:
    """A data set whose images are never opened; the box is the left half."""
    parts = tuple(f"part{p}" for p in range(len(points[0])))
    samples = []
    for i, rows in enumerate(points):
        xy = np.array(rows, dtype=float)
        box = (0.0, 0.0, size[0] / 2, float(size[1]))
        samples.append(Sample(f"i{i}", Path(f"i{i}.png"), size, xy, np.isfinite(xy).all(axis=1), box))
    return PartDataset(parts, tuple(samples))


THREE = annotated([[[10, 10], [NAN, NAN]], [[20, 20], [50, 50]], [[90, 30], [NAN, NAN]]])


def blank(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height))


def test_the_median_position_in_the_image_scaled_to_the_new_image() -> None:
    found = PriorDetector().fit(THREE).predict([blank(200, 100)])
    np.testing.assert_allclose(found.points[0], [[40, 40], [100, 100]])
    np.testing.assert_allclose(found.score[0], [1, 1 / 3])
    assert found.found.all()
    assert found.visible.tolist() == [[True, False]]


def test_the_median_position_in_the_box_scaled_to_the_new_box() -> None:
    detector = PriorDetector(region="box").fit(THREE)
    found = detector.predict([blank(100, 100)], [(10, 20, 50, 40)])
    # In a 50×50 training box the medians are (0.4, 0.4) and (1, 1).
    np.testing.assert_allclose(found.points[0], [[30, 36], [60, 60]])


def test_a_rate_of_one_half_is_visible() -> None:
    data = annotated([[[10, 10]], [[NAN, NAN]]])
    assert PriorDetector().fit(data).predict([blank(9, 9)]).visible.all()


def test_only_the_box_prior_needs_the_box() -> None:
    assert not PriorDetector().needs_box
    assert PriorDetector("box").needs_box
    with pytest.raises(OptionError, match=r"^image 0: .*none; give one in boxes"):
        PriorDetector("box").fit(THREE).predict([blank(9, 9)])
    boxless = PartDataset(THREE.parts, tuple(sample.with_box(None) for sample in THREE))
    with pytest.raises(DatasetError, match="i0: the sample has no bounding box"):
        PriorDetector("box").fit(boxless)
    np.testing.assert_allclose(PriorDetector().fit(boxless).prior_.image[0], [0.2, 0.4])


@pytest.mark.parametrize("region", ["mask", "crop", "", None])
def test_an_unknown_region_is_refused(region: str) -> None:
    with pytest.raises(OptionError, match="'image' or 'box'"):
        PriorDetector(region=region).fit(THREE)


@given(
    rows=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), min_size=1, max_size=9),
    x=st.integers(0, 40),
    y=st.integers(0, 40),
    w=st.integers(1, 50),
    h=st.integers(1, 50),
)
def test_equivariance_moving_and_scaling_the_box_moves_and_scales_the_prediction(
    rows: list[tuple[float, float]], x: int, y: int, w: int, h: int
) -> None:
    detector = PriorDetector("box").fit(annotated([[list(row)] for row in rows]))
    relative = np.median([(px / 50, py / 50) for px, py in rows], axis=0)
    found = detector.predict([blank(90, 90)], [(x, y, w, h)])
    np.testing.assert_allclose(found.points[0, 0], [x + relative[0] * w, y + relative[1] * h], atol=1e-9)
