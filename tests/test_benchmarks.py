"""The benchmarks run: each on a few maps or channels, and what they compare must be the same thing."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
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
    assert [entry["ratio"] > 0 for entry in result["rows"]] == [True] * 5
    (plain,) = result["against scikit-learn"]
    assert plain["within 0.5 px"] == 1
    assert plain["steps per map"]["ours"] == pytest.approx(plain["steps per map"]["scikit-learn"], abs=2)
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
    must, public, *rest = result["rows"]
    rows = [row for row in rest if "way" in row]
    (zeros,) = [row for row in rest if "way" not in row]
    assert "nothing is claimed" in zeros["name"]
    assert "must" not in zeros
    assert public["ratio"] >= must["ratio"]
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
    again = module.document({**result["measured"], "squeezenet1_1": result["measured"]["alexnet"]})
    assert len(again["fastest"]) == 2, "a network that was measured before stays"


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
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    held = bytearray(256 * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    code = "from resident import peak_mebibytes; print(peak_mebibytes())"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    assert 1 < float(child.stdout) < 100 < script("resident").peak_mebibytes()
    assert held[0] == ord("x")


@pytest.mark.usefixtures("benchmarks")
def test_ratios_are_taken_within_a_repeat() -> None:
    timing = script("timing")
    assert timing.ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0]) == {"median": 3.0, "min": 2.0, "max": 4.0}
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = timing.interleaved(calls, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}


@pytest.mark.usefixtures("benchmarks")
def test_visited(tmp_path: Path) -> None:
    out = tmp_path / "visited.json"
    module = script("visited", "captum", "pytorch_grad_cam", "torchcam", "zennit")
    result = module.main(["--networks", "squeezenet1_1", "--pictures", "2", "--json", str(out)])
    assert json.loads(out.read_text("utf-8")) == json.loads(json.dumps(result))
    (row,) = result["rows"]
    low, high = row["share needed"]["range"]
    assert 0 < low <= row["share needed"]["mean"] <= high < 1


@pytest.mark.usefixtures("benchmarks")
def test_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growth = script("growth")
    monkeypatch.setattr(growth, "AXES", {"images": [1, 2], "channels": [2, 4], "input size": [48, 64]})
    monkeypatch.setattr(growth, "ENDS", {"images": (1, 2)})
    monkeypatch.setattr(growth, "FIXED", {"images": 1, "channels": 2, "input size": 48})
    monkeypatch.setattr(growth, "steps", partial(growth.steps, channels=2, pictures=1))
    monkeypatch.setattr(growth, "peak_memory", lambda data, network, setting: 500.0 + setting["images"])
    out = tmp_path / "growth.json"
    result = growth.main(["--network", "squeezenet1_1", "--repeats", "1", "--json", str(out)])
    assert json.loads(out.read_text("utf-8")) == json.loads(json.dumps(result))
    assert [one["time over the first"][0] for one in result["time"]] == [1, 1, 1]
    (memory,) = result["memory"]
    assert memory["MiB"] == [501, 502]
    (asked,) = [row for row in result["rows"] if "must" in row]
    assert asked["ratio"] == 1.002
    assert asked["met"]
    assert all(costs["a channel's centre"] > 0 for costs in result["steps"])
    assert result["model"][0] == 1
    assert result["bytes of located parts per image"] > 150


@pytest.mark.usefixtures("benchmarks")
def test_a_line_through_growth() -> None:
    found = script("growth").line([1, 2, 4], [3, 5, 9])
    assert found["slope"] == pytest.approx(2)
    assert found["at zero, share of the last"] == pytest.approx(1 / 9, abs=1e-3)
    assert found["R²"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("benchmarks")
def test_peak_memory_grows_with_the_input(tmp_path: Path) -> None:
    from partscope.synthetic import write_synthetic_birds

    write_synthetic_birds(tmp_path / "cub", 4, 2, size=160)
    setting = {"images": 1, "channels": 16, "input size": 64}
    small = script("growth").peak_memory(tmp_path / "cub", "squeezenet1_1", setting)
    large = script("growth").peak_memory(tmp_path / "cub", "squeezenet1_1", {**setting, "input size": 320})
    assert large > small + 20


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
