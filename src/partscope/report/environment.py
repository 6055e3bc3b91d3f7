"""What a result was made with: versions and the kind of machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from partscope import __version__


def environment_facts() -> dict[str, str]:
    """Return the versions and the kind of machine that a result was made with; nothing that names a person or a host."""
    facts = {"partscope": __version__, "Python": platform.python_version()}
    for package in ("torch", "timm", "numpy", "scikit-learn", "pillow"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["machine"] = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count() or 'unknown'} logical cores"
    )
    return facts
