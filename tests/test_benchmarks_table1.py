"""The scripts around Table 1: rows of several files side by side, the linear rows alone, channels under the spatial model."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.filterwarnings("ignore:.*are fewer than the")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `import table1` find the script, and leaves the number of threads as it was."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def document(rows: dict[str, float], comparisons: dict[str, float], **settings: Any) -> str:
    known = {
        "data set": "birds",
        "training images": 200,
        "training images drawn with seed": 0,
        "test images": 6,
    }
    return json.dumps(
        {
            "rows": [{"name": name, "error": value} for name, value in rows.items()],
            "comparisons": [{"comparison": name, "difference": value} for name, value in comparisons.items()],
            "settings": {**known, **settings},
        }
    )


def test_rows_of_several_files_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    markdown = import_module("markdown_tables")
    monkeypatch.setattr(markdown, "RESULTS", tmp_path)
    assert markdown.merged("a", "b") is None
    (tmp_path / "a.json").write_text(document({"prior": 1.0, "mixture": 2.0}, {"p": 1.0}, search="shortlist"))
    alone = markdown.merged("a", "b")
    assert alone == json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "b.json").write_text(document({"prior": 9.0, "linear": 3.0}, {"p": 9.0, "q": 2.0}))
    both = markdown.merged("a", "b")
    assert [(row["name"], row["error"]) for row in both["rows"]] == [
        ("prior", 1.0),
        ("mixture", 2.0),
        ("linear", 3.0),
    ]
    assert [item["comparison"] for item in both["comparisons"]] == ["p", "q"]
    assert both["settings"]["search"] == "shortlist"
    (tmp_path / "b.json").write_text(document({}, {}, **{"training images": 100}))
    with pytest.raises(SystemExit, match="differ in training images"):
        markdown.merged("a", "b")


def test_the_linear_rows_alone(tiny_cub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's own part; the measurement has tests of its own."""
    table1 = import_module("table1")
    written: dict[Path, Any] = {}
    asked: dict[str, Any] = {}

    class Table:
        def document(self) -> dict[str, Any]:
            error = {"diagonal": {"mean": 0.1, "ci95": [0.0, 0.2]}}
            row = {"name": "linear, Full", "error": error, "skill": None, "notes": []}
            return {"rows": [row], "comparisons": [], "settings": {"backbone": {}}}

    def measure(*args: Any, **options: Any) -> Table:
        asked.update(options)
        return Table()

    monkeypatch.setattr(table1, "measure_table1", measure)
    monkeypatch.setattr(table1, "write_json", lambda path, content: written.update({path: content}))
    monkeypatch.setattr(
        "sys.argv", ["table1", str(tiny_cub), "--backbone", "efficientnet_lite0", "--methods", "linear"]
    )
    table1.main()
    ((path, content),) = written.items()
    assert path == BENCHMARKS / "results" / "table1_linear_efficientnet_lite0.json"
    assert asked["methods"] == ["linear"]
    assert asked["linear"] == {"backbone": "efficientnet_lite0", "weights": None}
    assert content["settings"]["data set"] == "tiny_cub, 3 classes"
    assert "notes" not in content["rows"][0]


def test_channels_under_the_spatial_model(tiny_cub: Path, tmp_path: Path) -> None:
    module = import_module("channel_arrangement")
    out = tmp_path / "out.json"
    argv = [str(tiny_cub), "--train", "4", "--held", "1", "--test", "3", "--region", "crop"]
    argv += ["--input-size", "64", "--work", str(tmp_path / "work"), "--json", str(out)]
    result = module.main(argv)
    assert json.loads(out.read_text("utf-8")) == result
    assert [row["name"] for row in result["rows"]] == ["prior in box", "mixture", "mixture + arrangement"]
    assert result["rows"][1]["centre"] == "mixture"
    assert result["rows"][2]["centre"] == "mixture + exemplars"
    assert [item["comparison"] for item in result["comparisons"]][-1] == "mixture + arrangement over mixture"
    assert module.main(argv)["rows"] == result["rows"], "the second run reads what the first has kept"
