"""Memory that PyTorch frees, kept for its next operation instead of being returned to the system."""

from __future__ import annotations

import ctypes

#: glibc's <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3

#: Largest block that is not mapped: what mallopt takes at most, an int, and what older versions of glibc take.
_MOST, _MOST_ONCE = 2**31 - 1, 2**25

#: As a threshold for returning memory: never.
_NEVER = -1

#: The heap grows by this much at a time.
_STEP = 100_000_000


def reuse_freed_memory() -> bool:
    """Make the C library keep freed memory for later, for the whole process; return whether it does.

    By default glibc maps every large block anew and unmaps it when it is freed. Each operation of a network on a processor
    then begins with page faults, which can take half of the time of a pass. The process holds its peak memory in return.
    The command line and the workers of the Ray engine call this; a script may, before its first pass. Elsewhere than on
    glibc (macOS, Windows, musl) nothing is done.
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - other C libraries have no such function
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    mapped = mallopt(_MMAP_THRESHOLD, _MOST) or mallopt(_MMAP_THRESHOLD, _MOST_ONCE)
    kept = mallopt(_TRIM_THRESHOLD, _NEVER) and mallopt(_TOP_PAD, _STEP)
    return bool(mapped and kept)
