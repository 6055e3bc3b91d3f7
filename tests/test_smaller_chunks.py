"""Out of memory: smaller chunks, said once, and the same centres."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partscope.scan
from drawn import drawn_dataset
from networks import awkward_network, backbone_of
from partscope.errors import OutOfMemoryError, PartscopeWarning
from partscope.scan import scan
from partscope.smaller_chunks import Chunks, is_out_of_memory

#: What PyTorch says on a CPU without memory.
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."
)
GPU = torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("error", [CPU, GPU, MemoryError()])
def test_the_size_is_halved_until_it_fits(error: Exception) -> None:
    asked: list[int | None] = []

    def compute(size: int | None) -> int | None:
        asked.append(size)
        if size is None or size > 3:
            raise error
        return size

    chunks = Chunks(None, 100)
    with pytest.warns(PartscopeWarning, match="goes on with 2") as said:
        assert chunks.run(compute) == 2
    assert asked == [None, 16, 8, 4, 2]
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chunks.run(compute) == 2  # the next picture starts with what fits
    assert asked[5:] == [2]
    with pytest.warns(PartscopeWarning, match="with 12 channels per pass; the run goes on with 3"):
        assert Chunks(12, 100).run(compute) == 3


def test_not_even_one_channel_fits() -> None:
    def compute(size: int | None) -> None:
        raise CPU

    with pytest.raises(OutOfMemoryError, match="single channel; use a smaller input size"):
        Chunks(5, 3).run(compute)


def test_other_errors_are_left_alone() -> None:
    def compute(size: int | None) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Chunks(None, 3).run(compute)
    assert not is_out_of_memory(OutOfMemoryError("said already"))


def test_a_scan_goes_on_in_smaller_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    animals = drawn_dataset(tmp_path, 3)
    backbone = backbone_of(awkward_network(), "6")
    whole = scan(animals, backbone)
    usual = partscope.scan.channel_centres

    def greedy(*args: Any, chunk: int | None, **options: Any) -> torch.Tensor:
        if chunk is None or chunk > 1:
            raise CPU
        return usual(*args, chunk=chunk, **options)

    monkeypatch.setattr(partscope.scan, "channel_centres", greedy)
    with pytest.warns(PartscopeWarning, match="memory ran out") as said:
        small = scan(animals, backbone)
    assert len(said) == 1
    np.testing.assert_allclose(small.centres, whole.centres, atol=1e-3)
