"""The table of all benchmarks: counting, parts without figures, resuming, and what is handed to the parts."""

import json
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WRITES = """
import argparse, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--json", type=pathlib.Path)
parser.add_argument("--data")
parser.add_argument("--repeats")
options = parser.parse_args()
row = '{"name": "%s %s", "ratio": 2, "must": 1, "met": true}' % (options.data, options.repeats)
options.json.write_text('{"rows": [' + row + ']}')
"""


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """The script, with its parts and files in a folder of the test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = import_module("bench")
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module, "FIGURE", tmp_path / "bench.png")
    (tmp_path / "results").mkdir()
    return module


def options(bench, **given):
    return bench.Options(results=bench.RESULTS, **given)


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


def test_part_without_figures_is_not_met(bench):
    rows = bench.run(bench.Part("absent"), {}, {}, options(bench))
    assert bench.table(rows)[-1] == "bench: 0 of 1 met"


def test_done_part_is_not_run_again_and_failure_falls_back(bench, tmp_path):
    (tmp_path / "p.py").write_text(WRITES)
    done = {}
    part = bench.Part("p")
    first = bench.run(part, done, {"v": 1}, options(bench))
    assert first[0]["source"] == "this run"
    (tmp_path / "p.py").write_text("raise SystemExit(3)")
    resumed = bench.run(part, done, {"v": 1}, options(bench))
    assert resumed == [{**first[0], "source": "an earlier run, same versions"}]
    assert bench.run(part, done, {"v": 2}, options(bench))[0]["source"] == (
        "from its JSON (the script ended with 3)"
    )


def test_a_part_that_writes_nothing_is_no_run(bench, tmp_path):
    (tmp_path / "p.py").write_text("")
    (bench.RESULTS / "p.json").write_text('{"rows": [{"name": "old", "ratio": 2}]}')
    done = {}
    (row,) = bench.run(bench.Part("p"), done, {}, options(bench))
    assert row["source"] == "from its JSON (the script wrote none)"
    assert done == {}


def test_data_and_quick_options_reach_the_part(bench, tmp_path):
    (tmp_path / "p.py").write_text(WRITES)
    part = bench.Part("p", photographs=True, quick=("--repeats", "1"))
    (row,) = bench.run(part, {}, {}, options(bench, data=Path("cub"), quick=True))
    assert row["name"] == "p: cub 1"
    (row,) = bench.run(part, {}, {}, options(bench))
    assert row["name"] == "p: None None"


def test_files_can_be_read_without_running_anything(bench, tmp_path):
    (tmp_path / "p.py").write_text("raise SystemExit('must not run')")
    (bench.RESULTS / "p.json").write_text('{"rows": [{"name": "a", "ratio": 2, "must": 3, "met": false}]}')
    done = {}
    (row,) = bench.run(bench.Part("p"), done, {}, options(bench, read=True))
    assert (row["ratio"], row["met"], row["source"], done) == (2, False, "from its JSON", {})


def test_a_part_on_photographs_needs_them(bench, tmp_path):
    (tmp_path / "p.py").write_text("raise SystemExit('must not run')")
    part = bench.Part("p", needs_photographs=True)
    assert bench.run(part, {}, {}, options(bench))[0]["source"] == "from its JSON (needs --data)"
    assert bench.command(part, options(bench, data=Path("cub")))[2] == "cub"


def test_main_writes_rows_and_a_figure_and_a_quick_look_elsewhere(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PARTSCOPE_CUB", raising=False)
    (tmp_path / "p.py").write_text(WRITES)
    monkeypatch.setattr(bench, "PARTS", (bench.Part("p"), bench.Part("absent")))
    (tmp_path / "bench-quick").mkdir()
    bench.main(["--quick"])
    assert not list(bench.RESULTS.iterdir())
    assert (tmp_path / "bench-quick" / "bench.png").stat().st_size > 0
    bench.main([])
    assert capsys.readouterr().out.endswith("bench: 1 of 2 met\n")
    document = json.loads((bench.RESULTS / "bench.json").read_text("utf-8"))
    assert [row["met"] for row in document["rows"]] == [True, False]
    assert (tmp_path / "bench.png").stat().st_size > 0


def test_parts_have_a_script_that_takes_their_options(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for part in import_module("bench").PARTS:
        text = (BENCHMARKS / f"{part.name}.py").read_text("utf-8")
        for option in (part.option, *part.quick[::2], *(["--data"] if part.photographs else [])):
            assert f'"{option}"' in text, (part.name, option)


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
