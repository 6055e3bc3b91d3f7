"""`partscope reproduce table2`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import partscope.table2.measure as measure
from command_line import model_file, run

Capture = pytest.CaptureFixture[str]

#: The features at their smallest: SqueezeNet on 32×32 pixels.
SMALL = ("--backbone", "squeezenet1_1", "--input-size", "32", "--regions", "image")


def test_table2(tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped and taken up again, the table is the same; finished rows are not measured again."""
    detector = model_file(tiny_cub, "--method", "channel", "--centre", "maximum")
    monkeypatch.chdir(tmp_path)
    argv = ("reproduce", "table2", tiny_cub, "--detector", detector, *SMALL)
    original, fits = measure.fit_linear, []

    def stopping(*args, **kwargs):
        fits.append(1)
        if len(fits) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(measure, "fit_linear", stopping)
    ran = run(capsys, *argv)
    assert ran.code == 130
    folder = "partscope-table2-squeezenet1_1-32"
    assert f"kept in {folder}; run the same command again" in ran.err
    ran = run(capsys, *argv, "--json", "-")
    assert ran.code == 0, ran.err
    assert len(fits) == 3 + 4, "two of six rows were finished"
    names = [row["name"] for row in ran.json["rows"]]
    assert names == [
        "Full, no parts",
        "Full, channel",
        "Full, ground truth",
        "Full, prior positions",
        "Full, grid",
        "Full, random positions",
        "BB, POOF",
        "BB, Symbiotic",
    ]
    assert all(name in ran.err for name in names)
    for words in ("56.8 %", "omitted", "McNemar", "(the best control)", "no target", f"kept in {folder}"):
        assert words in ran.err
    assert ran.err.count("Full, channel over Full, grid") == 1
    assert ran.json["settings"]["detectors"][0]["given"] is True
    straight = run(capsys, *argv, "--folder", tmp_path / "other", "--json", tmp_path / "t.json")
    assert straight.code == 0, straight.err
    again = json.loads((tmp_path / "t.json").read_text())
    assert again["comparisons"] == ran.json["comparisons"]
    assert [row["accuracy"] for row in again["rows"]] == [row["accuracy"] for row in ran.json["rows"]]


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--classifier", "forest"), "'forest'"),
        (("--regions", "box"), "'box'"),
        (("--methods", "guess"), "'guess'"),
        (("--rows", "Full, linear"), "'Full, linear'"),
        (("--on-error", "x"), "--on-error"),
        (("--backbone", "lenet"), "'lenet'"),
        (("--fit-limit", "0"), "positive"),
        (("--detector", "none.partscope"), "none.partscope"),
        (("--json", "no/where.json"), "no/where.json"),
    ],
)
def test_wrong_options(
    tiny_cub: Path, capsys: Capture, tmp_path: Path, option: tuple[str, ...], word: str
) -> None:
    ran = run(capsys, "reproduce", "table2", tiny_cub, "--folder", tmp_path / "work", *option)
    assert ran.code == 2
    assert word in ran.error
