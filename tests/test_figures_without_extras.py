"""The rooms that draw, where the packages of the extra `plot` are not installed and where they are.

In one process of its own, since what it must not load is loaded here, and a second Python takes seconds to load torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
sys.modules["matplotlib"] = sys.modules["jinja2"] = None
import numpy as np
from partscope.errors import MissingExtraError
from partscope.figures import draw_parts, figure_bytes, figure_shared_channels
from partscope.report import write_report
found = {"overlay": draw_parts(np.zeros((90, 90, 3), np.uint8), ["beak"], [[3.0, 4.0]], [True]).size[0]}
for name, call in {
    "figure": lambda: figure_shared_channels({"beak": 7}),
    "report": lambda: write_report("never.html", title="", sections=[]),
}.items():
    try:
        call()
    except MissingExtraError as error:
        found[name] = str(error)
del sys.modules["matplotlib"]
figure_bytes(figure_shared_channels({"beak": 7}))
found["loaded"] = [name for name in ("matplotlib", "matplotlib.pyplot") if name in sys.modules]
print(json.dumps(found))
"""


def test_extras_are_needed_where_they_draw_and_pyplot_never(tmp_path: Path) -> None:
    """Overlays need no extra; charts and reports name theirs; charts do not load pyplot, which is the user's."""
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["overlay"] == 540
    assert "partscope[plot]" in found["figure"]
    assert "Drawing figures" in found["figure"]
    assert "partscope[plot]" in found["report"]
    assert "jinja2" in found["report"]
    assert found["loaded"] == ["matplotlib"]
    assert not (tmp_path / "never.html").exists()
