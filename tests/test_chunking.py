"""The size of chunks on a device with a clock and a memory of our own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import partscope.maps
from networks import awkward_network, backbone_of, picture
from partscope.chunking import LARGEST, ChunkTuner
from partscope.errors import PartscopeError, PartscopeWarning
from partscope.maps import gradient_maps


class Device:
    """Takes `overhead` seconds a chunk and 1 a channel up to `lanes` of them at once; holds `memory` channels."""

    def __init__(self, overhead: float = 1.0, lanes: int = 1, memory: int = 10**9) -> None:
        self.overhead, self.lanes, self.memory = overhead, lanes, memory
        self.now, self.sizes = 0.0, list[int]()

    def clock(self) -> float:
        return self.now

    def compute(self, part: Sequence[int]) -> torch.Tensor:
        if len(part) > self.memory:
            raise torch.cuda.OutOfMemoryError("no memory")
        self.sizes.append(len(part))
        self.now += self.overhead + -(-len(part) // self.lanes)
        return torch.tensor(list(part))


def run(tuner: ChunkTuner, device: Device, count: int = 4000) -> None:
    results = list(tuner.run(range(count), device.compute))
    assert torch.cat([result for _, result in results]).tolist() == list(range(count))
    assert [channel for part, _ in results for channel in part] == list(range(count))


def test_a_device_that_gains_gets_larger_chunks_until_it_does_not() -> None:
    device = Device(overhead=1, lanes=64)
    tuner = ChunkTuner(4, clock=device.clock)
    run(tuner, device, 8000)
    assert tuner.settled
    assert tuner.size in (256, 512, 1024)  # beyond that a chunk's own second is a few per cent
    assert device.sizes[:4] == [4, 4, 8, 8]


def test_a_device_without_gain_keeps_the_first_size() -> None:
    device = Device(overhead=0, lanes=1)
    tuner = ChunkTuner(4, clock=device.clock)
    run(tuner, device, 100)
    assert tuner.settled
    assert tuner.size <= 8


def test_the_largest_size_is_a_bound() -> None:
    device = Device(overhead=1000, lanes=10**6)
    tuner = ChunkTuner(LARGEST // 2, clock=device.clock)
    run(tuner, device, 20_000)
    assert tuner.size == LARGEST


def test_where_memory_runs_short_the_rest_is_kept_and_it_is_said_once() -> None:
    device = Device(overhead=1, lanes=64, memory=50)
    tuner = ChunkTuner(4, clock=device.clock)
    with pytest.warns(PartscopeWarning, match="from now on 32 channels are computed at once") as caught:
        run(tuner, device)
    assert len(caught) == 1
    assert tuner.settled
    assert tuner.size == 32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tuner, device)


def test_a_channel_that_does_not_fit_is_an_error_with_a_remedy() -> None:
    device = Device(memory=0)
    with (
        pytest.warns(PartscopeWarning, match="1 channels"),
        pytest.raises(PartscopeError, match="take a smaller --input-size, or --device cpu"),
    ):
        list(ChunkTuner(2, clock=device.clock).run(range(3), device.compute))


def test_on_a_processor_sizes_are_fixed() -> None:
    device = Device(overhead=1, lanes=64)
    run(ChunkTuner(3, settled=True, clock=device.clock), device, 10)
    assert device.sizes == [3, 3, 3, 1]
    assert device.now > 0


def test_maps_do_not_depend_on_the_tuner(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, inputs = backbone_of(awkward_network().double(), "7"), picture()
    expected = gradient_maps(backbone, inputs)
    device = Device(overhead=1, lanes=64)

    def tuned(*args: Any) -> ChunkTuner:
        return ChunkTuner(1, clock=device.clock)

    monkeypatch.setattr(partscope.maps, "_tuner", tuned)
    torch.testing.assert_close(gradient_maps(backbone, inputs), expected)


#: What PyTorch says on a processor without memory.
NO_MEMORY = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."
)


@pytest.mark.parametrize("error", [NO_MEMORY, MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_every_kind_of_memory_that_runs_short_halves_the_chunk(error: Exception) -> None:
    sizes: list[int] = []

    def compute(part: Sequence[int]) -> torch.Tensor:
        sizes.append(len(part))
        if len(part) > 3:
            raise error
        return torch.tensor(part)

    with pytest.warns(PartscopeWarning, match="from now on"):
        pieces = list(ChunkTuner(8, settled=True).run(range(5), compute))
    assert sizes == [5, 4, 2, 2, 1]
    assert torch.cat([piece for _, piece in pieces]).tolist() == list(range(5))


def test_other_errors_of_a_chunk_are_left_alone() -> None:
    def compute(part: Sequence[int]) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(ChunkTuner(8, settled=True).run(range(5), compute))


def test_on_a_processor_what_did_fit_is_remembered_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, inputs = backbone_of(awkward_network().double(), "7"), picture()
    expected = gradient_maps(backbone, inputs)
    usual, sizes = partscope.maps._gradients, []

    def greedy(activations: torch.Tensor, image: torch.Tensor, part: Sequence[int]) -> torch.Tensor:
        sizes.append(len(part))
        if len(part) > 2:
            raise NO_MEMORY
        return usual(activations, image, part)

    monkeypatch.setattr(partscope.maps, "_gradients", greedy)
    with pytest.warns(PartscopeWarning, match="from now on 2 channels") as said:
        found = gradient_maps(backbone, inputs, chunk=4, engine="autograd")
    assert len(said) == 1
    torch.testing.assert_close(found, expected)
    sizes.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient_maps(backbone, inputs, chunk=4, engine="autograd")
    assert max(sizes) == 2
