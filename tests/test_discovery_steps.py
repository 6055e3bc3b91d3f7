"""The steps of part discovery against closed forms, plain loops and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from partscope.discovery.channels import discover_channels, instability
from partscope.discovery.clusters import cluster
from partscope.discovery.foreground import foreground, object_cells
from partscope.discovery.frames import ObjectFrame
from partscope.discovery.images import KeptImage, background, with_parts
from partscope.discovery.learning import discover
from partscope.discovery.places import PlaceMap
from partscope.errors import DatasetError
from partscope.grids import FeatureGrids
from partscope.metrics import part_agreement, strongest_part
from test_detectors_linear import small_backbone

#: Cells of a side of the grids below, which stand for a network's.
SIDE = 12
CHANNELS = 24


@pytest.fixture(scope="module")
def grids() -> FeatureGrids:
    return FeatureGrids(small_backbone(), ("3",))


def scenes(
    count: int, seed: int = 0, boxes: bool = True, mixed: bool = False
) -> tuple[list[KeptImage], list[np.ndarray]]:
    """Features of pictures of one object with three parts side by side, mirrored in every other picture.

    Channel 0 is the object's, channels 1, 2 and 3 those of its parts; all others are noise or, if `mixed`, mixtures of these.
    Also returned is the true part of each cell, (12, 12), −1 outside the object.
    """
    rng = np.random.default_rng(seed)
    mixture = np.random.default_rng(99).normal(size=(CHANNELS - 4, 4))
    images, truths = [], []
    for i in range(count):
        part = np.full((SIDE, SIDE), -1)
        x, y = (int(value) for value in rng.integers(1, 5, 2))
        for k in range(3):
            part[y : y + 3, x + 2 * k : x + 2 * k + 2] = k
        box = (x * 10.0, y * 10.0, 60.0, 30.0)
        if i % 2:
            part, box = part[:, ::-1], (120.0 - box[0] - 60.0, *box[1:])
        maps = rng.normal(size=(CHANNELS, SIDE, SIDE)) * 0.5
        maps[0] += 3.0 * (part >= 0)
        for k in range(3):
            maps[1 + k] += 4.0 * (part == k)
        if mixed:
            maps[4:] = 0.5 * maps[4:] + np.einsum("ck,kyx->cyx", mixture, maps[:4])
        images.append(KeptImage(f"{i}", [torch.from_numpy(maps).float()], (120, 120), box if boxes else None))
        truths.append(np.ascontiguousarray(part))
    return images, truths


@pytest.mark.parametrize("boxes", [True, False])
def test_the_object_is_told_from_the_background(grids: FeatureGrids, boxes: bool) -> None:
    images, truths = scenes(24, boxes=boxes)
    result = foreground(images, grids, background(images, grids), 1.0)
    chosen = np.stack([object_cells(image, grids, result) for image in images])
    true = np.stack([truth.ravel() >= 0 for truth in truths])
    assert (chosen & true).sum() / (chosen | true).sum() > (0.9 if boxes else 0.8)


def test_a_discriminant_from_boxes_needs_none(grids: FeatureGrids) -> None:
    images, _ = scenes(24)
    result = foreground(images, grids, background(images, grids), 1.0)
    others, truths = scenes(6, seed=1, boxes=False)
    for image, truth in zip(others, truths, strict=True):
        chosen, true = object_cells(image, grids, result), truth.ravel() >= 0
        assert (chosen & true).sum() / (chosen | true).sum() > 0.8


@pytest.mark.parametrize("boxes", [True, False])
@pytest.mark.parametrize("by", ["combinations", "channels"])
def test_the_parts_of_made_up_objects_are_discovered(grids: FeatureGrids, by: str, boxes: bool) -> None:
    mixed = by == "combinations"
    images, _ = scenes(40, boxes=boxes, mixed=mixed)
    found = discover(images, grids, 3, by=by, shrinkage=1.0, position=0.5, random_state=0)
    others, truths = scenes(10, seed=1, mixed=mixed)
    labels, names = [], []
    for image, truth in zip(others, truths, strict=True):
        maps = (
            grids.combine(image.maps, found.discriminants.weights) + found.discriminants.bias[:, None, None]
        )
        inside = truth.ravel() >= 0
        labels.append(strongest_part(maps, grids.cell_centres()[inside]))
        names.append(truth.ravel()[inside])
    agreement = part_agreement(np.concatenate(labels), np.concatenate(names))
    assert agreement.ari > 0.9
    if by == "channels":
        assert found.channels is not None
        assert set(found.channels.tolist()) == {1, 2, 3}


def test_the_first_direction_is_the_first_principal_component(grids: FeatureGrids) -> None:
    from partscope.discovery.foreground import _first_component

    images, _ = scenes(30)
    base = background(images, grids)
    cells = np.concatenate([image.features(grids, np.arange(SIDE**2)) for image in images])
    base.cells, base.total, base.outer = len(cells), cells.sum(axis=0), (cells.T @ cells).astype(np.float64)
    weights = _first_component(base)
    scaled = (cells - cells.mean(axis=0)) / cells.std(axis=0)
    expected = PCA(1).fit(scaled).components_[0] / cells.std(axis=0)
    cosine = weights @ expected / np.linalg.norm(weights) / np.linalg.norm(expected)
    assert abs(cosine) == pytest.approx(1, abs=1e-3)


def test_statistics_of_parts_count_only_what_is_shown(grids: FeatureGrids) -> None:
    images, _ = scenes(4)
    base = background(images, grids)
    features = np.random.default_rng(0).normal(size=(4, 2, CHANNELS)).astype(np.float32)
    shown = np.array([[True, False], [True, True], [False, False], [True, False]])
    features[~shown] = np.nan
    result = with_parts(base, shown, features)
    np.testing.assert_array_equal(result.shown, [3, 1])
    np.testing.assert_allclose(result.part_total[0], features[[0, 1, 3], 0].sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.part_total[1], features[1, 1], rtol=1e-6)
    assert result.cells == base.cells


def test_the_place_in_the_object_ignores_which_way_it_faces(grids: FeatureGrids) -> None:
    image = KeptImage("a", [], (200, 100), (40.0, 20.0, 80.0, 40.0))
    every = np.ones(SIDE**2, dtype=np.bool_)
    frame = ObjectFrame.of(image, grids, every)
    places = np.array([[0.2, 0.2], [0.6, 0.2], [0.4, 0.6], [0.4, 0.4]])
    np.testing.assert_allclose(frame.folded(places), [[1, -1], [1, -1], [0, 1], [0, 0]], atol=1e-12)
    free = ObjectFrame.of(KeptImage("b", [], (200, 100), None), grids, every)
    np.testing.assert_allclose(free.middle, 0.5)
    np.testing.assert_allclose(free.half, 0.5, rtol=0.01)


def test_unstable_is_what_moves_and_what_is_everywhere(grids: FeatureGrids) -> None:
    images, _ = scenes(30)
    base = background(images, grids)
    every = [np.ones(SIDE**2, dtype=np.bool_)] * len(images)
    frames = [ObjectFrame.of(image, grids, cells) for image, cells in zip(images, every, strict=True)]
    places = grids.cell_centres()
    expected = np.zeros(CHANNELS)
    for channel in range(CHANNELS):
        centres, scatters = [], []
        for image, frame in zip(images, frames, strict=True):
            power = np.maximum(image.maps[0][channel].numpy().ravel().astype(float), 0) ** 2
            at = np.array([frame.folded(place) for place in places])
            centre = (power[:, None] * at).sum(axis=0) / power.sum()
            centres.append(centre)
            scatters.append((power * ((at - centre) ** 2).sum(axis=1)).sum() / power.sum())
        expected[channel] = np.var(centres, axis=0).sum() + np.mean(scatters)
    from partscope.discovery.channels import _places

    _, centres_of_all, scatter, active = _places(images, grids, every, frames)
    np.testing.assert_allclose(instability(centres_of_all, scatter), expected, rtol=1e-6)
    assert active.all()
    with pytest.raises(DatasetError, match=f"only {CHANNELS} of {CHANNELS} channels"):
        discover_channels(images, grids, base, every, frames, CHANNELS + 1)


def test_clusters_are_those_of_direction_and_place() -> None:
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(4), 50)
    # Two opposite directions, of different lengths, and in each of them two places.
    directions = np.where(which // 2, 1, -1)[:, None] * np.array([1, -1]) * rng.uniform(2, 6, (200, 1))
    places = np.array([[0.0, -1.0], [0.0, 1.0]])[which % 2] + 0.05 * rng.normal(size=(200, 2))
    features = (directions + 0.05 * rng.normal(size=(200, 2))).astype(np.float32)
    assert part_agreement(cluster(features, places, 4, position=1.0), which).ari == pytest.approx(1.0)
    assert part_agreement(cluster(features, places, 2, position=0.0), which // 2).ari == pytest.approx(1.0)
    with pytest.raises(DatasetError, match="only 3 different cells, too few for 4 parts"):
        cluster(np.repeat(features[[0, 60, 120]], 9, axis=0), np.zeros((27, 2)), 4)


# -- the map from discovered to named places ------------------------------------------------------------------------
def layout(images: int, seed: int = 0, noise: float = 0.0) -> tuple[np.ndarray, ...]:
    """Four discovered parts in pictures of several sizes, and three named ones that are weighted means of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(200, 400, (images, 2))
    shape = np.array([[0.0, 0.0], [1.0, 0.2], [0.4, 0.9], [-0.5, 0.5]])
    scale, origin = rng.uniform(20, 60, (images, 1, 1)), rng.uniform(80, 120, (images, 1, 2))
    centres = origin + scale * (shape + 0.3 * rng.normal(size=(images, 4, 2)))
    weights = np.array([[0.7, 0.3, 0, 0], [0, 0.5, 0.5, 0], [0.25, 0.25, 0.25, 0.25]])
    points = np.einsum("pk,nkc->npc", weights, centres) + noise * rng.normal(size=(images, 3, 2))
    return centres, sizes, points


def test_linear_places_are_found_again() -> None:
    centres, sizes, points = layout(60)
    fitted = PlaceMap.fit(centres, sizes, points, np.arange(3))
    others, other_sizes, expected = layout(20, seed=1)
    error = np.linalg.norm(fitted.apply(others, other_sizes) - expected, axis=2)
    assert error.mean() < 1.0
    assert (fitted.deviation < 0.05).all()


def test_the_map_is_a_ridge_regression() -> None:
    centres, sizes, points = layout(30, noise=3.0)
    points[:10, 1] = np.nan
    fitted = PlaceMap.fit(centres, sizes, points, np.arange(3))
    middle = centres.mean(axis=1, keepdims=True)
    spread = np.sqrt(((centres - middle) ** 2).sum(axis=2).mean(axis=1))[:, None, None]
    design, target = (centres - middle) / spread, (points - middle) / spread
    turn = np.array([-1, 1])
    for part, first in ((0, 0), (1, 10)):
        inputs = np.concatenate([design[first:], design[first:] * turn]).reshape(-1, 8)
        outputs = np.concatenate([target[first:, part], target[first:, part] * turn])
        level = ((inputs - inputs.mean(axis=0)) ** 2).sum() / 8
        peer = Ridge(alpha=fitted.strength * level).fit(inputs, outputs)
        np.testing.assert_allclose(fitted.weights[part, :-1], peer.coef_.T, atol=1e-9)
        np.testing.assert_allclose(fitted.weights[part, -1], peer.intercept_, atol=1e-9)


@settings(max_examples=25)
@given(st.floats(0.2, 5), st.floats(-100, 100), st.floats(-100, 100))
def test_places_follow_an_object_that_is_moved_and_scaled(scale: float, x: float, y: float) -> None:
    centres, sizes, points = layout(12, noise=2.0)
    fitted = PlaceMap.fit(centres, sizes, points, np.arange(3))
    big = np.full_like(sizes, 1000.0) * min(scale, 1.0)
    moved = fitted.apply(centres * scale + (x, y), big)
    np.testing.assert_allclose(moved, fitted.apply(centres, sizes) * scale + (x, y), atol=1e-6)


def test_a_mirrored_object_has_its_parts_mirrored() -> None:
    centres, sizes, points = layout(20, noise=2.0)
    mirror = np.array([1, 0, 2])
    fitted = PlaceMap.fit(centres, sizes, points, mirror)
    turned = centres * (-1, 1) + np.stack([sizes[:, :1], np.zeros((20, 1))], axis=2)
    expected = fitted.apply(centres, sizes)[:, mirror] * (-1, 1)
    expected[..., 0] += sizes[:, :1]
    np.testing.assert_allclose(fitted.apply(turned, sizes), expected, atol=1e-6)


def test_what_no_image_shows_has_no_place_and_what_is_not_found_is_refused() -> None:
    centres, sizes, points = layout(5)
    points[:, 1] = np.nan
    fitted = PlaceMap.fit(centres, sizes, points, np.arange(3))
    np.testing.assert_array_equal(
        np.isnan(fitted.apply(centres, sizes)).all(axis=(0, 2)), [False, True, False]
    )
    with pytest.raises(DatasetError, match="are needed, not"):
        PlaceMap.fit(centres, sizes[:3], points, np.arange(3))
    centres[0, 0] = np.nan
    with pytest.raises(DatasetError, match="needs a place"):
        PlaceMap.fit(centres, sizes, points, np.arange(3))
