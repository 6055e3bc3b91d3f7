"""What every benchmark's JSON says about where its figures come from."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy
import timm
import torch
import torchvision

import partscope
from partscope.atomic import atomic_write
from partscope.backward import has_numba

#: How the subset of classes that the figures were made on is called, where the folder holds just these.
CUB25 = "CUB-200-2011, classes 1–25"


def environment(data: Path | None = None, **settings: Any) -> dict[str, Any]:
    """Versions, machine, data set and settings, JSON-ready; no path, host name or date."""
    return {
        "versions": {
            "partscope": partscope.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
            "numpy": numpy.__version__,
            "numba": version("numba") if has_numba() else None,
        },
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": "cpu",
        },
        "data set": None if data is None else dataset_name(data),
        **settings,
    }


def dataset_name(folder: Path) -> str:
    """Name of a CUB folder by its classes: the whole, the 25 classes of the committed figures, or the number of classes."""
    classes = folder / "classes.txt"
    count = len(classes.read_text(encoding="utf-8").splitlines()) if classes.exists() else 0
    return {200: "CUB-200-2011", 25: CUB25}.get(count, f"{folder.name}, {count} classes")


def processor() -> str:
    """The processor's model name, where the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a result file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
