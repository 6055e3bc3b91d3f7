"""The refinement: deviations and visibilities that depend on pose and features, with left-out answers for training images."""

from __future__ import annotations

import numpy as np
import pytest

from partscope.arrangement import refinement as module
from partscope.arrangement.decoding import Decoded
from partscope.arrangement.refinement import LEAST, Refinement, fit_refinement, poses

MIRROR = np.array([0, 2, 1])
FLIP = (-1.0, 1.0)


def found(local: np.ndarray, share: np.ndarray | None = None, size: float = 0.5) -> Decoded:
    """Return a decoded image with these points and visible shares."""
    parts = len(local)
    share = np.full(parts, 0.8) if share is None else share
    return Decoded(local, local, np.ones(parts), share, np.zeros(parts), np.zeros(parts), size)


def stances(count: int, seed: int) -> tuple[list[Decoded], np.ndarray]:
    """Return images of an object that faces left or right, and the side (N,): −1 or 1."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], count)
    shape = np.array([[0.2, 0.0], [-0.1, -0.1], [-0.1, 0.1]])
    mirrored = shape[MIRROR] * FLIP
    local = (
        np.where(side[:, None, None] > 0, shape, mirrored) + 0.5 + 0.01 * rng.standard_normal((count, 3, 2))
    )
    return [found(points) for points in local], side


def test_poses_do_not_depend_on_place_and_size() -> None:
    rng = np.random.default_rng(0)
    local, seen = rng.uniform(0, 1, (4, 3, 2)), rng.uniform(0.1, 1, (4, 3))
    first = poses(local, np.full(4, 0.5), seen)
    second = poses(local * 2 + (0.3, -0.2), np.full(4, 1.0), seen)
    assert first.shape == (4, 9)
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_a_deviation_that_depends_on_the_pose_is_found() -> None:
    decoded, side = stances(60, 1)
    deviation = np.zeros((60, 3, 2))
    deviation[:, 0, 0] = 0.1 * side
    visible = np.ones((60, 3), bool)
    fitted, shifts, _ = fit_refinement(decoded, deviation, visible, MIRROR)
    assert np.isfinite(fitted.strength)
    np.testing.assert_allclose(shifts, deviation, atol=0.02)
    new, facing = stances(10, 2)
    for image, sign in zip(new, facing, strict=True):
        shift, _ = fitted(image, None)
        np.testing.assert_allclose(shift[0], [0.1 * sign, 0.0], atol=0.02)
        np.testing.assert_allclose(shift[1:], 0.0, atol=0.02)


def test_a_visibility_that_depends_on_the_pose_is_found() -> None:
    decoded, side = stances(60, 3)
    visible = np.ones((60, 3), bool)
    visible[:, 1], visible[:, 2] = side > 0, side < 0
    fitted, _, votes = fit_refinement(decoded, np.zeros((60, 3, 2)), visible, MIRROR)
    np.testing.assert_allclose(votes, visible, atol=0.25)
    new, facing = stances(10, 4)
    for image, sign in zip(new, facing, strict=True):
        vote = fitted(image, None)[1]
        assert (vote[1] > 0.7) == (sign > 0)
        assert (vote[2] > 0.7) == (sign < 0)


def test_features_tell_what_the_pose_does_not() -> None:
    rng = np.random.default_rng(5)
    decoded, _ = stances(80, 5)
    features = rng.standard_normal((80, 1, 3, 4))
    deviation = np.zeros((80, 3, 2))
    deviation[:, 2, 1] = 0.1 * np.tanh(features[:, 0, 2, 1])
    visible = np.ones((80, 3), bool)
    plain = fit_refinement(decoded, deviation, visible, MIRROR)[1]
    told = fit_refinement(decoded, deviation, visible, MIRROR, features)[1]
    missing = np.linalg.norm(deviation - plain, axis=2)[:, 2].mean()
    assert np.linalg.norm(deviation - told, axis=2)[:, 2].mean() < 0.7 * missing


def test_what_holds_for_a_left_part_holds_mirrored_for_the_right_one() -> None:
    """Only images that face right are shown, with the features of both sides; what faces left follows."""
    rng = np.random.default_rng(6)
    decoded, side = stances(80, 6)
    right = [image for image, sign in zip(decoded, side, strict=True) if sign > 0]
    own = rng.standard_normal((len(right), 3, 2))
    features = np.stack([own, own[:, MIRROR]], axis=1)  # features that mirroring leaves as they are
    deviation = np.zeros((len(right), 3, 2))
    deviation[:, 1] = (0.1, 0.05)
    fitted, _, _ = fit_refinement(right, deviation, np.ones((len(right), 3), bool), MIRROR, features)
    facing_left = next(image for image, sign in zip(decoded, side, strict=True) if sign < 0)
    shift, _ = fitted(facing_left, np.zeros((3, 2)))
    np.testing.assert_allclose(shift[2], [-0.1, 0.05], atol=0.03)
    np.testing.assert_allclose(shift[1], 0.0, atol=0.03)


def test_left_out_answers_are_those_of_a_fit_without_the_image() -> None:
    decoded, side = stances(12, 7)
    rng = np.random.default_rng(7)
    visible = rng.random((12, 3)) < 0.8
    base = visible.mean(axis=0)
    _, _, votes = fit_refinement(decoded, np.zeros((12, 3, 2)), visible, np.arange(3), None)
    # The same closed form by plain loops over images, for the second round's poses.
    first = _votes(decoded, visible, np.array([image.share for image in decoded]), base)
    second = _votes(decoded, visible, first, base)
    np.testing.assert_allclose(votes, second, atol=1e-8)
    assert side.any()


def _votes(decoded: list[Decoded], visible: np.ndarray, seen: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return each image's votes from a ridge regression on the other images and their mirror images."""
    local, size = np.array([d.local for d in decoded]), np.array([d.size for d in decoded])
    rows = np.concatenate([poses(local, size, seen), poses(local * FLIP, size, seen)])
    distance = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    kernel = np.exp(-distance / np.median(distance))
    truth = np.concatenate([visible, visible]).astype(float) - base
    votes = np.zeros(visible.shape)
    for image in range(len(decoded)):
        rest = np.setdiff1d(np.arange(len(rows)), [image, image + len(decoded)])
        solved = np.linalg.solve(kernel[np.ix_(rest, rest)] + np.eye(len(rest)), truth[rest])
        votes[image] = base + kernel[image, rest] @ solved
    return votes


def test_noise_and_too_few_images_move_nothing() -> None:
    decoded, _ = stances(LEAST - 1, 8)
    fitted, shifts, votes = fit_refinement(decoded, np.ones((3, 3, 2)), np.ones((3, 3), bool), MIRROR)
    assert np.isinf(fitted.strength)
    assert not shifts.any()
    assert np.isfinite(votes).all()
    rng = np.random.default_rng(8)
    decoded, _ = stances(12, 9)
    noise = 0.1 * rng.standard_normal((12, 3, 2))
    _, shifts, _ = fit_refinement(decoded, noise, np.ones((12, 3), bool), MIRROR)
    plain = np.linalg.norm(noise, axis=2).sum()
    assert np.linalg.norm(noise - shifts, axis=2).sum() <= plain


def test_of_many_images_evenly_spaced_ones_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 20)
    decoded, side = stances(60, 10)
    deviation = np.zeros((60, 3, 2))
    deviation[:, 0, 0] = 0.1 * side
    fitted, shifts, _ = fit_refinement(decoded, deviation, np.ones((60, 3), bool), MIRROR)
    assert len(fitted.shift) == 40
    np.testing.assert_allclose(shifts, deviation, atol=0.03)


def test_one_part_and_equal_poses_are_no_obstacle() -> None:
    decoded = [found(np.array([[0.5, 0.5]])) for _ in range(6)]
    fitted, shifts, votes = fit_refinement(
        decoded, np.tile([0.02, 0.0], (6, 1, 1)), np.ones((6, 1), bool), np.array([0])
    )
    np.testing.assert_allclose(votes, 1.0)
    assert np.isfinite(shifts).all()
    assert np.isfinite(fitted(decoded[0], None)[0]).all()


def test_a_refinement_is_restored_to_the_last_bit() -> None:
    rng = np.random.default_rng(11)
    decoded, side = stances(30, 11)
    features = rng.standard_normal((30, 2, 3, 4)).astype(np.float32)
    deviation = np.zeros((30, 3, 2))
    deviation[:, 0, 0] = 0.1 * side
    fitted, _, _ = fit_refinement(decoded, deviation, np.ones((30, 3), bool), MIRROR, features)
    again = Refinement.restored(fitted.arrays(), fitted.strength, features)
    own = features[0, 0]
    for one, other in zip(fitted(decoded[0], own), again(decoded[0], own), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="other images or parts"):
        Refinement.restored(fitted.arrays(), fitted.strength, features[:20])
    with pytest.raises(KeyError):
        Refinement.restored({}, 1.0, features)
