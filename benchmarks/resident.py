"""The largest resident set of a process."""

from __future__ import annotations

import subprocess
import sys
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

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 1024


def peak_of(script: str, *words: str) -> float:
    """Largest resident set, in MiB, of a process of its own, which runs a script that ends by printing its own."""
    run = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=True)
    return float(run.stdout)
