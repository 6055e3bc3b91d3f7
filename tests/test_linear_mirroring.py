"""The mirror map: what mirroring does to features, and the statistics of mirror images that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from networks import backbone_of
from partscope.errors import OptionError
from partscope.grids import FeatureGrids
from partscope.linear import Statistics
from partscope.linear.mirroring import MirrorMap, MirrorSums

MIRROR = np.array([0, 2, 1])


@pytest.fixture(scope="module")
def grids() -> FeatureGrids:
    """A network whose channels 4–7 are the mirrored filters of channels 0–3: mirroring exchanges them exactly."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    with torch.no_grad():
        convolution.weight[4:] = convolution.weight[:4].flip(-1)
        convolution.bias[4:] = convolution.bias[:4]  # type: ignore[index]
    return FeatureGrids(backbone_of(nn.Sequential(convolution, nn.Tanh()).eval(), "1", 16), ("1",), ("1",))


def passed(grids: FeatureGrids, count: int, seed: int) -> list[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Return maps of pictures and of their mirror images."""
    pictures = torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return [
        ([maps[0] for maps in grids(picture[None])], [maps[0] for maps in grids(picture.flip(-1)[None])])
        for picture in pictures
    ]


def gathered(pairs: list[tuple[list[torch.Tensor], list[torch.Tensor]]]) -> MirrorSums:
    sums = MirrorSums.zeros([8])
    for maps, flipped in pairs:
        sums.add(maps, flipped)
    return sums


def test_an_exchange_of_channels_is_recovered(grids: FeatureGrids) -> None:
    mapping = MirrorMap.of(gathered(passed(grids, 20, 0)), grids)
    assert mapping is not None
    exchange = np.eye(8)[[4, 5, 6, 7, 0, 1, 2, 3]]
    np.testing.assert_allclose(mapping.matrices[0], exchange, atol=0.1)
    # Places to the left become places to the right.
    places = grids.places("1")
    np.testing.assert_allclose(places[mapping.places[0]], places * (-1, 1))


def test_statistics_of_mirror_images_follow_without_their_passes(grids: FeatureGrids) -> None:
    pairs = passed(grids, 20, 1)
    mapping = MirrorMap.of(gathered(pairs), grids)
    assert mapping is not None
    rng = np.random.default_rng(1)
    straight, mirrored = Statistics.zeros(3, grids.features), Statistics.zeros(3, grids.features)
    for maps, flipped in pairs:
        points, cells, visible = (
            rng.uniform(0.3, 0.7, (3, 2)),
            rng.uniform(0.3, 0.7, (10, 2)),
            rng.random(3) < 0.7,
        )
        straight.add(grids.sample(maps, cells), grids.sample(maps, points)[None], visible[None])
        there = np.stack([1 - points[MIRROR, 0], points[MIRROR, 1]], axis=1)
        opposite = np.stack([1 - cells[:, 0], cells[:, 1]], axis=1)
        mirrored.add(
            grids.sample(flipped, opposite), grids.sample(flipped, there)[None], visible[MIRROR][None]
        )
    made = mapping.statistics(straight, MIRROR)
    assert (made.images, made.cells) == (mirrored.images, mirrored.cells)
    np.testing.assert_array_equal(made.shown, mirrored.shown)
    for name in ("total", "outer", "part_total"):
        wanted = getattr(mirrored, name)
        np.testing.assert_allclose(
            getattr(made, name), wanted, atol=0.06 * np.abs(wanted).max(), err_msg=name
        )


def test_the_transformation_is_the_one_of_every_single_feature(grids: FeatureGrids) -> None:
    """With any matrix and offset, against the transformed features themselves."""
    rng = np.random.default_rng(2)
    places = np.array([0, 2, 1, 6, 8, 7, 3, 5, 4])
    mapping = MirrorMap(
        [rng.standard_normal((8, 8)).astype(np.float32)],
        [rng.standard_normal(8).astype(np.float32)],
        [places],
    )
    cells, parts = (
        rng.standard_normal((30, 72)).astype(np.float32),
        rng.standard_normal((4, 3, 72)).astype(np.float32),
    )
    visible = rng.random((4, 3)) < 0.7

    def moved(features: np.ndarray) -> np.ndarray:
        blocks = features.reshape(*features.shape[:-1], 9, 8)[..., places, :]
        return (blocks @ mapping.matrices[0] + mapping.offsets[0]).reshape(features.shape)

    straight, wanted = Statistics.zeros(3, 72), Statistics.zeros(3, 72)
    straight.add(cells, parts, visible)
    wanted.add(moved(cells), moved(parts)[:, MIRROR], visible[:, MIRROR])
    made = mapping.statistics(straight, MIRROR)
    for name in ("total", "outer", "shown", "part_total"):
        np.testing.assert_allclose(
            getattr(made, name), getattr(wanted, name), rtol=1e-4, atol=1e-3, err_msg=name
        )
    np.testing.assert_allclose(
        mapping.cells(cells[:, :8]), cells[:, :8] @ mapping.matrices[0] + mapping.offsets[0], rtol=1e-6
    )


def test_sums_are_additive_and_stored_to_the_last_bit(grids: FeatureGrids) -> None:
    pairs = passed(grids, 6, 3)
    whole, parts = gathered(pairs), gathered(pairs[:2]) + gathered(pairs[2:])
    for one, other in ((whole, parts), (whole - gathered(pairs[4:]), gathered(pairs[:4]))):
        for name, array in one.to_arrays().items():
            np.testing.assert_allclose(array, other.to_arrays()[name], rtol=1e-5, atol=1e-4, err_msg=name)
    again = MirrorSums.from_arrays(whole.to_arrays())
    for name, array in whole.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array, err_msg=name)


def test_without_a_picture_there_is_no_map(grids: FeatureGrids) -> None:
    assert MirrorMap.of(MirrorSums.zeros([8]), grids) is None


def test_constant_features_are_their_own_mirror_image(grids: FeatureGrids) -> None:
    sums = MirrorSums.zeros([8])
    sums.add([torch.full((8, 4, 4), 2.0)], [torch.full((8, 4, 4), 2.0)])
    mapping = MirrorMap.of(sums, grids)
    assert mapping is not None
    np.testing.assert_allclose(mapping.cells(np.full((1, 8), 2.0)), 2.0, rtol=1e-5)


def test_sums_of_different_layers_do_not_go_together() -> None:
    with pytest.raises(OptionError, match="same network and layers"):
        MirrorSums.zeros([8]) + MirrorSums.zeros([6])


def test_stored_sums_that_contradict_themselves_are_refused(grids: FeatureGrids) -> None:
    arrays = gathered(passed(grids, 1, 4)).to_arrays()
    with pytest.raises(ValueError, match=r"cannot|could not"):
        MirrorSums.from_arrays({**arrays, "cross.0": np.zeros(7)})
    with pytest.raises(KeyError):
        MirrorSums.from_arrays({"cells": np.ones(1)})
    with pytest.raises(ValueError, match="not finite"):
        MirrorSums.from_arrays({**arrays, "total.0": np.full_like(arrays["total.0"], np.nan)})
