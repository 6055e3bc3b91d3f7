"""How many threads compute: sums over threads round differently, so equal bytes need equal numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from threadpoolctl import ThreadpoolController, threadpool_limits

from partscope.errors import OptionError


def checked_count(what: str, value: int | None) -> int | None:
    """Return a number of threads or workers, or None; an OptionError names one below 1."""
    if value is not None and value < 1:
        raise OptionError(f"{what} must be at least 1, not {value}.")
    return value


def blas_threads() -> int:
    """Return the number of threads of NumPy's linear algebra; PyTorch's where it does not say."""
    known = [entry["num_threads"] for entry in ThreadpoolController().info() if entry["user_api"] == "blas"]
    return max(known, default=torch.get_num_threads())


@contextmanager
def limited_threads(threads: int | None, blas: int | None = None) -> Iterator[None]:
    """Let PyTorch and NumPy compute with so many threads inside the block; None leaves both as they are.

    Parameters
    ----------
    threads: of PyTorch.
    blas: of NumPy's linear algebra; as many by default.
    """
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    with warnings.catch_warnings():
        # Some builds bring two OpenMP libraries, which threadpoolctl warns of; both get the same number here.
        warnings.simplefilter("ignore", RuntimeWarning)
        limits = threadpool_limits(limits=blas or threads, user_api="blas")
    try:
        torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)
        limits.restore_original_limits()


class HeldThreads:
    """The number of threads of an engine, in force while the engine is in use.

    Parameters
    ----------
    threads: of this process; None leaves the number as it is.

    Raises
    ------
    OptionError: a number below 1.
    """

    def __init__(self, threads: int | None) -> None:
        self.threads = checked_count("the number of threads", threads)
        self._limit: AbstractContextManager[None] | None = None

    def hold(self) -> None:
        """Put the number in force."""
        self._limit = limited_threads(self.threads)
        self._limit.__enter__()

    def release(self) -> None:
        """Return to the number before; nothing where none is in force."""
        if self._limit is not None:
            self._limit.__exit__(None, None, None)
            self._limit = None
