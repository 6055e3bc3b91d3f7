"""How functions are compiled with Numba: at the first call, without Python's lock, and kept on disk where that is possible."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import wraps
from typing import Any

import numba

_OPTIONS = {"nogil": True, "error_model": "numpy"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call; keep the machine code on disk where there is a place for it."""
    try:
        kernel = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder that can be written
        kernel = numba.njit(**_OPTIONS)(function)

    @wraps(function)
    def run(*arguments: Any) -> Any:
        nonlocal kernel
        try:
            return kernel(*arguments)
        except (OSError, EOFError, pickle.UnpicklingError):  # a full disk, or what is kept is damaged
            kernel = numba.njit(**_OPTIONS)(function)
            return kernel(*arguments)

    return run
