"""What the compiled backward pass meets: threads, forks, caches, other precisions, and no Numba at all."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from networks import backbone_of, picture, seeded
from partscope import maps
from partscope.backward import convolution, has_numba
from partscope.errors import MissingExtraError, OptionError
from partscope.maps import gradient_maps

pytest.importorskip("numba")

import numba

from backward_on_rows import Residual, on_rows, recorded
from partscope.backward.compiled import compiling, kernels, lanes, rows, tile_loops, winograd
from partscope.backward.compiled.rows import share


def in_child(queue: Any) -> None:
    done: list[tuple[int, int]] = []
    share([(0, 1), (1, 2), (2, 3)], lambda low, high: done.append((low, high)))
    queue.put(sorted(done))


@pytest.mark.skipif(sys.platform != "linux", reason="fork is Linux's")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done: list[int] = []
    share(
        [(0, 1), (1, 2), (2, 3)], lambda low, high: done.append(low)
    )  # the threads of this process exist now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=in_child, args=(queue,), daemon=True)
    process.start()
    try:
        assert queue.get(timeout=30) == [(0, 1), (1, 2), (2, 3)]
    finally:
        process.kill()


def test_an_error_in_any_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def fail(low: int, high: int) -> None:
        time.sleep(0.05)
        raise MemoryError(low)

    with pytest.raises(MemoryError):
        share([(0, 1), (1, 2)], fail)


def test_without_numba_whole_maps_are_used_and_asking_for_rows_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone, image = backbone_of(Residual(), "last", 32), picture(side=32, dtype=torch.float32)
    expected = gradient_maps(backbone, image, engine="linearised")
    monkeypatch.setattr("partscope.maps.has_numba", lambda: False)
    assert torch.equal(gradient_maps(backbone, image), expected)
    with pytest.raises(MissingExtraError, match=r"partscope\[fast\]"):
        gradient_maps(backbone, image, engine="sparse")


def test_a_numba_that_cannot_be_imported_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("partscope.backward.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)
    has_numba.cache_clear()
    try:
        assert not has_numba()
    finally:
        has_numba.cache_clear()


def test_the_kept_machine_code_is_that_of_the_loops() -> None:
    """Numba looks at a function's own file alone: whoever changes one of these must change the hashes there."""

    def digest(*modules: Any) -> str:
        return hashlib.sha256(b"".join(Path(m.__file__).read_bytes() for m in modules)).hexdigest()[:16]

    assert digest(compiling, lanes) == kernels.LOOPS_HASH
    assert digest(compiling, lanes, tile_loops) == winograd.LOOPS_HASH


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), EOFError()])
def test_a_cache_that_fails_costs_a_compilation(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    real, made = numba.njit, []

    def njit(*arguments: Any, **options: Any) -> Any:
        if options.get("cache"):

            def broken(function: Any) -> Any:
                def fail(*given: Any) -> Any:
                    raise error

                return fail

            return broken
        if options == compiling._OPTIONS:  # Numba compiles functions of its own as it goes
            made.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(compiling.numba, "njit", njit)
    double = compiling.compiled(lambda x: 2 * x)
    assert [double(3), double(4)] == [6, 8]
    assert len(made) == 1


def wide() -> nn.Module:
    """A network with a convolution between 64 channels that Winograd's is faster for."""
    return seeded(
        nn.Sequential(
            *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64)),
            *(nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)),
        )
    ).float()


def test_half_precision_and_autocast_of_wide_convolutions_are_left_to_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone, image = backbone_of(wide(), "5", 32), picture(side=32, dtype=torch.float32)
    calls: list[int] = []
    convolve = winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *given: calls.append(1) or convolve(*given))
    exact = gradient_maps(backbone, image, engine="linearised")
    assert calls
    calls.clear()
    half = gradient_maps(dataclasses.replace(backbone, precision="bfloat16"), image, engine="linearised")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = gradient_maps(backbone, image, engine="linearised")
    assert not calls
    for found in (half, cast):
        assert (found - exact).abs().mean() < 0.1 * exact.mean()


def test_pytorch_before_2_4_says_in_another_way_whether_it_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda: False)
    monkeypatch.setattr(torch, "is_autocast_cpu_enabled", lambda: bool(asked.append(1)))
    assert not convolution._is_autocast()
    assert asked == [1]


def test_half_precision_and_autocast_run_on_whole_maps() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 40, 3))
    backbone = backbone_of(seeded(network).float(), "3", 16)
    image = picture(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradient_maps(backbone, image)
        expected = gradient_maps(backbone, image, engine="linearised")
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("always_on_rows")
def test_other_defaults_of_pytorch_do_not_matter() -> None:
    output, image = recorded(Residual(), 33)
    expected = on_rows(output, image).gradients(range(40))
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        found = on_rows(output, image).gradients(range(40))
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)


def test_a_thread_that_cannot_be_started_leaves_no_other_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    real, submitted = rows._pool, []

    class Full:
        def submit(self, work: Any) -> Any:
            if submitted:
                raise RuntimeError("can't start new thread")
            submitted.append(1)
            return real(2).submit(work)

    monkeypatch.setattr(rows, "_pool", lambda threads: Full())
    done: list[int] = []

    def slowly(low: int, high: int) -> None:
        time.sleep(0.1)
        done.append(low)

    share([(0, 1), (1, 2)], slowly)
    assert sorted(done) == [0, 1]


def test_few_channels_run_on_whole_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    real = maps.linearise
    monkeypatch.setattr(
        maps, "linearise", lambda o, i, sparse, wanted: asked.append(sparse) or real(o, i, sparse, wanted)
    )
    backbone = backbone_of(Residual(), "last", 32)
    for count in (11, 12):
        gradient_maps(backbone, picture(side=32, dtype=torch.float32), range(count))
    assert asked == [False, True]


def test_rows_are_not_for_double_precision() -> None:
    with pytest.raises(OptionError, match="float32"):
        gradient_maps(backbone_of(Residual().double(), "last", 32), picture(side=32), engine="sparse")
