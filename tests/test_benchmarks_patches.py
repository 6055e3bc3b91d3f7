"""The choice of the patches' settings: what it compares, and what it makes of the rows."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from drawn import PARTS, drawn_dataset

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("choose_patches", "summary_patches", "markdown_tables", "record"):
        sys.modules.pop(name, None)
    import choose_patches

    return choose_patches


def rows(script: ModuleType, images: int = 40) -> list[dict]:
    """A row for each setting, right for images drawn with a probability of its own."""
    rng = np.random.default_rng(0)
    made = []
    for group, name, _ in script.plan(tuple(PARTS)):
        right = rng.random(images) < rng.uniform(0.3, 0.9)
        bits = "".join("01"[int(one)] for one in right)
        made.append(
            {
                "group": group,
                "name": name,
                "accuracy": right.mean(),
                "ci95": [0.1, 0.95],
                "C": 1.0,
                "right": bits,
            }
        )
    return made


def test_one_thing_is_changed_at_a_time(script: ModuleType) -> None:
    plan = list(script.plan(tuple(PARTS)))
    assert len({(group, name) for group, name, _ in plan}) == len(plan)
    for group, name in script.BASES.items():
        changes = next(given for g, n, given in plan if (g, n) == (group, name))
        table = {"normalize": "none", "classifier": "svm", "input_size": 160}
        assert all(changes.get(key, value) == value for key, value in table.items())
        default = script.SCALES[changes.get("region", "image")][0]
        assert changes.get("scale", default) == default
    for (group, name), (other, second) in script.PAIRS:
        assert {(group, name), (other, second)} <= {(g, n) for g, n, _ in plan}


def test_moved_parts_have_the_error_that_they_stand_for(script: ModuleType, tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path, 6)
    lengths = []
    for seed in range(60):
        found = script.moved(data, 0.01, seed)
        gap = np.linalg.norm(found.points - data.points, axis=2)
        lengths.append(gap / np.linalg.norm(data.boxes[:, 2:], axis=1)[:, None])
    assert np.nanmean(lengths) == pytest.approx(0.01, rel=0.1)
    visible = np.isfinite(data.points).all(axis=2)
    np.testing.assert_array_equal(found.found, visible)
    assert not np.isfinite(found.points[~visible]).any()
    far = script.moved(data, 5.0, 0).points
    assert np.nanmin(far) >= 0
    assert (np.nan_to_num(far, nan=0.0) <= data.sizes[:, None] - 1).all()


def test_every_group_is_compared_with_the_base(script: ModuleType) -> None:
    made = rows(script)
    compared = script.comparisons(made)
    known = {(row["group"], row["name"]): row for row in made}
    for one in compared:
        first, second = known[tuple(one["first"])], known[tuple(one["second"])]
        assert one["difference"] == pytest.approx(first["accuracy"] - second["accuracy"])
        assert one["ci95"][0] <= one["difference"] <= one["ci95"][1]
    within = {tuple(one["first"]) for one in compared if one["first"][0] == one["second"][0]}
    assert within == {key for key in known if key[0] in script.BASES and key[1] != script.BASES[key[0]]}
    assert len(compared) - len(within) == len(script.PAIRS)


def test_page_and_figure(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the extra plot")
    import summary_patches

    made = rows(script)
    document = {"rows": made, "comparisons": script.comparisons(made), "images": 40, "data set": "birds"}
    script.draw(document, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    script.draw({"rows": made[:8]}, tmp_path / "some.png")
    monkeypatch.setattr(summary_patches, "load", lambda name: document)
    page = "\n".join(summary_patches.patches_section())
    assert all(f"| {row['group']} | {row['name']} |" in page for row in made)
    assert page.count("| base |") == len(script.BASES)
    monkeypatch.setattr(summary_patches, "load", lambda name: None)
    assert summary_patches.patches_section() == []
