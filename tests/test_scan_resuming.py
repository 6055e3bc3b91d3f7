"""A scan that was stopped, in any way and at any moment, goes on and ends with the same bytes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partscope.dataset import PartDataset
from partscope.errors import PartscopeWarning, ScanError
from partscope.scan import scan
from scans import SPECS, assert_same, backbone, contents, make_dataset, note_computed


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return make_dataset(tmp_path_factory.mktemp("images"))


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return note_computed(monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(dataset: PartDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    scan(dataset, backbone(), SPECS, folder=folder, block=3)
    return contents(folder)


def test_a_finished_scan_is_read_and_not_computed(
    dataset: PartDataset, tmp_path: Path, computed: list[str]
) -> None:
    first = scan(dataset, backbone(), SPECS, folder=tmp_path, block=4)
    assert len(computed) == 10
    before = contents(tmp_path)
    computed.clear()
    assert_same(scan(dataset, backbone(), SPECS, folder=tmp_path, block=4), first)
    assert computed == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_damaged_block_alone_is_computed_again_with_a_warning(
    dataset: PartDataset, tmp_path: Path, computed: list[str], victim: int
) -> None:
    first = scan(dataset, backbone(), SPECS, folder=tmp_path, block=4)
    before = contents(tmp_path)
    file = tmp_path / f"block-{victim:06d}.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    computed.clear()
    with pytest.warns(PartscopeWarning, match=rf"{file.name}: the block is damaged .* computed again"):
        again = scan(dataset, backbone(), SPECS, folder=tmp_path, block=4)
    assert_same(again, first)
    assert computed == [f"{i}.png" for i in range(4 * victim, min(4 * victim + 4, 10))]
    assert contents(tmp_path) == before


# -- killed at any moment ---------------------------------------------------------------------------------------------------
class Killed(BaseException):
    pass


def stopping_after(calls: int, function: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    count = 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == calls and before:
            raise Killed
        result = function(*args, **options)
        if count == calls:
            raise Killed
        return result

    return wrapped


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("where", "calls"),
    [
        *(("partscope.scan.load_image", n) for n in (1, 5)),
        *(("partscope.channel_centres.find_centres", n) for n in (9, 20)),
        ("partscope.atomic.os.open", 3),
        *(("partscope.atomic.os.fsync", n) for n in (1, 2)),
        *(("partscope.atomic.os.replace", n) for n in (1, 5)),
    ],
)
def test_a_scan_that_was_killed_continues_and_ends_with_the_same_bytes(
    dataset: PartDataset,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    calls: int,
    before: bool,
) -> None:
    module, _, name = where.rpartition(".")
    owner = os if module.endswith(".os") else sys.modules[module]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stopping_after(calls, getattr(owner, name), before=before))
        with pytest.raises(Killed):
            scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    kept = contents(tmp_path)
    assert all(undisturbed[file] == content for file, content in kept.items() if file[0] != ".")
    scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    assert contents(tmp_path) == undisturbed


CHILD = """
import sys, time
from pathlib import Path
import partscope.scan
from scans import SPECS, backbone, make_dataset
compute = partscope.scan._centres_of
def slow(*args):
    time.sleep(0.05)
    return compute(*args)
partscope.scan._centres_of = slow
partscope.scan.scan(make_dataset(Path(sys.argv[1])), backbone(), SPECS, folder=sys.argv[2], block=2)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_a_process_that_is_killed_leaves_what_can_be_continued(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "images"), str(folder)],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 200
    while len(list(folder.glob("block-*"))) < 2:
        assert child.poll() is None, "the scan ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    half = contents(folder)
    assert 2 <= sum(name.startswith("block") for name in half) < 5
    (folder / ".partial-dead.safetensors").write_bytes(
        b"half"
    )  # as a kill in the middle of a write leaves it
    os.utime(folder / ".partial-dead.safetensors", (0, 0))
    data = make_dataset(tmp_path / "images")
    scan(data, backbone(), SPECS, folder=folder, block=2)
    scan(data, backbone(), SPECS, folder=tmp_path / "whole", block=2)
    assert contents(folder) == contents(tmp_path / "whole")


# -- the disk --------------------------------------------------------------------------------------------------------------------------
def test_a_full_disk_stops_the_scan_and_keeps_what_is_finished(
    dataset: PartDataset,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computed: list[str],
) -> None:
    flush, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:  # the manifest and two blocks fit
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("partscope.atomic.os.fsync", full)
        with pytest.raises(
            ScanError, match=r"block-000002.*the disk is full; free some space.*finished is kept"
        ):
            scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    assert sorted(contents(tmp_path)) == ["block-000000.safetensors", "block-000001.safetensors", "scan.json"]
    computed.clear()
    scan(dataset, backbone(), SPECS, folder=tmp_path, block=3)
    assert computed == ["6.png", "7.png", "8.png", "9.png"]
    assert contents(tmp_path) == undisturbed
