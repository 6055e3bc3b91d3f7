"""The table of all benchmarks: counting, parts without figures, and resuming."""

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The script, whose folder is not left in the way of packages that other tests import."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("bench")


def test_last_line_counts_only_rows_with_a_must(bench):
    document = {
        "rows": [
            {"name": "a", "ratio": 3.0, "must": 2, "met": True, "range": [2.5, 3.5]},
            {"name": "b", "ratio": 1.0, "must": 2, "met": False},
            {"name": "c", "ratio": 1.0},
        ]
    }
    lines = bench.table(bench.rows_of(bench.Part("x"), document, "this run"))
    assert lines[-1] == "bench: 1 of 2 met"
    assert "2.50 to 3.50" in lines[1]


def test_part_without_figures_is_not_met(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    rows = bench.run(bench.Part("absent"), {}, {}, False, False)
    assert bench.table(rows)[-1] == "bench: 0 of 1 met"


def test_done_part_is_not_run_again_and_failure_falls_back(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    (tmp_path / "p.json").write_text('{"rows": [{"name": "a", "ratio": 2, "must": 1, "met": true}]}')
    (tmp_path / "p.py").write_text("")
    done = {}
    part = bench.Part("p")
    first = bench.run(part, done, {"v": 1}, False, False)
    assert first[0]["source"] == "this run"
    (tmp_path / "p.py").write_text("raise SystemExit(3)")
    resumed = bench.run(part, done, {"v": 1}, False, False)
    assert resumed == [{**first[0], "source": "an earlier run, same versions"}]
    assert "committed JSON" in bench.run(part, done, {"v": 2}, False, False)[0]["source"]


def test_a_row_without_a_ratio_is_shown_and_not_met(bench):
    document = {
        "rows": [{"name": "a", "ratio": 2.0, "must": 1, "met": True}, {"name": "b", "must": 1, "met": True}]
    }
    rows = bench.rows_of(bench.Part("made_up"), document, "this run")
    assert [(row["name"], row["ratio"], row["met"]) for row in rows] == [
        ("made_up: a", 2.0, True),
        ("made_up: b", None, False),
    ]
    assert bench.table(rows)[-1] == "bench: 1 of 2 met"
