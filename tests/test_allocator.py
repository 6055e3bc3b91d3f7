"""Keeping freed memory: done on glibc, left alone elsewhere, without torch."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from partscope.allocator import reuse_freed_memory


def test_it_is_done_on_glibc_and_keeps_the_memory() -> None:
    """In a process of its own, since it holds for the whole process."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    script = """
import os, sys
from partscope.allocator import reuse_freed_memory
import numpy as np
def held():
    for _ in range(3):
        np.ones(60_000_000, dtype=np.uint8)  # freed at once, and larger than what glibc keeps by itself
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = held()
assert reuse_freed_memory() is True
print(held() - before > 50_000_000, "torch" in sys.modules)
"""
    environment = {"PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("library", [OSError, TypeError, SimpleNamespace()])
def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    def load(name: None) -> Any:
        if isinstance(library, type):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert reuse_freed_memory() is False


@pytest.mark.parametrize(("refused", "expected"), [(set(), True), ({2**31 - 1}, True), ({-1}, False)])
def test_a_threshold_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, refused: set[int], expected: bool
) -> None:
    class Mallopt:
        def __call__(self, parameter: int, value: int) -> int:
            return int(value not in refused)

    library = SimpleNamespace(gnu_get_libc_version=None, mallopt=Mallopt())
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert reuse_freed_memory() is expected
