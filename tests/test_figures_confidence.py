"""Reliability diagrams and the error of the parts kept: what the lines show."""

from __future__ import annotations

import numpy as np
import pytest

from partscope.errors import OptionError
from partscope.metrics import reliability, risk_coverage

pytest.importorskip("matplotlib", reason="figures need the extra plot")

from partscope.figures import figure_reliability, figure_risk_coverage, save_figure


def test_reliability_lines_are_the_bins(tmp_path) -> None:
    score = np.array([[0.05, 0.95], [0.15, 0.95]])
    bins = reliability(score, np.array([[False, True], [True, False]]))
    figure = figure_reliability({"linear": bins, "other": bins})
    upper, lower = figure.axes
    diagonal, first, _ = upper.get_lines()
    np.testing.assert_allclose(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_allclose(first.get_xydata(), [[0.05, 0], [0.15, 1], [0.95, 0.5]])
    assert "calibration error 0.450" in first.get_label()
    assert lower.get_ylabel() == "parts (%)"
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 1000


def test_kept_lines_are_the_curves(tmp_path) -> None:
    errors = np.random.default_rng(0).random(50)
    curve = risk_coverage(errors, errors[::-1])
    figure = figure_risk_coverage({"linear": curve})
    (axes,) = figure.axes
    line, oracle, level = axes.get_lines()
    x, y = line.get_data()
    assert x[-1] == 100
    np.testing.assert_allclose(y, curve.error[-len(y) :])
    np.testing.assert_allclose(oracle.get_ydata(), curve.oracle[-len(y) :])
    assert level.get_ydata()[0] == pytest.approx(errors.mean())
    assert save_figure(figure, tmp_path / "a.png").stat().st_size > 1000


def test_nothing_to_draw() -> None:
    with pytest.raises(OptionError, match="nothing to draw"):
        figure_reliability({})
    with pytest.raises(OptionError, match="nothing to draw"):
        figure_risk_coverage({})
    with pytest.raises(OptionError, match="'a' has no part"):
        figure_risk_coverage({"a": risk_coverage([], [])})
