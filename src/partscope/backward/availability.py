"""Whether the part of the backward pass that Numba compiles can be used."""

from __future__ import annotations

from functools import cache


@cache
def has_numba() -> bool:
    """Return whether Numba is there, the extra `fast`, for :mod:`partscope.backward.compiled`."""
    try:
        import numba

        import partscope.backward.compiled.sparse
        import partscope.backward.compiled.winograd  # noqa: F401
    except (ImportError, OSError):  # also a Numba that does not get on with NumPy, or lacks its libraries
        return False
    return not numba.config.DISABLE_JIT
