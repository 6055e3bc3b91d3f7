"""How many channels go through a backward pass at once: tuned while the first ones are computed, on devices that gain from it.

The chunk is doubled as long as that makes channels cheaper, and halved where memory runs short. Nothing is computed twice but a
chunk that did not fit. On a processor the size is fixed, so that results do not depend on how busy a machine is.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from partscope.errors import PartscopeError, PartscopeWarning

#: A chunk twice the size is kept where it makes a channel cheaper by at least this share.
GAIN = 0.05
LARGEST = 1024

#: How PyTorch's allocator for the processor says that there is no memory left: in a plain RuntimeError.
_CPU_SENTENCES = ("DefaultCPUAllocator", "can't allocate memory")


@dataclass
class ChunkTuner:
    """Sizes of chunks on one device for one network.

    Parameters
    ----------
    size: the first size.
    settled: keep the size; True on a processor.
    clock: seconds, after everything that was asked for has been computed.
    """

    size: int
    settled: bool = False
    clock: Callable[[], float] = time.perf_counter
    _cost: float | None = field(default=None, repr=False)
    _warm: bool = field(default=False, repr=False)

    def observe(self, count: int, seconds: float) -> None:
        """Take note of a chunk: `count` channels in so many seconds. A chunk that is not full tells nothing."""
        if self.settled or count < self.size:
            return
        if not self._warm:  # the first one also loads kernels
            self._warm = True
            return
        cost = seconds / count
        if self._cost is not None and cost > (1 - GAIN) * self._cost:
            if cost > self._cost:
                self.size = max(1, self.size // 2)
            self.settled = True
            return
        if self.size * 2 > LARGEST:
            self.settled = True
            return
        self._cost = cost
        self.size *= 2
        self._warm = False

    def short_of_memory(self) -> None:
        """Halve the size for good; a PartscopeError where one channel does not fit."""
        if self.size == 1:
            raise PartscopeError(
                "the gradient of a single channel does not fit into the device's memory; take a smaller --input-size, or "
                "--device cpu."
            )
        self.size //= 2
        self.settled = True
        warnings.warn(
            f"memory ran short; from now on {self.size} channels are computed at once.",
            PartscopeWarning,
            stacklevel=2,
        )

    def run(
        self, channels: Sequence[int], compute: Callable[[Sequence[int]], Tensor]
    ) -> Iterator[tuple[Sequence[int], Tensor]]:
        """Yield `(channels, result)` of `compute` on one chunk after the other."""
        start = 0
        while start < len(channels):
            part = channels[start : start + self.size]
            began = 0.0 if self.settled else self.clock()
            try:
                result = compute(part)
                if not self.settled:
                    self.observe(len(part), self.clock() - began)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.short_of_memory()
                short = True
            else:
                short = False
            if short:  # outside of the handler: the error holds on to the tensors that did not fit
                torch.cuda.empty_cache()
                continue
            start += len(part)
            yield part, result


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the processor or of a graphics card, is used up."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_SENTENCES)


def device_clock(device: torch.device) -> Callable[[], float]:
    """Return a clock that waits for the device."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return now
