"""The largest resident set of this process."""

from __future__ import annotations

from pathlib import Path


def peak_mebibytes() -> float:
    """Largest resident set since this program was started, in MiB.

    Linux: from /proc, since `getrusage` also counts what the process that started this one held. Elsewhere from `getrusage`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource
    import sys

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 1024
