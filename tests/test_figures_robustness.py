"""The experiment of benchmarks/robustness.py: what it adds to the maps, and what it measures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "robustness.py"


@pytest.fixture(scope="module")
def experiment():
    specification = importlib.util.spec_from_file_location("robustness_experiment", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_drawn_maps_peak_at_their_centres(experiment):
    maps, centres = experiment.drawn_maps(6, 96, seed=0)
    assert maps.shape == (6, 96, 96)
    assert maps.max(axis=(1, 2)) == pytest.approx(np.ones(6))
    assert (maps >= 0).all()
    for values, (x, y) in zip(maps, centres, strict=True):
        near = values[max(0, int(y) - 3) : int(y) + 4, max(0, int(x) - 3) : int(x) + 4]
        assert near.mean() > 4 * values.mean()


def test_noise_has_the_level_of_each_maps_maximum(experiment):
    maps = np.zeros((2, 200, 200), np.float32)
    maps[:, 0, 0] = [1.0, 10.0]
    added = experiment.add_noise(maps, 0.3, np.random.default_rng(0)) - maps
    assert (added >= 0).all()
    # √(E ε²) is the standard deviation of the normal noise before its magnitude is taken.
    assert np.sqrt((added**2).mean(axis=(1, 2))) == pytest.approx([0.3, 3.0], rel=0.02)


def test_clutter_adds_spots_of_the_given_peak(experiment):
    maps = np.zeros((3, 100, 150), np.float32)
    maps[:, 0, 0] = 2.0
    added = experiment.add_clutter(maps, 0.5, np.random.default_rng(0)) - maps
    mass = 2 * np.pi * (experiment.SPOT_SIGMA * 150) ** 2 * experiment.SPOTS
    assert (added.sum(axis=(1, 2)) <= mass * 1.01).all()
    assert (added.sum(axis=(1, 2)) > 0.5 * mass).all()
    assert 0.8 < added.max() < 5.0


def test_nothing_moves_without_a_disturbance(experiment):
    maps, _ = experiment.drawn_maps(3, 64, seed=1)
    for disturb in (experiment.add_noise, experiment.add_clutter):
        errors = experiment.displacements(maps, None, disturb, (0.0,), seed=0)
        assert set(errors) == {"mixture", "maximum", "smoothed", "centroid"}
        assert all((values == 0).all() for values in errors.values())


def test_a_brighter_spot_moves_the_maximum_onto_it(experiment):
    maps = np.zeros((1, 64, 64), np.float32)
    maps[0, 32, 32] = 1.0

    def distract(values, level, _):
        disturbed = values.copy()
        disturbed[0, 32, 62] = level
        return disturbed

    errors = experiment.displacements(maps, np.array([[32.5, 32.5]]), distract, (0.0, 2.0), seed=0)
    assert errors["maximum"][:, 0] == pytest.approx([0, 30 / np.hypot(64, 64)])


def test_rows_and_curves_fit_the_figure(experiment, monkeypatch):
    from partscope.figures import figure_robustness

    monkeypatch.setattr(experiment, "NOISE", (0.0, 0.2))
    monkeypatch.setattr(experiment, "CLUTTER", (0.0, 1.0))
    maps, centres = experiment.drawn_maps(4, 48, seed=2)
    rows, curves = experiment.measure(maps, centres, seed=0)
    assert rows["noise"]["mixture"]["maps"] == [4, 4]
    errors = next(iter(curves.values()))[1]["mixture"]
    assert rows["noise"]["mixture"]["mean"] == pytest.approx(errors.mean(axis=1), abs=1e-5)
    assert len(figure_robustness(curves).axes) == 2
