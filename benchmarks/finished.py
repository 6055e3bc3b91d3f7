"""Finished measurements of a long script: kept one by one, so that a second run continues, and none of other code is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import partscope
from partscope.evaluation import Evaluation

#: The files of the package that a linear detector's results, and those of its peers, depend on.
CODE = (
    *("linear/*.py", "arrangement/*.py", "calibration/*.py", "detectors/linear*.py", "detectors/transfer.py"),
    *("detectors/base.py", "detectors/prior.py", "grids.py", "views.py", "prior.py", "metrics/*.py"),
    *("evaluation/*.py", "backbones/*.py"),
)


def code_hash(patterns: Sequence[str] = CODE) -> str:
    """SHA-256 over some of the package's source: finished rows of other code must not be continued."""
    root = Path(partscope.__file__).parent
    digest = hashlib.sha256()
    for file in sorted({file for pattern in patterns for file in root.glob(pattern)}):
        digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


class Finished:
    """Errors and facts of finished draws, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _file(self, method: str, images: int, seed: int) -> Path:
        name = re.sub(r"\W+", "-", method)
        return self.folder / f"{name}_{images}_{seed}.npz"

    def has(self, method: str, images: int, seed: int) -> bool:
        return self._file(method, images, seed).exists()

    def put(self, method: str, images: int, seed: int, evaluation: Evaluation, **facts: Any) -> None:
        row = evaluation.row()
        facts |= {
            "seed": seed,
            "error": evaluation.error,
            "ci95": list(evaluation.ci95),
            "median": row["error"]["diagonal"]["median"],
            "pck": row["pck"],
            "prior": row["prior"]["image"],
            "coverage": evaluation.coverage,
            "exchanged sides": row["exchanged_sides"]["together"]["share"],
            "visibility AUC": (row["visibility"] or {}).get("macro"),
            "tail": row["per_part"].get("tail", {}).get("mean"),
        }
        temporary = self.folder / "partial.npz"
        np.savez(temporary, errors=evaluation.errors, ids=np.array(evaluation.ids), facts=json.dumps(facts))
        temporary.replace(self._file(method, images, seed))

    def get(self, method: str, images: int, seed: int) -> tuple[np.ndarray, list[str], dict[str, Any]]:
        with np.load(self._file(method, images, seed), allow_pickle=False) as file:
            return file["errors"], file["ids"].tolist(), json.loads(str(file["facts"]))
