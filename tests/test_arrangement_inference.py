"""The arrangement's pieces against closed forms, brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from partscope.arrangement import consensus as search
from partscope.arrangement.decoding import OWN_WEIGHT, decode
from partscope.arrangement.likelihood import PULL, calibrate, cells_of, likelihood_ratios
from partscope.arrangement.shapes import make_shapes, unit_of

MIRROR = np.array([0, 2, 1])


def training(count: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points, visibility and image sizes of three-part objects."""
    rng = np.random.default_rng(seed)
    body = np.array([[0.0, -0.2], [-0.2, 0.15], [0.25, 0.1]])
    points = rng.uniform(0.4, 0.6, (count, 1, 2)) + body * rng.uniform(0.8, 1.3, (count, 1, 1))
    points += 0.03 * rng.standard_normal(points.shape)
    visible = rng.random((count, 3)) > 0.2
    visible[:, 0] = True
    return points, visible, np.tile([120.0, 80.0], (count, 1))


# -- likelihood ---------------------------------------------------------------------------------------------------------
def test_calibration_reaches_the_optimum_that_a_general_optimiser_finds() -> None:
    rng = np.random.default_rng(0)
    points, visible, _ = training(40)
    maps = rng.standard_normal((40, 3, 5, 6))
    cells = cells_of(points, (5, 6))
    for image, part in zip(*np.nonzero(visible), strict=True):
        maps[image, part].ravel()[cells[image, part]] += 3
    values = calibrate(maps, points, visible)
    flat = maps.reshape(40, 3, -1)

    def loss(value: np.ndarray, part: int, centre: np.ndarray | None) -> float:
        power = value[0] * flat[:, part] + value[1] - np.log(30)
        total = np.log1p(np.exp(power).sum(axis=1))
        gain = np.where(visible[:, part], power[np.arange(40), cells[:, part]], 0.0)
        return float((total - gain).sum())

    unit = flat.std(axis=2).mean(axis=0)
    shared = minimize(
        lambda v: sum(loss(v / (unit[p], 1), p, None) for p in range(3)) + 0.05 * ((v - (1, 0)) ** 2).sum(),
        [1.0, 0.0],
    ).x
    for part in range(3):
        best = minimize(
            lambda v, part=part: loss(v / (unit[part], 1), part, None) + PULL / 2 * ((v - shared) ** 2).sum(),
            shared,
        ).x
        np.testing.assert_allclose(values[part], best / (unit[part], 1), atol=0.02)


def test_ratios_are_larger_where_the_part_is() -> None:
    values = np.array([[2.0, 0.5]])
    maps = np.array([[[0.0, 1.0], [-100.0, 100.0]]])
    expected = np.exp([[[0.5, 2.5], [-30.0, 30.0]]])
    np.testing.assert_allclose(likelihood_ratios(maps, values), expected)


# -- lattice and search -------------------------------------------------------------------------------------------------
def test_the_lattice_is_a_gaussian_around_its_places() -> None:
    matrix = search.lattice(32, 20, 0.1)
    pad = int(search.PADDING * 32)
    assert matrix.shape == (32 + 2 * pad, 20)
    wide = np.sqrt(0.1**2 + (search.CELL_SPREAD / 20) ** 2 + (search.STEP_SPREAD / 32) ** 2)
    centres = (np.arange(20) + 0.5) / 20
    np.testing.assert_allclose(matrix[pad + 3], norm(3.5 / 32, wide).pdf(centres) / 20)
    np.testing.assert_allclose(matrix[pad + 16].sum(), 1.0, atol=1e-3)
    assert matrix[0].sum() < 1e-3  # far outside the image


def test_the_coarse_search_equals_a_search_by_hand() -> None:
    points, visible, sizes = training()
    shapes = make_shapes(points, visible, sizes, MIRROR, 4, 3)
    rng = np.random.default_rng(1)
    ratios = np.exp(rng.standard_normal((3, 7, 9)))
    size, absent = sizes[0], np.array([-0.3, -0.2, -0.1])
    scores, along_x, along_y = search.coarse_search(ratios, size, shapes, absent)
    pad = int(search.PADDING * search.COARSE)
    unit = unit_of(size) / size
    for group, index, row, column in [(0, 0, 3, 5), (1, 2, 8, 8), (3, 1, 15, 0)]:
        scale = shapes.sizes[index]
        spread = search.COARSE_SPREAD * scale * unit
        blur = (search.lattice(search.COARSE, 7, spread[1]), search.lattice(search.COARSE, 9, spread[0]))
        total = -0.5 * ((np.log(scale) - shapes.size_mean) / shapes.size_spread) ** 2
        for part in range(3):
            offset = shapes.group_offsets[group, part] * scale * unit
            x = np.rint(offset[0] * search.COARSE) + column + pad
            y = np.rint(offset[1] * search.COARSE) + row + pad
            value = blur[0][int(y)] @ ratios[part] @ blur[1][int(x)]
            message = np.log(1 - search.TRUST + search.TRUST * value)
            shown = shapes.group_visible[group, part]
            total += shown * message + (1 - shown) * absent[part]
        assert scores[group, index, row, column] == pytest.approx(total, abs=1e-4)
    np.testing.assert_allclose(along_x, (np.arange(search.COARSE) + 0.5) / search.COARSE)
    np.testing.assert_allclose(along_y, along_x)


def test_the_consensus_is_no_worse_than_trying_every_arrangement_everywhere() -> None:
    points, visible, sizes = training(8)
    visible[:] = True
    shapes = make_shapes(points, visible, sizes, MIRROR, 3, 4)
    y, x = np.mgrid[0:12, 0:12]
    place = np.stack([(x + 0.5) / 12, (y + 0.5) / 12], axis=-1)
    peaks = np.exp(-0.5 * ((place[None] - points[3][:, None, None]) ** 2).sum(-1) / 0.05**2)
    ratios = np.exp(5 * peaks)
    found = search.consensus(ratios, sizes[0], shapes)
    # By hand: every arrangement, 21 × 21 places, 9 sizes, messages read between the lattice's places.
    unit = unit_of(sizes[0]) / sizes[0]
    best = (-np.inf, 0.0, np.zeros((3, 2)))
    for scale in np.exp(np.linspace(np.log(shapes.sizes[0]), np.log(shapes.sizes[-1]), 9)):
        grid = np.stack(np.meshgrid(*[np.linspace(0.25, 0.75, 21)] * 2), axis=-1).reshape(-1, 1, 2)
        spread = np.sqrt((search.FINE_SPREAD * scale * unit) ** 2 + (0.4 / 12) ** 2)
        for offsets in shapes.offsets:
            at = grid + scale * offsets * unit  # (441, P, 2)
            near = norm.pdf(at[:, :, 0, None], place[0, :, 0], spread[0]) / 12
            down = norm.pdf(at[:, :, 1, None], place[:, 0, 1], spread[1]) / 12
            value = np.einsum("npy,pyx,npx->np", down, ratios, near)
            score = np.log(1 - search.TRUST + search.TRUST * value).sum(axis=1)
            score -= 0.5 * ((np.log(scale) - shapes.size_mean) / shapes.size_spread) ** 2
            if score.max() > best[0]:
                best = (float(score.max()), float(scale), at[score.argmax()])
    centres = np.einsum("pyx,yxd->pd", found.expected, place)
    assert np.linalg.norm(centres - best[2], axis=1).max() < 0.05
    assert found.size == pytest.approx(best[1], rel=0.25)
    np.testing.assert_allclose(found.share, 1.0)
    np.testing.assert_allclose(found.expected.sum(axis=(1, 2)), 1.0)


def test_an_image_can_be_left_out() -> None:
    points, visible, sizes = training(2)
    visible[:] = True
    points[1] = points[0][MIRROR] * (1, -1) + (0, 1)
    shapes = make_shapes(points, visible, sizes, MIRROR, 4, 3)
    ratios = np.ones((3, 6, 6))
    with_it = search.consensus(ratios, sizes[0], shapes).expected
    without = search.consensus(ratios, sizes[0], shapes, exclude=0).expected
    assert np.abs(with_it - without).max() > 1e-4
    alone = make_shapes(points[:1], visible[:1], sizes[:1], MIRROR, 4, 3)
    assert np.isfinite(search.consensus(ratios, sizes[0], alone, exclude=0).expected).all()


# -- shapes -------------------------------------------------------------------------------------------------------------
def test_shapes_do_not_depend_on_place_size_and_aspect() -> None:
    points, visible, sizes = training(1)
    visible[:] = True
    first = make_shapes(points, visible, sizes, MIRROR, 4, 3)
    wide = sizes * (2, 1)  # the same pixels in an image twice as wide, the object moved
    moved = (points * sizes[:, None] * 0.5 + (40, 10)) / wide[:, None]
    second = make_shapes(moved, visible, wide, MIRROR, 4, 3)
    np.testing.assert_allclose(first.offsets, second.offsets, atol=1e-12)
    np.testing.assert_allclose(first.offsets[1], first.offsets[0][MIRROR] * (-1, 1))


def test_groups_hold_the_means_of_their_members() -> None:
    points, visible, sizes = training(30)
    shapes = make_shapes(points, visible, sizes, MIRROR, 5, 3)
    for group in range(5):
        members = shapes.group == group
        np.testing.assert_allclose(shapes.group_visible[group], shapes.visible[members].mean(axis=0))
        for part in range(3):
            shown = members & (shapes.visible[:, part] > 0)
            if shown.any():
                np.testing.assert_allclose(
                    shapes.group_offsets[group, part], shapes.offsets[shown, part].mean(axis=0)
                )


# -- decoding -----------------------------------------------------------------------------------------------------------
def test_the_point_is_the_geometric_median_of_the_posterior() -> None:
    rng = np.random.default_rng(3)
    expected = rng.random((1, 8, 8)) ** 6
    expected[0, 6, 6] += 4.0
    found = search.Consensus(np.ones(1), expected / expected.sum(), 0.5)
    ratios = np.exp(rng.standard_normal((1, 8, 8)))
    size = np.array([80.0, 80.0])
    decoded = decode(ratios, found, size)
    y, x = np.mgrid[0:8, 0:8]
    places = np.stack([(x.ravel() + 0.5) / 8, (y.ravel() + 0.5) / 8], axis=1)
    posterior = (expected * ratios**OWN_WEIGHT).ravel()
    posterior /= posterior.sum()

    def distance(point: np.ndarray) -> float:
        return float(posterior @ np.linalg.norm(places - point, axis=1))

    best = minimize(distance, posterior @ places, method="Nelder-Mead").fun
    assert distance(decoded.middle[0]) < best + 0.01
    assert decoded.spread[0] == pytest.approx(distance(decoded.middle[0]))
