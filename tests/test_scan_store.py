from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from partscope.dataset import Skipped
from partscope.errors import PartscopeWarning, ScanError
from partscope.scan_store import MANIFEST, Block, ScanStore

FACTS = {"backbone": "abc", "channels": [1, 2], "centres": [{"quantile": 0.9}]}
SHAPE = (2, 1, 3, 2)


def block(seed: int = 0) -> Block:
    centres = np.random.default_rng(seed).random(SHAPE).astype(np.float32)
    centres[1, 0, 2] = np.nan
    return centres, (Skipped("é.jpg", 'it is "broken"\n'),)


def assert_same(found: Block | None, expected: Block) -> None:
    assert found is not None
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[0].dtype == np.float32
    assert found[1] == expected[1]


def test_a_block_comes_back_as_it_was(tmp_path: Path) -> None:
    store = ScanStore(tmp_path / "deep" / "scan", FACTS)
    assert store.read(0, SHAPE) is None
    store.write(3, block())
    assert_same(store.read(3, SHAPE), block())
    assert_same(ScanStore(tmp_path / "deep" / "scan", FACTS).read(3, SHAPE), block())
    assert store.read(2, SHAPE) is None


def test_the_same_block_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ScanStore(tmp_path / name, FACTS).write(0, block())
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == ["block-000000.safetensors", MANIFEST]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


# -- whose folder it is ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({**FACTS, "backbone": "abd"}, "backbone"),
        ({**FACTS, "channels": [1, 2, 3], "backbone": ""}, "backbone, channels"),
        ({**FACTS, "centres": [{"quantile": 0.8}]}, "centres"),
        ({**FACTS, "images": 3}, "images"),
        ({"backbone": "abc", "channels": [1, 2]}, "centres"),
        ({**FACTS, "images": None}, "images"),
    ],
)
def test_the_folder_of_another_scan_is_refused_and_left_alone(
    tmp_path: Path, other: dict[str, object], named: str
) -> None:
    ScanStore(tmp_path, FACTS).write(0, block())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ScanError, match=rf"something else \(differs in {named}\); choose another folder"):
        ScanStore(tmp_path, other)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"[[], {}]", b"3", b'"x"', b"\xff\xfe", b"[" * 100_000]
)
def test_a_damaged_manifest_is_refused_and_not_overwritten(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(ScanError, match=r"scan\.json: .*choose another"):
        ScanStore(tmp_path, FACTS)
    assert (tmp_path / MANIFEST).read_bytes() == content


def test_blocks_without_a_manifest_are_refused(tmp_path: Path) -> None:
    ScanStore(tmp_path, FACTS).write(0, block())
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(
        ScanError, match=rf"holds blocks but no {MANIFEST}; choose another folder or empty it"
    ):
        ScanStore(tmp_path, FACTS)


def test_a_folder_that_is_a_file_or_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ScanError, match="cannot be used"):
            ScanStore(folder, FACTS)


# -- damaged blocks ---------------------------------------------------------------------------------------------------------------
def written(tmp_path: Path) -> tuple[ScanStore, Path]:
    store = ScanStore(tmp_path, FACTS)
    store.write(0, block())
    return store, tmp_path / "block-000000.safetensors"


@given(share=st.floats(0, 0.999))
def test_a_truncated_block_counts_as_unfinished(tmp_path: Path, share: float) -> None:
    store, file = written(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.warns(
        PartscopeWarning, match=r"block-000000\.safetensors: the block is damaged .* computed again"
    ):
        assert store.read(0, SHAPE) is None


@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_a_single_wrong_bit_is_noticed(tmp_path: Path, place: float, bit: int) -> None:
    store, file = written(tmp_path)
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content)
    with pytest.warns(PartscopeWarning, match="damaged"):
        found = store.read(0, SHAPE)
    assert found is None


def test_blocks_of_something_else_count_as_unfinished(tmp_path: Path) -> None:
    store, file = written(tmp_path)
    with pytest.warns(PartscopeWarning, match=r"shape \(2, 1, 3, 2\) where \(1, 1, 3, 2\) is needed"):
        assert store.read(0, (1, 1, 3, 2)) is None
    for metadata in (
        {},
        {"scan": "{}"},
        {"scan": "[]"},
        {"scan": '{"failures": 3, "sha256": ""}'},
        {"scan": "x"},
    ):
        save_file({"centres": block()[0]}, file, metadata)
        with pytest.warns(PartscopeWarning, match="damaged"):
            assert store.read(0, SHAPE) is None
    save_file({"other": block()[0]}, file)
    with pytest.warns(PartscopeWarning, match="damaged"):
        assert store.read(0, SHAPE) is None


# -- disks ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "disk is full; free some space"), (errno.EDQUOT, "quota is used up")],
)
def test_a_full_disk_is_said_and_what_was_finished_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    store, _ = written(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("partscope.atomic.os.fsync", full)
        with pytest.raises(
            ScanError, match=rf"block-000001\.safetensors: .*{remedy}.*finished is kept.*continues"
        ):
            store.write(1, block(1))
        with pytest.raises(ScanError, match=rf"scan\.json: .*{remedy}"):
            ScanStore(tmp_path / "other", FACTS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["block-000000.safetensors", "other", MANIFEST]
    assert_same(store.read(0, SHAPE), block())
    store.write(1, block(1))
    assert_same(store.read(1, SHAPE), block(1))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_said(tmp_path: Path) -> None:
    store, _ = written(tmp_path)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(ScanError, match="permission is denied"):
            store.write(1, block())
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_tidying_removes_what_a_killed_run_left_half_written(tmp_path: Path) -> None:
    store, file = written(tmp_path)
    old, fresh = tmp_path / ".partial-0123.safetensors", tmp_path / ".partial-4567.safetensors"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 60, time.time() - 60))
    os.utime(fresh, (time.time() + 60, time.time() + 60))  # of a run at the same time
    store.tidy()
    assert not old.exists()
    assert fresh.exists()
    assert file.exists()
