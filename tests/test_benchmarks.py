"""The benchmarks run: each on a few maps or channels, and what they compare must be the same thing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes `import mixture` find the script, and leaves the number of threads as it was."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def script(name: str, *needs: str) -> ModuleType:
    for package in needs:
        pytest.importorskip(package)
    return import_module(name)


@pytest.mark.usefixtures("benchmarks")
def test_mixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mixture.json"
    settings = "--backbone efficientnet_lite0 --maps 5 --channels 3 --quantiles 0.97 --repeats 1 --full-maps 1 --threads 1"
    result = script("mixture", "pomegranate").main(
        [*settings.split(), "--most-steps", "30", "--json", str(out)]
    )
    assert json.loads(out.read_text("utf-8")) == result
    (row,) = result["against pomegranate"]
    assert row["maps"] == 5
    assert row["agreement"]["within 0.5 px"] == 1
    assert row["agreement"]["disagreements"] == []
    assert 1 <= row["steps per map"]["ours"] <= 30
    assert row["times faster, 5 maps a call"]["median"] > 1
    assert [entry["ratio"] > 0 for entry in result["rows"]] == [True] * 4
    gain = result["gain of the cut"]
    assert gain["points per map"]["full"] > 10 * gain["points per map"]["cut"]
    assert "times faster" in capsys.readouterr().out


@pytest.mark.usefixtures("benchmarks")
def test_mixture_tells_a_centre_elsewhere() -> None:
    mixture = script("mixture", "pomegranate")
    points = torch.randn(2, 60, 2, generator=torch.Generator().manual_seed(0)) * 9
    sets = mixture.PointSets(points, torch.full((2, 60), 1 / 60))
    options = {"tolerance": 1e-5, "max_iterations": 50}
    start, fitted = mixture.fit_mixture(sets, max_iterations=0), mixture.fit_mixture(sets, **options)
    peers = {i: mixture.fit_peer(sets, start, i, *options.values()) for i in (0, 1)}
    assert mixture.agreement(sets, sets, start, fitted, peers, options)["within 0.5 px"] == 1
    peers[1].centre = peers[1].centre + 3
    found = mixture.agreement(sets, sets, start, fitted, peers, options)
    assert found["within 0.5 px"] == 0.5
    (disagreement,) = found["disagreements"]
    assert disagreement["map"] == 1
    assert disagreement["distance"] == pytest.approx(3 * 2**0.5, abs=0.1)
    assert disagreement["distance after as many steps as ours"] < 0.01


@pytest.mark.usefixtures("benchmarks")
def test_gradient_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gradient_maps.json"
    module = script("gradient_maps", "captum", "pytorch_grad_cam", "torchcam", "zennit")
    settings = "--networks alexnet --channels 3 --chunks 2 --pilot 2 --repeats 1 --threads 1"
    result = module.main([*settings.split(), "--json", str(out)])
    must, *rows = result["rows"]
    assert {row["way"] for row in rows} == {*module.WHOLE, *module.CHUNKED}
    of_libraries = [row["ratio"] for row in rows if row["way"] in module.LIBRARIES]
    assert must["ratio"] == min(of_libraries)
    assert must["met"] == (must["ratio"] >= must["must"] == 2)
    assert all(row["largest difference"] <= module.TOLERANCE for row in rows)
    assert all(row["range"][0] <= row["ratio"] <= row["range"][1] for row in rows)
    assert json.loads(out.read_text("utf-8")) == json.loads(json.dumps(result))
    (summary,) = result["fastest"]
    assert summary["of all"]["ratio"] == min(row["ratio"] for row in rows)
    assert "captum Saliency" in capsys.readouterr().out


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(("layer", "count"), [(512, 64), (256, 3), (40, 40), (5, 64)])
def test_channels_come_in_runs(layer: int, count: int) -> None:
    channels = script("gradient_maps", "captum", "pytorch_grad_cam", "torchcam", "zennit").runs(layer, count)
    assert channels == sorted(set(channels))
    assert len(channels) == min(count, layer if layer < count else count) or layer % 16
    assert all(0 <= k < layer for k in channels)
    assert sum(b - a > 1 for a, b in itertools.pairwise(channels)) < max(1, count // 16)


@pytest.mark.usefixtures("benchmarks")
def test_gradient_maps_tells_other_maps() -> None:
    module = script("gradient_maps", "captum", "pytorch_grad_cam", "torchcam", "zennit")
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    other = maps.clone()
    other[1, 2, 2] += 0.5 * maps[1].max()
    assert module.relative_difference(maps, maps) == 0
    assert module.relative_difference(other, maps) == pytest.approx(0.5, rel=1e-5)
    assert module.relative_difference(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)) == 0


@pytest.mark.usefixtures("benchmarks")
def test_ratios_are_taken_within_a_repeat() -> None:
    timing = script("timing")
    assert timing.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {"median": 3.0, "min": 2.0, "max": 4.0}
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = timing.interleaved(calls, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}


@pytest.mark.slow
@pytest.mark.usefixtures("benchmarks")
def test_loop(tmp_path: Path) -> None:
    """On drawn birds, with few pictures; the server is a real one."""
    from partscope.synthetic import write_synthetic_birds

    loop = script("loop", "fastapi", "uvicorn", "httpx")
    write_synthetic_birds(tmp_path / "cub", 64, 2, size=160)
    out = tmp_path / "loop.json"
    settings = ["--draws", "1", "--pictures", "26", "--folder-of", "60", "--threads", "1"]
    result = loop.main([str(tmp_path / "cub"), *settings, "--json", str(out)])
    assert json.loads(out.read_text("utf-8")) == json.loads(json.dumps(result))
    (draw,) = result["draws"]
    for how in ("doubt", "random"):
        assert 0 < draw[how]["after"]["error"] < draw[how]["after"]["static prior"]
        assert draw[how]["seconds"]["progress"] <= draw[how]["seconds"]["end"]
    assert result["folder"]["pictures"] == 60
    # What is in the file is not measured again.
    assert loop.main([str(tmp_path / "cub"), *settings, "--json", str(out)])["draws"] == [draw]
