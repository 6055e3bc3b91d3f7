from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partscope.synthetic.raycast import Ellipsoids, cast


def random_ellipsoids(seed: int, count: int, size: float) -> Ellipsoids:
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    radii = rng.uniform(0.02, 0.4, (count, 3)) * size
    return Ellipsoids(rng.uniform(0, size, (count, 3)), turns * radii[:, None, :])


def test_sphere_is_a_disc_with_its_closed_form_surface():
    centre, radius = np.array([20.0, 17.0, 3.0]), 9.0
    surface = cast(Ellipsoids(centre[None], radius * np.eye(3)[None]), 40, 36)
    rows, columns = np.mgrid[:36, :40] + 0.5
    squared = (columns - 20.0) ** 2 + (rows - 17.0) ** 2
    np.testing.assert_array_equal(surface.mask, squared < radius**2)
    offset = np.stack([columns - 20.0, rows - 17.0, np.sqrt(np.maximum(radius**2 - squared, 0))], axis=-1)
    np.testing.assert_allclose(surface.local, (offset / radius)[surface.mask], atol=1e-4)
    np.testing.assert_allclose(surface.normals, surface.local, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 6))
def test_every_pixel_shows_the_nearest_root_of_a_plain_loop(seed: int, count: int):
    solids = random_ellipsoids(seed, count, 24.0)
    surface = cast(solids, 24, 20)
    owner = np.full((20, 24), -1)
    owner[surface.mask] = surface.owner
    for row, column in np.random.default_rng(seed).integers(0, (20, 24), (30, 2)):
        depths = []
        for centre, axes in zip(solids.centres, solids.axes, strict=True):
            # |E⁻¹(o + z·e₃ − c)|² = 1 as a polynomial in z.
            start = np.linalg.solve(axes, np.array([column + 0.5, row + 0.5, 0.0]) - centre)
            step = np.linalg.solve(axes, np.array([0.0, 0.0, 1.0]))
            roots = np.roots([step @ step, 2 * step @ start, start @ start - 1])
            depths.append(max(roots.real) if abs(roots.imag).max() == 0 else -np.inf)
        near = sorted(depths)[::-1]
        grazing = any(np.isfinite(depths)) and len(near) > 1 and near[0] - near[1] < 1e-2
        if not grazing and owner[row, column] != (int(np.argmax(depths)) if max(depths) > -np.inf else -1):
            # Single precision may decide a ray that only just touches the other way, and no other ray.
            k = int(np.argmax(depths)) if max(depths) > -np.inf else owner[row, column]
            start = np.linalg.solve(
                solids.axes[k], np.array([column + 0.5, row + 0.5, 0.0]) - solids.centres[k]
            )
            step = np.linalg.solve(solids.axes[k], np.array([0.0, 0.0, 1.0]))
            closest = start - (start @ step) / (step @ step) * step
            assert np.linalg.norm(closest) == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_local_points_lie_on_the_unit_sphere_and_project_to_their_pixels(seed: int):
    solids = random_ellipsoids(seed, 5, 32.0)
    surface = cast(solids, 32, 32)
    np.testing.assert_allclose(np.linalg.norm(surface.local, axis=1), 1.0, atol=2e-3)
    points = solids.centres[surface.owner] + np.einsum(
        "nij,nj->ni", solids.axes[surface.owner], surface.local
    )
    rows, columns = np.nonzero(surface.mask)
    np.testing.assert_allclose(points[:, 0], columns + 0.5, atol=1e-2)
    np.testing.assert_allclose(points[:, 1], rows + 0.5, atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1.0, atol=1e-4)
    assert surface.normals[:, 2].min() > -1e-3, "a visible surface faces the viewer"


def test_extents_are_tight():
    solids = random_ellipsoids(3, 1, 200.0)
    solids = Ellipsoids(np.array([[150.0, 150.0, 0.0]]), solids.axes)
    lower, upper = solids.extents()
    rows, columns = np.nonzero(cast(solids, 300, 300).mask)
    assert lower[0, 0] - 1 <= columns.min() <= lower[0, 0] + 2
    assert upper[0, 0] - 3 <= columns.max() <= upper[0, 0]
    assert lower[0, 1] - 1 <= rows.min() <= lower[0, 1] + 2
    assert upper[0, 1] - 3 <= rows.max() <= upper[0, 1]


def test_what_lies_outside_the_window_leaves_it_empty():
    surface = cast(Ellipsoids(np.array([[-50.0, 5.0, 0.0]]), np.eye(3)[None] * 4), 20, 20)
    assert not surface.mask.any()
    assert surface.local.shape == (0, 3)
