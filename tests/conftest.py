"""Fixtures that several test files share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: more threads than one each would wait for one another. Said before numpy and torch start
    # theirs, and in the environment, so that children of the tests hold to it too.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import pytest
from hypothesis import HealthCheck, settings

from cub_folders import write_tiny_cub

# readline, which pytest loads, hands a width of 80 to the processes that it starts; tables are tested at their own width.
for variable in ("COLUMNS", "LINES"):
    os.environ.pop(variable, None)

# A loaded machine must not fail a test; a function-scoped tmp_path is fine where each example overwrites its files.
settings.register_profile(
    "partscope",
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("partscope")


@pytest.fixture(scope="session")
def cub_folder() -> Path:
    """The folder of CUB-200-2011 or a subset, from the environment variable PARTSCOPE_CUB; for tests marked `cub`."""
    folder = os.environ.get("PARTSCOPE_CUB")
    if not folder:
        pytest.skip("PARTSCOPE_CUB is not set: it names the folder of CUB-200-2011")
    return Path(folder)


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Pressing Ctrl-C. A job in the background ignores SIGINT, and Python then installs no handler: the test does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tiny_cub(tmp_path: Path) -> Path:
    """The folder of `write_tiny_cub`, the test's own to change."""
    return write_tiny_cub(tmp_path / "tiny_cub")


@pytest.fixture
def always_on_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every convolution of a backward pass with Numba runs on rows, whether that pays or not."""
    sparse = pytest.importorskip("partscope.backward.compiled.sparse")
    monkeypatch.setattr(sparse, "_VISIT", 0)
    monkeypatch.setattr(sparse, "_TURN", 0)
