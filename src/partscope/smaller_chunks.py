"""Out of memory is no reason to stop: the same work in smaller chunks, for this picture and all that follow."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from partscope.errors import OutOfMemoryError, PartscopeWarning

T = TypeVar("T")

#: Where the chunk size was left to the device, and did not fit, the first size that is tried: half of the largest default.
FIRST = 16

#: How PyTorch's allocator of the CPU says that there is no memory left: a plain RuntimeError.
_SENTENCES = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the processor or of a GPU, is used up."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return not isinstance(error, OutOfMemoryError)
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SENTENCES)


class Chunks:
    """The chunk size of a run, which shrinks where memory runs out.

    Parameters
    ----------
    size: channels per backward pass to start with; None leaves it to the device.
    most: no chunk is larger, the number of channels.
    """

    def __init__(self, size: int | None, most: int) -> None:
        self.size = size
        self._most = max(most, 1)

    def run(self, compute: Callable[[int | None], T]) -> T:
        """Return `compute(size)`, halving the size for as long as memory runs out, which is said once.

        The sums of a smaller chunk may round differently in the last bits.

        Raises
        ------
        OutOfMemoryError: not even a single channel fits.
        """
        start = self.size
        while True:
            try:
                result = compute(self.size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                smaller = min(FIRST, self._most) if self.size is None else min(self.size, self._most) // 2
                if smaller < 1:
                    raise OutOfMemoryError(
                        "there is not enough memory for the gradient of a single channel; use a smaller input size, or close "
                        "other programs."
                    ) from error
                self.size = smaller
            else:
                break
            # Outside of the handler: the error holds on to the tensors that did not fit.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        if self.size != start:
            before = "as many as the device takes" if start is None else str(start)
            warnings.warn(
                f"memory ran out with {before} channels per pass; the run goes on with {self.size}.",
                PartscopeWarning,
                stacklevel=3,
            )
        return result
