"""Confusion matrices, decisions and accuracy curves: what they show, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from drawn import PARTS, draw
from partscope.errors import ImageError, OptionError

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402

from partscope.figures import (  # noqa: E402
    Curve,
    Decision,
    figure_accuracy,
    figure_bytes,
    figure_confusion,
    figure_decisions,
    part_colours,
)
from partscope.figures.palette import hexadecimal  # noqa: E402

TABLE = np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]])


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


# -- confusion --------------------------------------------------------------------------------------------------------
def test_rows_are_divided_by_the_images_of_their_class() -> None:
    figure = figure_confusion(TABLE, ["crow", "jay", "wren"])
    shares = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shares[:2], [[80, 20, 0], [0, 100, 0]])
    assert np.ma.getmaskarray(figure.axes[0].images[0].get_array())[2].all() or np.isnan(shares[2]).all()
    assert [t for t in texts(figure) if t in ("8", "2", "5")] == ["8", "2", "5"]
    assert any("crow → jay: 2 of 10" in text for text in texts(figure))


def test_without_a_confusion_the_list_says_so() -> None:
    assert "No confusion." in texts(figure_confusion(np.diag([3, 4]), ["a", "b"]))


def test_the_largest_confusions_are_listed_first() -> None:
    table = np.array([[9, 1, 0], [3, 9, 2], [0, 0, 9]])
    (listed,) = [t for t in texts(figure_confusion(table, ["a", "b", "c"], most=2)) if "→" in t]
    assert listed.splitlines()[1:] == ["b → a: 3 of 14", "b → c: 2 of 14"]


@pytest.mark.parametrize("count", [2, 31, 50, 200])
def test_labels_of_few_and_of_many_classes(count: int) -> None:
    rng = np.random.default_rng(0)
    table = 20 * np.eye(count, dtype=int) + (rng.random((count, count)) < 2 / count)
    figure = figure_confusion(table, [f"bird {k}" for k in range(1, count + 1)])
    figure_bytes(figure)
    axes = figure.axes[0]
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    if count <= 50:
        assert labels == [f"bird {k}" for k in range(1, count + 1)]
    else:
        assert labels[:2] == ["1", "10"]
        assert len(labels) <= 21
        (listed,) = [t for t in texts(figure) if "→" in t and "bird" in t]
        for line in listed.splitlines()[1:]:
            name, number = line.split(" (")[0], line.split("(")[1].split(")")[0]
            assert name == f"bird {number}"
    assert bool(axes.texts) == (count <= 30)


@pytest.mark.parametrize("table", [np.eye(2), np.zeros((3, 2)), np.zeros(3)])
def test_other_shapes_are_refused(table: np.ndarray) -> None:
    with pytest.raises(OptionError, match=r"3 classes must have shape \(3, 3\)"):
        figure_confusion(table, ["a", "b", "c"])


# -- decisions --------------------------------------------------------------------------------------------------------
def decision(truth: str, predicted: str, score: float | None = None) -> Decision:
    picture, points, _ = draw(np.random.default_rng(3))
    boxes = np.concatenate([points - 10, np.full((len(points), 2), 20.0)], axis=1)
    return Decision(picture, boxes, truth, predicted, score)


def test_right_decisions_come_first_with_their_patches() -> None:
    wrong, right = decision("crow", "jay", -0.5), decision("wren", "wren", 1.25)
    figure = figure_decisions([wrong, right], PARTS, columns=2)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in drawn] == ["✓ wren", "✗ jay\ntrue: crow"]
    assert [axes.get_xlabel() for axes in drawn] == ["score 1.25", "score −0.50"]
    outlines = [p for p in drawn[0].patches if isinstance(p, Rectangle)]
    boxes = np.asarray(right.boxes)
    known = np.isfinite(boxes).all(axis=1)
    assert 0 < known.sum() < len(PARTS)
    assert len(outlines) == 2 * known.sum()  # a coloured line on a black or white one
    colours = [hexadecimal(colour) for colour, k in zip(part_colours(PARTS), known, strict=True) if k]
    assert [to_hex(p.get_edgecolor()) for p in outlines[1::2]] == colours
    assert outlines[1].get_bbox().bounds == pytest.approx(boxes[known][0])
    assert set(PARTS) <= set(texts(figure))


def test_without_part_names_patches_are_numbered() -> None:
    figure = figure_decisions([decision("crow", "crow")])
    assert "patch 1" in texts(figure)
    assert all(not axes.get_xlabel() for axes in figure.axes)


def test_long_names_are_cut() -> None:
    (title,) = [
        t for t in texts(figure_decisions([decision("a" * 90, "a" * 90)], PARTS)) if t.startswith("✓")
    ]
    assert title.endswith("…")
    assert len(title) < 40


def test_bad_decisions_are_refused(tmp_path) -> None:
    with pytest.raises(OptionError, match="nothing to draw"):
        figure_decisions([])
    with pytest.raises(OptionError, match=r"\(5, 4\)"):
        figure_decisions(
            [decision("a", "a"), Decision(decision("a", "a").image, np.ones((2, 4)), "a", "a")], PARTS
        )
    with pytest.raises(OptionError, match=r"\(5, 4\)"):
        figure_decisions([Decision(decision("a", "a").image, np.ones((5, 3)), "a", "a")], PARTS)
    with pytest.raises(ImageError, match=r"none\.png"):
        figure_decisions([Decision(tmp_path / "none.png", np.ones((5, 4)), "a", "a")], PARTS)


# -- accuracy ---------------------------------------------------------------------------------------------------------
LAMBDA = Curve([1 / 16, 1 / 9, 1 / 4], [0.5, 0.6, 0.55], [[0.45, 0.55], [0.52, 0.66], [0.5, 0.6]])


def test_accuracies_intervals_and_baselines() -> None:
    panels = {
        "λ": {"estimated": LAMBDA},
        "number of parts": {"random": ([0, 15], [0.4, 0.5]), "estimated": ([0, 15], [0.4, 0.6])},
    }
    figure = figure_accuracy(panels, baselines={"whole image": 0.4})
    left, right = figure.axes
    (container,) = left.containers
    line, _, (bars,) = container
    np.testing.assert_allclose(line.get_ydata(), [50, 60, 55])
    ends = [(path.vertices[0, 1], path.vertices[1, 1]) for path in bars.get_paths()]
    np.testing.assert_allclose(ends, [[45, 55], [52, 66], [50, 60]])
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["1/16", "1/9", "1/4"]
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["0", "15"]
    assert left.get_xscale() == "log"
    assert left.get_lines()[-1].get_ydata()[0] == 40
    # A name has one colour in all panels, and one entry in the legend, the baseline's last.
    assert {c.get_label(): c[0].get_color() for c in right.containers}["estimated"] == line.get_color()
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["estimated", "random", "whole image"]


def test_bars_of_two_curves_stand_side_by_side() -> None:
    figure = figure_accuracy({"λ": {"a": LAMBDA, "b": LAMBDA}})
    first, second = (np.asarray(c[0].get_xdata()) for c in figure.axes[0].containers)
    assert (first < second).all()
    np.testing.assert_allclose(np.sqrt(first * second), LAMBDA.x)


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "nothing to draw"),
        ({"λ": {}}, "nothing to draw"),
        ({"λ": {"a": ([1, 2], [0.5])}}, "a: settings and accuracies"),
        ({"λ": {"a": ([], [])}}, "a: settings and accuracies"),
        ({"λ": {"a": ([0, 1], [0.5, 0.5])}}, "positive values, not 0"),
        ({"n": {"a": ([0, 1], [0.5, 0.5], [[0, 1]])}}, r"intervals must have shape \(2, 2\)"),
    ],
)
def test_bad_curves_are_refused(panels: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        figure_accuracy(panels)


def test_the_same_figure_gives_the_same_bytes() -> None:
    one, two = (figure_bytes(figure_accuracy({"λ": {"a": LAMBDA}})) for _ in range(2))
    assert one == two
