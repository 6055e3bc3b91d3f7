"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from partscope.atomic import atomic_path, atomic_write
from partscope.errors import PartscopeError


def test_bytes_and_text(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", b"\x00\r\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\r\n"
    atomic_write(str(tmp_path / "a"), "ä\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_the_suffix_is_kept_for_writers_that_look_at_it(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.json") as temporary:
        assert temporary.suffix == ".json"
        assert temporary.parent == tmp_path
        temporary.write_text("x")
        assert not (tmp_path / "a.json").exists()
    assert (tmp_path / "a.json").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_text("old")

    def write_half() -> None:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert (tmp_path / "a").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission is denied; choose a folder"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Input/output error; choose another path"),
    ],
)
def test_a_failing_disk_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, match: str
) -> None:
    (tmp_path / "a").write_text("old")

    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PartscopeError, match=match) as caught:
        atomic_write(tmp_path / "a", "new")
    assert str(caught.value).startswith(f"{tmp_path / 'a'}: ")
    assert (tmp_path / "a").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, match in (
        (tmp_path / "none" / "a", "there is no such folder; create it first"),
        (tmp_path / "file" / "a", "is a file, not a folder"),
        (tmp_path, "this is a folder"),
        (tmp_path / ("x" * 300), "shorter"),
    ):
        with pytest.raises(PartscopeError, match=match):
            atomic_write(path, "x")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", "new")
    assert (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    script = "from partscope.atomic import atomic_write; atomic_write('/dev/stdout', 'whole')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "whole"


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    script = f"""
import os, signal
from partscope.atomic import atomic_path
with atomic_path({str(tmp_path / "a")!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", script], check=False)
    assert run.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old"
