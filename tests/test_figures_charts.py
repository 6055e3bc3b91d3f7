from __future__ import annotations

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from partscope.errors import OptionError, PartscopeError

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.patches import Ellipse  # noqa: E402

from partscope.figures import (  # noqa: E402
    figure_bytes,
    figure_error_curves,
    figure_maps,
    figure_method,
    figure_part_errors,
    figure_ranking,
    figure_robustness,
    figure_shared_channels,
    save_figure,
    share_band,
    share_within,
)

SIZE = 64


def blob(x: float, y: float, sigma: float = 4.0) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / sigma**2)


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def pixel_at(figure, picture: np.ndarray, axes, x: float, y: float) -> tuple[int, ...]:
    """Return the drawn colour at a position in the axes' data coordinates."""
    column, row = axes.transData.transform((x, y))
    return tuple(int(v) for v in picture[int(picture.shape[0] - row), int(column)])


def texts(figure) -> str:
    found = figure.findobj(matplotlib.text.Text)
    return "\n".join(text.get_text() for text in found)


def line_named(axes, name: str):
    return next(line for line in axes.get_lines() if line.get_label() == name)


IMAGE = np.full((200, 300, 3), 150, np.uint8)
MEANS = np.array([[[16.0, 16.0], [32, 32]], [[40, 20], [50, 50]]])
COVARIANCES = np.tile(np.diag([16.0, 4.0]), (2, 2, 1, 1))
WEIGHTS = np.array([[0.7, 0.3], [0.2, 0.8]])
METHOD = {"channels": [417, 3], "parts": ["beak", "tail", "nape"], "selected": [417, 3, 3]}
TRUTH = np.array([[100.0, 50.0], [250, 150], [np.nan, np.nan]])


def method_figure(**changed):
    maps = np.stack([blob(16, 16), blob(50, 50)])
    arguments = {"means": MEANS, "covariances": COVARIANCES, "weights": WEIGHTS} | changed
    return figure_method(IMAGE, maps, *arguments.values(), truth=TRUTH, scale=100.0, **METHOD)


def test_method_marks_the_heavier_components_mean_and_the_annotated_part():
    figure = method_figure()
    picture = pixels(figure)
    axes = np.array(figure.axes).reshape(3, 3)
    # Component 1 is the heavier one of channel 3; map pixels 64 × 64 cover the image's 300 × 200.
    assert pixel_at(figure, picture, axes[1, 2], 50 * 300 / 64, 50 * 200 / 64) == (0, 229, 255)
    assert pixel_at(figure, picture, axes[2, 1], 16 * 300 / 64, 16 * 200 / 64) == (0, 229, 255)
    assert pixel_at(figure, picture, axes[2, 1], 100, 50) == (230, 159, 0)
    # The map itself: bright where the blob is, black in the far corner.
    assert sum(pixel_at(figure, picture, axes[0, 1], 75, 50)) > 500
    assert sum(pixel_at(figure, picture, axes[0, 1], 290, 190)) < 20


def test_method_states_distances_in_the_given_scale():
    said = texts(method_figure())
    assert "beak: 0.250" in said  # the centre (75, 50) lies 25 pixels from (100, 50); the scale is 100
    assert "nape: not visible" in said
    assert "channel 417" in said
    assert "weight 0.80" in said


def test_method_ellipses_are_scaled_to_the_image():
    figure = method_figure()
    ellipses = [
        patch for patch in np.array(figure.axes).reshape(3, 3)[1, 1].patches if isinstance(patch, Ellipse)
    ]
    widest = max(ellipses, key=lambda patch: patch.width * patch.height)
    assert len(ellipses) == 4
    # 2σ on either side: 4 · 4 map pixels along x, 4 · 2 along y.
    assert sorted([widest.width, widest.height]) == pytest.approx([8 * 200 / 64, 16 * 300 / 64])
    assert widest.angle % 180 == pytest.approx(0)


def test_method_cut_is_black_below_the_quantile():
    axes = np.array(method_figure().axes).reshape(3, 3)[1, 1]
    shown = np.asarray(axes.images[0].get_array())
    assert (shown > 0).sum() == pytest.approx(0.1 * SIZE * SIZE, abs=16)
    assert shown.max() == pytest.approx(blob(16, 16).max())


def test_method_without_a_centre():
    means = MEANS.copy()
    means[1] = np.nan
    said = texts(method_figure(means=means))
    assert "no centre" in said
    assert "tail: no centre" in said


def test_method_wrong_shape_is_named():
    with pytest.raises(OptionError, match=r"covariances must have shape \(2, 2, 2, 2\)"):
        method_figure(covariances=np.zeros((2, 2, 2)))


def test_maps_have_the_papers_colours_and_positions():
    points = np.array([[[60.0, 40], [150, 100], [250, 160]], [[30, 30], [90, 150], [np.nan, np.nan]]])
    other = np.full((300, 200, 3), 90, np.uint8)
    fields = [np.stack([blob(10, 10), blob(30, 30), blob(50, 50)])] * 2
    figure = figure_maps(
        [IMAGE, other], points, fields, ["head", "belly", "tail"], channels=[5, 6, 7], truth=points + 20
    )
    picture = pixels(figure)
    axes = np.array(figure.axes).reshape(2, 4)
    assert pixel_at(figure, picture, axes[0, 0], 60, 40) == (255, 255, 255)
    assert pixel_at(figure, picture, axes[0, 0], 150, 100) == (0, 200, 70)
    assert pixel_at(figure, picture, axes[0, 3], 250, 160) == (230, 30, 30)
    assert pixel_at(figure, picture, axes[1, 2], 90, 150) == (0, 200, 70)
    assert axes[0, 1].get_title("left") == "head: channel 5"
    assert axes[1, 3].get_xlabel() == "not found"


def test_maps_need_one_array_per_image():
    with pytest.raises(OptionError, match="2 images"):
        figure_maps([IMAGE, IMAGE], np.zeros((2, 1, 2)), [np.zeros((1, 4, 4))], ["head"])


def test_ranking_draws_the_best_and_names_the_gap():
    cost = np.array([[3.0, 1.0, 1.5, np.inf], [np.inf] * 4, [np.inf, np.inf, np.inf, 2.0]])
    figure = figure_ranking(cost, ["beak", "tail", "nape"], most=2, channels=[10, 20, 30, 40])
    said = texts(figure)
    assert "20  (next 30, +50.0 %)" in said
    assert "the part was never visible" in said
    assert "40, the only one" in said
    dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots] == [(1.0, 0), (2.0, 2)]


def test_ranking_of_wrong_shape():
    with pytest.raises(OptionError, match="3 parts"):
        figure_ranking(np.zeros((2, 5)), ["a", "b", "c"])


def test_shared_channels_groups_parts():
    figure = figure_shared_channels({"beak": 7, "tail": 3, "crown": 7, "nape": 7})
    said = texts(figure)
    assert "channel 7  (3 parts)" in said
    assert "4 parts, 2 channels" in said
    ends = {tuple(line.get_ydata()) for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2}
    # beak, crown and nape meet at the middle of their rows; tail is alone on its own.
    assert ends == {(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.5, 3.5)}


@given(
    arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 2) | st.just(np.nan) | st.just(np.inf)),
    arrays(np.float64, st.integers(1, 10), elements=st.floats(0, 2)),
)
def test_share_within_equals_counting(errors, thresholds):
    counted = [e for e in errors if not np.isnan(e)]
    shares = share_within(errors, thresholds)
    if not counted:
        assert np.isnan(shares).all()
    else:
        assert np.allclose(shares, [sum(e <= t for e in counted) / len(counted) for t in thresholds])


def test_share_band_draws_images_and_not_parts():
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.random((60, 1)), 15, axis=1)  # all parts of an image fail together
    apart = rng.random((60, 15))
    limits = np.array([0.3, 0.5])
    wide, narrow = share_band(alike, limits), share_band(apart, limits)
    assert (wide[0] <= share_within(alike, limits)).all()
    assert (share_within(alike, limits) <= wide[1]).all()
    # 15 copies of a value carry the information of one: the interval is about √15 times as wide.
    assert (np.diff(wide, axis=0) > 2.5 * np.diff(narrow, axis=0)).all()
    # The binomial standard error, times 2 × 1.96.
    assert np.diff(wide, axis=0)[0, 1] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 60), rel=0.25)


def test_share_band_in_blocks_is_the_same(monkeypatch):
    from partscope.figures import curves

    errors = np.random.default_rng(1).random((20, 3))
    errors[3, 1] = np.nan
    limits = np.linspace(0, 1, 11)
    whole = share_band(errors, limits, draws=100)
    monkeypatch.setattr(curves, "_MOST_VALUES", 120)
    assert np.array_equal(share_band(errors, limits, draws=100), whole)


def test_error_curves_draw_the_shares():
    errors = {"mixture": np.array([[0.05, 0.15], [0.25, np.nan]]), "prior": np.array([0.2, 0.4, np.inf])}
    limits = np.linspace(0, 0.5, 6)
    bands = {"mixture": np.stack([np.zeros(6), np.ones(6)])}
    figure = figure_error_curves(errors, thresholds=limits, bands=bands, baselines=["prior"])
    axes = figure.axes[0]
    assert line_named(axes, "mixture").get_ydata() == pytest.approx(
        100 * share_within(errors["mixture"], limits)
    )
    assert line_named(axes, "prior").get_ydata()[-1] == pytest.approx(200 / 3)
    assert "normalised error" in axes.get_xlabel()
    assert "(%)" in axes.get_ylabel()
    assert len(axes.collections) == 1


@pytest.mark.parametrize("changed", [{"baselines": ["prio"]}, {"bands": {"mixture": np.zeros((2, 3))}}])
def test_error_curves_refuse_what_does_not_fit(changed):
    with pytest.raises(OptionError, match=r"prio|band of 'mixture'"):
        figure_error_curves({"mixture": [0.1], "prior": [0.2]}, **changed)


def test_part_errors_draw_bars_priors_and_intervals():
    errors = {"mixture": [0.1, np.nan], "maximum": [0.2, 0.3]}
    figure = figure_part_errors(
        ["beak", "tail"], errors, prior=[0.25, 0.28], intervals={"mixture": [[0.08, 0.13], [np.nan, np.nan]]}
    )
    axes = figure.axes[0]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == pytest.approx([0.1, np.nan, 0.2, 0.3], nan_ok=True)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["beak", "tail"]
    lines = [
        segment for collection in axes.collections for segment in collection.get_segments() if len(segment)
    ]
    assert any(np.allclose(segment[:, 0], 0.25) for segment in lines)
    assert any(np.allclose(segment[:, 0], [0.08, 0.13]) for segment in lines)
    pixels(figure)


def test_part_errors_name_the_method_of_wrong_shape():
    with pytest.raises(OptionError, match="maximum"):
        figure_part_errors(["beak", "tail"], {"mixture": [0.1, 0.2], "maximum": [0.1]})


def test_robustness_draws_means_of_the_found():
    errors = {"mixture": np.array([[0.1, 0.3], [0.2, np.nan]]), "maximum": np.array([[0.4, 0.4], [0.5, 0.7]])}
    figure = figure_robustness({"noise": ([0.0, 0.5], errors), "clutter": ([0.0, 0.5], errors)})
    for axes, label in zip(figure.axes, ["noise", "clutter"], strict=True):
        assert axes.get_xlabel() == label
        assert line_named(axes, "mixture").get_ydata() == pytest.approx([0.2, 0.2])
        assert line_named(axes, "maximum").get_ydata() == pytest.approx([0.4, 0.6])


def test_robustness_refuses_errors_without_levels():
    with pytest.raises(OptionError, match="mixture"):
        figure_robustness({"noise": ([0.0, 0.5, 1.0], {"mixture": np.zeros((2, 9))})})


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_figure_gives_the_same_bytes_without_a_date(tmp_path, suffix):
    first = save_figure(figure_shared_channels({"beak": 7, "tail": 3}), tmp_path / f"a{suffix}")
    second = save_figure(figure_shared_channels({"beak": 7, "tail": 3}), tmp_path / f"b{suffix}")
    data = first.read_bytes()
    assert data == second.read_bytes()
    assert not re.search(rb"20[2-9]\d-\d\d-\d\d|CreationDate|D:20\d\d", data)


def test_png_is_wide_enough_and_light(tmp_path):
    path = save_figure(figure_error_curves({"mixture": [0.1, 0.2]}), tmp_path / "curve.png")
    with Image.open(path) as image:
        assert image.width == 1200
        assert image.convert("RGB").getpixel((2, image.height - 2)) == (255, 255, 255)
    assert [entry.name for entry in tmp_path.iterdir()] == ["curve.png"]


def test_saving_refuses_unknown_suffix_and_missing_folder(tmp_path):
    figure = figure_shared_channels({"beak": 7})
    with pytest.raises(OptionError, match=r"\.jpg"):
        save_figure(figure, tmp_path / "a.jpg")
    with pytest.raises(PartscopeError, match="no-such"):
        save_figure(figure, tmp_path / "no-such" / "a.png")


def test_the_users_matplotlib_state_is_untouched():
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.family": ["serif"], "axes.facecolor": "black"}):
        inside = dict(matplotlib.rcParams)
        themed = figure_bytes(figure_shared_channels({"beak": 7, "tail": 3}))
        assert dict(matplotlib.rcParams) == inside
    assert dict(matplotlib.rcParams) == before
    assert themed == figure_bytes(figure_shared_channels({"beak": 7, "tail": 3}))


@settings(max_examples=5, deadline=None)
@given(st.sampled_from(["$x^2$", "a_b^c", "\\frac{1}{2}", "<script>", "schnabel ä"]))
def test_part_names_are_never_read_as_formulas(name):
    figure = figure_shared_channels({name: 7})
    assert name in texts(figure)
    assert Image.open(io.BytesIO(figure_bytes(figure))).width > 600
