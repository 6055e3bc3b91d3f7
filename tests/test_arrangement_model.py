"""The arrangement end to end, on drawn evidence of an animal whose sides the evidence alone cannot tell apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from partscope.arrangement import Arrangement
from partscope.errors import DatasetError

PARTS = ("nose", "tail", "left ear", "right ear", "back")
MIRROR = np.array([0, 1, 3, 2, 4])
GRID = (14, 16)
SIZE = np.array([160.0, 140.0])


def blobs(
    points: np.ndarray, visible: np.ndarray, rng: np.random.Generator, sigma: float = 0.05
) -> np.ndarray:
    """Return evidence (P, h, w): a bump at each visible part, both ears' bumps in both ears' maps, and noise."""
    y, x = np.mgrid[0 : GRID[0], 0 : GRID[1]]
    place = np.stack([(x + 0.5) / GRID[1], (y + 0.5) / GRID[0]], axis=-1)
    maps = 0.3 * rng.standard_normal((len(points), *GRID))
    for part in range(len(points)):
        for peak in {part, int(MIRROR[part])}:
            if visible[peak]:
                squared = ((place - points[peak]) ** 2).sum(axis=-1)
                maps[part] += 6 * np.exp(-0.5 * squared / sigma**2)
    return maps


def animals(
    count: int, seed: int, facing: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points in [0, 1], visibility, image sizes and evidence of animals that face right (1) or left (-1).

    The nose is in front, the tail behind, and of an animal that faces right the left ear is the farther forward.
    """
    rng = np.random.default_rng(seed)
    body = np.array([[0.5, 0.1], [-0.5, 0.2], [0.36, -0.2], [0.16, -0.22], [0.0, 0.0]])
    points, visible, maps = [], [], []
    for _ in range(count):
        side = facing or int(rng.choice([-1, 1]))
        shape = body if side > 0 else body[MIRROR] * (-1, 1)
        scale = rng.uniform(0.35, 0.6)
        place = rng.uniform(0.35, 0.65, 2) + scale * (shape + 0.02 * rng.standard_normal(shape.shape))
        shown = rng.random(len(PARTS)) > (0.0, 0.3, 0.0, 0.0, 0.0)
        points.append(place)
        visible.append(shown)
        maps.append(blobs(place, shown, rng))
    return np.array(points), np.array(visible), np.tile(SIZE, (count, 1)), np.array(maps)


@pytest.fixture(scope="module")
def arrangement() -> Arrangement:
    """Return the model of forty animals."""
    points, visible, sizes, maps = animals(40, 0)
    return Arrangement.fit(points, visible, sizes, MIRROR, maps)


def test_the_sides_are_told_apart_where_the_evidence_cannot(arrangement: Arrangement) -> None:
    points, visible, sizes, maps = animals(30, 1)
    found = np.array([arrangement.infer(m, s).points for m, s in zip(maps, sizes, strict=True)])
    error = np.linalg.norm(found - points, axis=2)
    assert np.median(error[visible]) < 0.02
    ears = error[:, 2:4]
    exchanged = np.linalg.norm(found[:, 2:4] - points[:, [3, 2]], axis=2).sum(axis=1) < ears.sum(axis=1)
    assert exchanged.mean() <= 0.1  # the evidence alone puts both on one spot


def test_an_animal_that_looks_the_other_way_than_every_training_image() -> None:
    points, visible, sizes, maps = animals(30, 2, facing=1)
    model = Arrangement.fit(points, visible, sizes, MIRROR, maps)
    truth, shown, sizes, maps = animals(20, 3, facing=-1)
    found = np.array([model.infer(m, s).points for m, s in zip(maps, sizes, strict=True)])
    assert np.median(np.linalg.norm(found - truth, axis=2)[shown]) < 0.03


def test_hidden_parts_get_a_lower_probability(arrangement: Arrangement) -> None:
    _, visible, sizes, maps = animals(60, 4)
    tails = np.array([arrangement.infer(m, s).visibility[1] for m, s in zip(maps, sizes, strict=True)])
    hidden, shown = tails[~visible[:, 1]], tails[visible[:, 1]]
    assert len(hidden) > 5
    assert (shown[:, None] > hidden[None]).mean() > 0.95
    assert np.all((tails >= 0) & (tails <= 1))


def test_a_doubtful_part_expects_a_larger_error() -> None:
    points, visible, sizes, maps = animals(40, 5)
    blank = np.random.default_rng(5).random(visible.shape) < 0.3
    maps[blank] = 0.0
    model = Arrangement.fit(points[:30], visible[:30], sizes[:30], MIRROR, maps[:30])
    expected, error = [], []
    for place, image, size in zip(points[30:], maps[30:], sizes[30:], strict=True):
        found = model.infer(image, size)
        expected.append(found.expected_error)
        error.append(np.linalg.norm((found.points - place) * size, axis=1))
    assert np.mean(np.array(expected)[blank[30:]]) > 1.2 * np.mean(np.array(expected)[~blank[30:]])
    assert np.min(expected) > 0
    # The others say where a part is whose own map says nothing.
    assert np.median(np.array(error)[blank[30:] & visible[30:]]) < 0.1 * SIZE[0]


def test_mirrored_maps_give_mirrored_points(arrangement: Arrangement) -> None:
    _, _, sizes, maps = animals(6, 6)
    # Maps of the mirrored picture by a detector that treats sides alike; ears' maps are equal up to noise, hence the swap.
    symmetric = Arrangement(
        arrangement.shapes,
        (arrangement.ratios + arrangement.ratios[MIRROR]) / 2,
        arrangement.refinement,
        arrangement.doubt,
    )
    for image, size in zip(maps, sizes, strict=True):
        straight = symmetric.infer(image, size)
        mirrored = symmetric.infer(image[MIRROR][:, :, ::-1], size)
        np.testing.assert_allclose(mirrored.points[MIRROR] * (-1, 1) + (1, 0), straight.points, atol=0.02)
        np.testing.assert_allclose(mirrored.visibility[MIRROR], straight.visibility, atol=0.05)


def test_moved_maps_give_moved_points(arrangement: Arrangement) -> None:
    rng = np.random.default_rng(7)
    points = np.array([[0.55, 0.45], [0.25, 0.5], [0.5, 0.35], [0.43, 0.34], [0.4, 0.42]])
    still = blobs(points, np.ones(5, bool), rng)
    moved = np.roll(still, 2, axis=2)
    first, second = arrangement.infer(still, SIZE), arrangement.infer(moved, SIZE)
    np.testing.assert_allclose(second.points - first.points, np.tile([2 / GRID[1], 0.0], (5, 1)), atol=0.015)


def test_the_grid_of_the_maps_may_differ_from_the_training_maps(arrangement: Arrangement) -> None:
    points, _, sizes, maps = animals(5, 8)
    fine = maps.repeat(2, axis=2).repeat(2, axis=3)
    for place, coarse, double, size in zip(points, maps, fine, sizes, strict=True):
        assert np.linalg.norm(arrangement.infer(double, size).points - place, axis=1)[0] < 0.05
        assert (
            np.abs(arrangement.infer(double, size).points - arrangement.infer(coarse, size).points)[0].max()
            < 0.03
        )


def test_fitting_twice_gives_the_same_bytes() -> None:
    data = animals(12, 9)
    points, visible, sizes, maps = data
    first, second = (Arrangement.fit(points, visible, sizes, MIRROR, maps).state() for _ in range(2))
    assert first[1] == second[1]
    assert all(first[0][name].tobytes() == second[0][name].tobytes() for name in first[0])


def test_a_restored_arrangement_is_the_same(arrangement: Arrangement) -> None:
    _, _, sizes, maps = animals(3, 10)
    tensors, config = arrangement.state()
    again = Arrangement.restore(tensors, json.loads(json.dumps(config)))
    for image, size in zip(maps, sizes, strict=True):
        before, after = arrangement.infer(image, size), again.infer(image, size)
        np.testing.assert_array_equal(before.points, after.points)
        np.testing.assert_array_equal(before.visibility, after.visibility)
        np.testing.assert_array_equal(before.expected_error, after.expected_error)


def test_small_and_large_objects() -> None:
    points, visible, sizes, _ = animals(30, 11)
    rng = np.random.default_rng(12)
    for scale in (0.3, 1.6):
        resized = 0.5 + scale * (points - points.mean(axis=1, keepdims=True))
        evidence = np.array([blobs(p, v, rng, 0.03) for p, v in zip(resized, visible, strict=True)])
        model = Arrangement.fit(resized[:25], visible[:25], sizes[:25], MIRROR, evidence[:25])
        found = np.array([model.infer(m, s).points for m, s in zip(evidence[25:], sizes[25:], strict=True)])
        inside = visible[25:] & ((resized[25:] > 0) & (resized[25:] < 1)).all(axis=2)
        assert np.median(np.linalg.norm(found - resized[25:], axis=2)[inside]) < 0.05 * max(scale, 0.6)


# -- degenerate input ---------------------------------------------------------------------------------------------------
def test_one_image() -> None:
    points, visible, sizes, maps = animals(1, 13)
    visible[:] = True
    maps[0] = blobs(points[0], visible[0], np.random.default_rng(0))
    model = Arrangement.fit(points, visible, sizes, MIRROR, maps)
    found = model.infer(maps[0], sizes[0])
    assert np.linalg.norm(found.points - points[0], axis=1).max() < 0.1
    assert np.isfinite(found.visibility).all()
    assert np.isfinite(found.expected_error).all()


def test_a_part_that_is_never_visible() -> None:
    points, visible, sizes, maps = animals(15, 14)
    visible[:, 1] = False
    points[:, 1] = np.nan
    model = Arrangement.fit(points, visible, sizes, MIRROR, maps)
    found = model.infer(maps[0], sizes[0])
    assert found.visibility[1] < 0.1
    assert np.isfinite(found.points).all()
    assert np.linalg.norm(found.points[0] - points[0, 0]) < 0.05


def test_evidence_without_any_information_gives_a_usable_guess() -> None:
    points, visible, sizes, maps = animals(15, 15)
    model = Arrangement.fit(points, visible, sizes, MIRROR, np.zeros_like(maps))
    found = model.infer(np.zeros_like(maps[0]), sizes[0])
    assert np.isfinite(found.points).all()
    assert np.abs(found.points - 0.5).max() < 0.5
    trained = Arrangement.fit(points, visible, sizes, MIRROR, maps).infer(np.zeros_like(maps[0]), sizes[0])
    assert np.isfinite(trained.points).all()


def test_a_single_part() -> None:
    points, _, sizes, maps = animals(12, 16)
    shown = np.ones((12, 1), bool)
    model = Arrangement.fit(points[:, :1], shown, sizes, np.array([0]), maps[:, :1])
    assert np.linalg.norm(model.infer(maps[0, :1], sizes[0]).points[0] - points[0, 0]) < 0.05


def test_images_that_show_nothing_are_no_arrangements() -> None:
    points, visible, sizes, maps = animals(12, 17)
    visible[:3] = False
    model = Arrangement.fit(points, visible, sizes, MIRROR, maps)
    assert set(model.shapes.source) == set(range(3, 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(maps=d["maps"][:, :4]), "5 parts"),
        (lambda d: d.update(maps=np.where(d["maps"] == d["maps"].max(), np.nan, d["maps"])), "finite maps"),
        (lambda d: d.update(visible=np.zeros_like(d["visible"])), "no part is visible"),
        (lambda d: d.update(points=d["points"] * 160), "far outside"),
        (lambda d: d.update(sizes=d["sizes"][:2]), "sizes"),
    ],
)
def test_bad_training_input_is_named(change, message: str) -> None:
    points, visible, sizes, maps = animals(4, 18)
    data = {"points": points, "visible": visible, "sizes": sizes, "maps": maps}
    change(data)
    with pytest.raises(DatasetError, match=message):
        Arrangement.fit(mirror=MIRROR, **data)


def test_maps_of_another_detector_are_refused(arrangement: Arrangement) -> None:
    with pytest.raises(DatasetError, match="5 parts"):
        arrangement.infer(np.zeros((4, 8, 8)), SIZE)


def test_four_parts_without_a_pair() -> None:
    points, visible, sizes, maps = animals(24, 20)
    take = [0, 1, 2, 4]
    boxes = np.tile([20.0, 20.0, 100.0, 90.0], (24, 1))
    model = Arrangement.fit(
        points[:20, take], visible[:20, take], sizes[:20], np.arange(4), maps[:20, take], boxes[:20]
    )
    for image, size in zip(maps[20:, take], sizes[20:], strict=True):
        found = model.infer(image, size)
        assert ((found.visibility > 0) & (found.visibility < 1)).all()
        assert (found.expected_error > 0).all()
        assert found.box is not None
        assert np.isfinite(found.box).all()
