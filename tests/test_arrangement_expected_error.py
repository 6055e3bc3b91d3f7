"""The expected error: calibrated on heavy-tailed errors, and sensible where there is nothing to calibrate on."""

from __future__ import annotations

import numpy as np

from partscope.arrangement.decoding import Decoded
from partscope.arrangement.expected_error import LONGEST, SHORTEST, fit_expected_error

MIRROR = np.array([0, 2, 1])
FACTOR = np.array([0.5, 2.0, 2.0])


def found(count: int, seed: int) -> tuple[list[Decoded], np.ndarray, np.ndarray, np.ndarray]:
    """Return what was found, signs, errors in object sizes and their true expectations."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.2, 0.6, count)
    spread = np.exp(rng.uniform(-4, -2, (count, 3)))
    signs = rng.standard_normal((count, 3, 2))
    expected = FACTOR * (spread + SHORTEST) * np.exp(0.3 * signs[..., 0])
    errors = expected * rng.gamma(2.0, 0.5, (count, 3))
    zero = np.zeros(3)
    decoded = [
        Decoded(np.zeros((3, 2)), np.zeros((3, 2)), s * z, zero, zero, zero, float(z))
        for s, z in zip(spread, size, strict=True)
    ]
    return decoded, signs, errors, expected


def test_expectations_are_met() -> None:
    decoded, signs, errors, _ = found(400, 0)
    visible = np.random.default_rng(1).random(errors.shape) > 0.2
    model = fit_expected_error(decoded, signs, visible, np.where(visible, errors, np.nan), MIRROR)
    fresh, signs, _, wanted = found(50, 2)
    guess = np.array([model(one, each) for one, each in zip(fresh, signs, strict=True)])
    inside = (wanted > 2 * SHORTEST) & (wanted < LONGEST / 2)
    assert abs(np.log(guess / wanted)[inside]).mean() < 0.1
    assert model.parts[1] == model.parts[2]


def test_nothing_to_calibrate_on_leaves_the_posteriors_spread() -> None:
    decoded, signs, errors, _ = found(1, 0)
    visible = np.array([[True, False, False]])
    model = fit_expected_error(decoded, signs, visible, errors, MIRROR)
    ratio = model(decoded[0], signs[0]) / (decoded[0].spread / decoded[0].size + SHORTEST)
    observed = max(errors[0, 0], SHORTEST) / (decoded[0].spread[0] / decoded[0].size + SHORTEST)
    assert (ratio >= min(observed, 1.0) - 1e-6).all()
    assert (ratio <= max(observed, 1.0) + 1e-6).all()


def test_bounds() -> None:
    decoded, signs, errors, _ = found(40, 3)
    model = fit_expected_error(decoded, signs, np.ones((40, 3), bool), errors * 1000, MIRROR)
    assert model(decoded[0], 1000 * signs[0]).max() <= LONGEST
    assert model(decoded[0], -1000 * signs[0]).min() >= SHORTEST
