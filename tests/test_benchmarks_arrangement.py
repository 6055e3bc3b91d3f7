"""The spatial models of the comparison against sums by hand, and the page that is made from its result."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import norm

from partscope.arrangement.consensus import CELL_SPREAD, STEP_SPREAD, TRUST
from partscope.arrangement.shapes import unit_of

MIRROR = np.array([0, 2, 1])
GRID = (6, 5)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Return the modules of the comparison."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    names = ("evidence", "poses", "star", "tree", "lowrank", "pairwise", "exemplars", "measure")
    return {name: import_module(f"arrangement_models.{name}") for name in names}


def training(models: dict[str, ModuleType], count: int = 20) -> object:
    """Return evidence of three-part objects of one shape: a bump where each part is."""
    rng = np.random.default_rng(0)
    body = np.array([[0.0, -0.2], [-0.2, 0.15], [0.25, 0.1]])
    points = rng.uniform(0.4, 0.6, (count, 1, 2)) + body * rng.uniform(0.9, 1.1, (count, 1, 1))
    points += 0.02 * rng.standard_normal(points.shape)
    visible = rng.random((count, 3)) > 0.15
    visible[:, 0] = True
    y, x = np.mgrid[0 : GRID[0], 0 : GRID[1]]
    place = np.stack([(x + 0.5) / GRID[1], (y + 0.5) / GRID[0]], axis=-1)
    maps = (
        4
        * np.exp(-0.5 * ((place - points[:, :, None, None]) ** 2).sum(-1) / 0.1**2)
        * visible[..., None, None]
    )
    maps = (maps + 0.2 * rng.standard_normal(maps.shape)).astype(np.float32)
    sizes = np.tile([120.0, 80.0], (count, 1))
    points = np.where(visible[..., None], points, np.nan)
    diagonals = np.full(count, 60.0)
    return models["evidence"].Evidence(points, visible, sizes, diagonals, MIRROR, maps, ("a", "l", "r"))


def test_the_star_is_the_sum_over_all_hypotheses(
    models: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models["star"], "PLACES", 5)
    data = training(models)
    star = models["star"].Star(2)
    star.fit(data)
    ratios = np.exp(data.maps[0].astype(np.float64))
    found = star.posterior(ratios, data.sizes[0])
    poses, size = star._poses, data.sizes[0]
    unit, places = unit_of(size) / size, models["star"].PLACES
    centres = [(np.arange(n) + 0.5) / n for n in GRID]
    expected = np.zeros((3, *GRID))
    shares = np.zeros(3)
    total = 0.0
    for m in range(len(poses.weight)):
        for scale in poses.shapes.sizes:
            prior = np.exp(-0.5 * ((np.log(scale) - poses.shapes.size_mean) / poses.shapes.size_spread) ** 2)
            for y in (np.arange(places) + 0.5) / places:
                for x in (np.arange(places) + 0.5) / places:
                    factors, windows = [], []
                    for p in range(3):
                        mean = np.array([x, y]) + poses.mean[m, p] * scale * unit
                        deviation = poses.spread[m, p] * scale * unit
                        along = [
                            norm.pdf(
                                centres[1 - d],
                                mean[d],
                                np.sqrt(
                                    deviation[d] ** 2
                                    + (CELL_SPREAD / GRID[1 - d]) ** 2
                                    + (STEP_SPREAD / places) ** 2
                                ),
                            )
                            / GRID[1 - d]
                            for d in (0, 1)
                        ]
                        window = np.outer(along[1], along[0])
                        shown = poses.visible[m, p]
                        inside = 1 - TRUST + TRUST * (window * ratios[p]).sum()
                        factors.append(1 - shown + shown * inside)
                        windows.append(window)
                    weight = prior * poses.weight[m] * np.prod(factors)
                    total += weight
                    shares += weight * poses.visible[m]
                    for p in range(3):
                        expected[p] += weight / factors[p] * poses.visible[m, p] * windows[p]
    expected /= expected.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.expected, expected, atol=2e-4)
    np.testing.assert_allclose(found.share, shares / total, rtol=1e-4)


def test_the_tree_passes_messages_exactly(models: dict[str, ModuleType]) -> None:
    data = training(models)
    tree = models["tree"].Tree(1)
    tree.fit(data)
    ratios, size = np.exp(data.maps[1].astype(np.float64)), data.sizes[1]
    log_total, incoming = tree._pass(0, ratios, size)
    order, parents = tree._trees[0]
    root = order[0]
    poses, unit = tree._poses, unit_of(size) / size
    cells = np.array(
        [[(x + 0.5) / GRID[1], (y + 0.5) / GRID[0]] for y in range(GRID[0]) for x in range(GRID[1])]
    )
    shown = poses.visible[0]
    own = 1 - shown[:, None] + shown[:, None] * (1 - TRUST + TRUST * ratios.reshape(3, -1))
    outside = 1 - shown + shown * (1 - TRUST)
    for index, scale in enumerate(poses.shapes.sizes):

        def density(first: int, second: int, scale: float = scale) -> np.ndarray:
            mean = poses.pair_mean[0, first, second] * scale * unit
            wide = (poses.pair_spread[0, first, second] * scale * unit) ** 2
            wide = np.sqrt(wide + 2 * (CELL_SPREAD / np.array(GRID[::-1])) ** 2)
            gap = cells[None] - cells[:, None] - mean
            return (
                norm.pdf(gap[..., 0] / wide[0]) * norm.pdf(gap[..., 1] / wide[1]) / wide.prod() / len(cells)
            )

        def below(part: int) -> np.ndarray:
            """Product of the messages of a part's children, by recursion."""
            product = np.ones(len(cells))
            for child in range(3):
                if child != root and parents[child] == part:
                    link = density(part, child)
                    rest = np.maximum(1 - link.sum(axis=1), 0) * outside[child]
                    product = product * (link @ (own[child] * below(child)) + rest)
            return product

        total = (own[root] * below(root)).mean()
        assert log_total[index] == pytest.approx(np.log(total), rel=1e-6)
        belief = own[root] * below(root)
        np.testing.assert_allclose(incoming[root, index].ravel(), below(root) / belief.sum(), rtol=1e-6)


def test_spanning_trees_take_the_tightest_links(models: dict[str, ModuleType]) -> None:
    cost = np.array([[0, 1, 5, 9], [1, 0, 2, 9], [5, 2, 0, 1], [9, 9, 1, 0]], dtype=float)
    order, parents = models["tree"].spanning_tree(cost, np.array([0.9, 0.95, 0.9, 0.9]))
    assert order[0] == 1
    assert {frozenset((p, parents[p])) for p in order[1:]} == {frozenset(e) for e in [(0, 1), (1, 2), (2, 3)]}


def test_principal_directions_of_complete_shapes_are_those_of_a_decomposition(
    models: dict[str, ModuleType],
) -> None:
    rng = np.random.default_rng(1)
    axis = rng.standard_normal(8)
    shapes = rng.standard_normal((400, 1)) * axis + 0.01 * rng.standard_normal((400, 8)) + 3
    shapes = shapes.reshape(400, 4, 2)
    mean, directions, rest = models["lowrank"].principal(shapes, np.ones((400, 4)), 1)
    np.testing.assert_allclose(mean, shapes.mean(axis=0), atol=1e-9)
    cosine = directions.ravel() @ axis / np.linalg.norm(directions) / np.linalg.norm(axis)
    assert abs(cosine) > 0.999
    assert rest.max() < 0.001
    hidden = (rng.random((400, 4)) > 0.3).astype(float)
    _, again, _ = models["lowrank"].principal(shapes, hidden, 1)
    assert abs(again.ravel() @ axis / np.linalg.norm(again) / np.linalg.norm(axis)) > 0.99


@pytest.mark.parametrize("name", ["star", "tree", "low rank", "pairwise", "exemplars"])
def test_every_model_expects_a_part_where_it_is(models: dict[str, ModuleType], name: str) -> None:
    data = training(models, 30)
    model = {
        "star": lambda: models["star"].Star(2),
        "tree": lambda: models["tree"].Tree(2),
        "low rank": lambda: models["lowrank"].LowRank(1, 2),
        "pairwise": lambda: models["pairwise"].Pairwise(2),
        "exemplars": models["exemplars"].Exemplars,
    }[name]()
    chosen = np.arange(20)
    model.fit(data[chosen])
    y, x = np.mgrid[0 : GRID[0], 0 : GRID[1]]
    place = np.stack([(x + 0.5) / GRID[1], (y + 0.5) / GRID[0]], axis=-1)
    gaps = []
    for i in range(20, 30):
        ratios = np.exp(data.maps[i].astype(np.float64))
        for part in np.flatnonzero(data.visible[i]):
            blank = ratios.copy()
            blank[part] = 1.0  # its own map says nothing, so that the others must
            found = model.posterior(blank, data.sizes[i])
            np.testing.assert_allclose(found.expected.sum(axis=(1, 2)), 1.0)
            centre = np.einsum("yx,yxd->d", found.expected[part], place)
            gaps.append(np.linalg.norm(centre - data.points[i, part]))
    assert np.median(gaps) < 0.15


def test_cross_validation_beats_the_prior(models: dict[str, ModuleType]) -> None:
    data = training(models, 30)
    measure = models["measure"]
    fold = measure.folds_of(len(data), 3)
    plain, refined = measure.cross_validate(models["star"].Star(1), data, fold)
    prior = measure.row("prior", measure.prior(data, fold), data)["mean"]
    row = measure.row("star", plain, data)
    assert row["mean"] < prior
    assert row["both visible"]["total"] == (data.visible[:, 1] & data.visible[:, 2]).sum()
    assert row["one visible"]["total"] == (data.visible[:, 1] ^ data.visible[:, 2]).sum()
    gap = measure.difference(measure.errors_of(refined, data), measure.errors_of(plain, data))
    assert gap["difference"] == pytest.approx(measure.row("", refined, data)["mean"] - row["mean"])


def test_the_page_says_which_model_was_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    summary = import_module("summary_arrangement")

    def row(name: str, mean: float, low: float, high: float) -> dict[str, object]:
        side = {"share": 0.1, "wrong": 1, "total": 10}
        gap = {"difference": (low + high) / 2, "interval": [low, high]}
        return {
            "model": name,
            "mean": mean,
            "interval": [mean, mean],
            "median": mean,
            "difference to the best": gap,
            "exchanged sides": 0.1,
            "both visible": side,
            "one visible": side,
            "per part": {"tail": 0.2},
        }

    rows = [
        row("static prior", 0.2, 0.1, 0.2),
        row("consensus of exemplars, refined", 0.05, 0.0, 0.0),
        row("tree, 8 poses, refined", 0.06, 0.005, 0.015),
    ]
    document = {"data set": "x", "images": 4, "folds": 2, "input_size": 320, "rows": rows}
    document |= {
        "best": "consensus of exemplars, refined",
        "settings": {"images": 3, "tree": {"tree, 8 poses": 0.07}},
    }
    monkeypatch.setattr(summary, "load", lambda name: document)
    text = "\n".join(summary.block())
    assert "was kept. With the refinement its error is 0.0500, below the 0.0600" in text
    assert "does not hold 0" in text
    rows[1]["mean"] = 0.07
    document["best"] = "tree, 8 poses, refined"
    rows[1]["difference to the best"] = {"difference": 0.01, "interval": [-0.01, 0.03]}
    text = "\n".join(summary.block())
    assert "0.0700, above the 0.0600" in text
    assert "holds 0" in text
    monkeypatch.setattr(summary, "load", lambda name: None)
    assert "Not measured" in summary.block()[0]
