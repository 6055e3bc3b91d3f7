from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from drawn import drawn_dataset
from partscope.classification.appearance import (
    PART_TRANSFER_SCALE,
    AppearanceHistograms,
    ChiSquareMap,
    appearance_embedder,
    colour_histograms,
    gradient_histograms,
)
from partscope.classification.part_features import PartFeatures
from partscope.dataset import PartDataset
from partscope.detectors import TransferDetector
from partscope.detectors.queries import Query
from partscope.extraction import Views, extract
from partscope.feature_cache import FeatureCache

SIDE = 64


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("animals"), 6)


def patch(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def test_gradient_histograms_sum_to_one_or_nothing() -> None:
    values = gradient_histograms(patch(), 16)
    assert values.shape == (3 * 3 * 4 * 9,)
    assert values.dtype == np.float32
    assert (values >= 0).all()
    assert values.sum() == pytest.approx(1, abs=1e-5)
    assert not gradient_histograms(np.full((SIDE, SIDE, 3), 90, np.uint8), 16).any()


def test_a_gradient_falls_in_the_bin_of_its_direction() -> None:
    """Grey that rises to the right has gradients at 0 degrees, downwards at 90 degrees, in the first and the fifth bin."""
    ramp = np.repeat(np.tile(np.arange(SIDE, dtype=np.uint8) * 3, (SIDE, 1))[..., None], 3, axis=2)
    for pixels, expected in ((ramp, 0), (ramp.transpose(1, 0, 2), 4)):
        bins = gradient_histograms(np.ascontiguousarray(pixels), 16).reshape(-1, 9).sum(axis=0)
        assert bins.argmax() == expected
        assert bins[expected] == pytest.approx(1, abs=1e-4)


def test_colour_histograms_count_the_pixels_of_each_part() -> None:
    pixels = patch(1)
    bins = (4, 6, 5)
    found = colour_histograms(pixels, bins, 2).reshape(2, 2, *bins)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found.sum(axis=(2, 3, 4)), 0.25, rtol=1e-5)
    lab = rgb2lab(pixels)
    expected = np.zeros_like(found)
    for y in range(SIDE):
        for x in range(SIDE):
            index = []
            for value, count, low, high in zip(lab[y, x], bins, (0, -40, -40), (100, 60, 80), strict=True):
                index.append(min(max(int(np.floor((value - low) / (high - low) * count)), 0), count - 1))
            expected[(y // 32, x // 32, *index)] += 1 / SIDE**2
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("colour", "bins"),
    [
        ((255, 255, 255), (3, 2, 2)),
        ((0, 0, 0), (0, 2, 2)),
        ((200, 0, 0), (1, 5, 4)),
        ((0, 0, 255), (1, 5, 0)),
    ],
)
def test_a_colour_has_its_bin(colour: tuple[int, int, int], bins: tuple[int, int, int]) -> None:
    found = colour_histograms(np.full((SIDE, SIDE, 3), colour, np.uint8), (4, 6, 6), 1).reshape(4, 6, 6)
    assert found[bins] == 1


def test_the_map_approximates_the_chi_square_kernel() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.dirichlet(np.full(40, 0.5), size=(2, 8))
    with np.errstate(invalid="ignore"):
        kernel = np.nan_to_num(2 * x[:, None] * y[None] / (x[:, None] + y[None])).sum(axis=2)
    mapped = [ChiSquareMap()(torch.from_numpy(values)).numpy() for values in (x, y)]
    assert mapped[0].shape == (8, 120)
    np.testing.assert_allclose(mapped[0] @ mapped[1].T, kernel, atol=0.05)
    assert not ChiSquareMap()(torch.zeros(2, 5)).any()


def test_the_embedder_gives_both_histograms_mapped(animals: PartDataset) -> None:
    embedder = appearance_embedder()
    pixels = patch(2)
    inputs = embedder.preprocessing.normalised(torch.from_numpy(pixels[None]))
    vector = embedder(inputs)
    histograms = AppearanceHistograms()(torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)))
    assert embedder.dimension == vector.shape[1] == 3 * histograms.shape[1]
    torch.testing.assert_close(vector, ChiSquareMap()(histograms))
    assert vector.dtype == torch.float32
    assert "gradient and colour" in embedder.label
    colours = histograms[0, 324:].numpy()
    np.testing.assert_array_equal(histograms[0, :324].numpy(), gradient_histograms(pixels, 16))
    assert colours.sum() == pytest.approx(1, abs=1e-5)


def test_other_settings_are_other_features() -> None:
    hashes = {
        appearance_embedder(AppearanceHistograms(**settings)).content_hash
        for settings in ({}, {"cell": 8}, {"lightness": 5}, {"colour_cells": 4}, {"green_red": 8})
    }
    assert len(hashes) == 5
    assert appearance_embedder().content_hash == appearance_embedder().content_hash


def test_it_is_extracted_and_cached_as_a_networks_features(animals: PartDataset, tmp_path: Path) -> None:
    embedder = appearance_embedder()
    views = [
        Views(Query.of(sample), np.array([sample.box, (np.nan,) * 4, (3, 4, 20, 30)])) for sample in animals
    ]
    plain = extract(views, embedder)
    assert plain.features.shape == (6, 3, embedder.dimension)
    assert not plain.features[:, 1].any()
    with FeatureCache(tmp_path / "features") as cache:
        np.testing.assert_array_equal(extract(views, embedder, cache=cache).features, plain.features)
        assert len(cache) == 12
        np.testing.assert_array_equal(extract(views, embedder, cache=cache).features, plain.features)


def test_part_transfer_with_its_own_features(animals: PartDataset) -> None:
    features = PartFeatures(
        TransferDetector(), region="crop", scale=PART_TRANSFER_SCALE, backbone=appearance_embedder()
    ).fit(animals)
    table = features.transform(animals)
    width = appearance_embedder().dimension
    assert table.shape == (6, 6 * width)
    # A part that the neighbour does not show: zeros.
    missing = ~animals.visible
    np.testing.assert_array_equal(~table.reshape(6, 6, width)[:, 1:].any(axis=2), missing)
    places = features.locate(animals)
    sides = np.sqrt(animals.boxes[:, 2] * animals.boxes[:, 3] / 16)
    assert np.nanmax(places.boxes[:, 1:, 2] / sides[:, None]) == pytest.approx(1)
    # The patches of the training images are those at their own marked parts.
    truth = PartFeatures(
        source="ground_truth", region="crop", scale=PART_TRANSFER_SCALE, backbone=appearance_embedder()
    ).fit(animals)
    np.testing.assert_allclose(places.boxes, truth.locate(animals).boxes)
