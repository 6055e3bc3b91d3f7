"""The folder of a scan: a manifest and one file per finished block of images, each written whole or not at all."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from partscope.atomic import atomic_write
from partscope.dataset import Skipped
from partscope.errors import PartscopeError, PartscopeWarning, ScanError

MANIFEST = "scan.json"
_KEEP = "what was finished is kept, and the same call continues from there"

Block = tuple[NDArray[np.float32], tuple[Skipped, ...]]


class ScanStore:
    """Reads and writes the finished blocks of one scan.

    Parameters
    ----------
    folder: made if it is not there.
    manifest: what the scan is of, JSON-ready; a folder with another manifest is refused, never overwritten.

    Raises
    ------
    ScanError: the folder holds another scan, its manifest is damaged, or it cannot be written.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        file = self.folder / MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        except (OSError, ValueError) as error:
            raise ScanError(f"{file}: the scan's folder cannot be used ({error}); choose another.") from error
        if known is None:
            if any(self.folder.glob("block-*.safetensors")):
                raise ScanError(
                    f"{self.folder}: holds blocks but no {MANIFEST}; choose another folder or empty it."
                )
            self._write(file, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
        elif known != dict(manifest):
            differing = sorted(
                key
                for key in {*known, *manifest}
                if not isinstance(known, dict) or known.get(key) != manifest.get(key)
            )
            raise ScanError(
                f"{self.folder}: holds the scan of something else (differs in {', '.join(differing)}); "
                "choose another folder or remove this one."
            )

    def _file(self, index: int) -> Path:
        return self.folder / f"block-{index:06d}.safetensors"

    def read(self, index: int, shape: tuple[int, ...]) -> Block | None:
        """Return a finished block, or None where there is none; a damaged one is counted as unfinished, with a warning."""
        file = self._file(index)
        if not file.exists():
            return None
        try:
            with safe_open(file, framework="numpy") as content:
                centres = content.get_tensor("centres")
                failed = json.loads((content.metadata() or {}).get("failures", "[]"))
            if centres.shape != shape or centres.dtype != np.float32:
                raise ValueError(f"centres of shape {centres.shape} where {shape} is needed")
            return centres, tuple(Skipped(str(name), str(reason)) for name, reason in failed)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(
                f"{file}: the block is damaged ({error}) and is computed again.",
                PartscopeWarning,
                stacklevel=2,
            )
            return None

    def write(self, index: int, block: Block) -> None:
        """Write a finished block.

        Raises
        ------
        ScanError: the disk is full or the folder cannot be written; finished blocks are kept.
        """
        centres, failures = block
        metadata = {"failures": json.dumps([[item.id, item.reason] for item in failures])}
        self._write(self._file(index), save({"centres": np.ascontiguousarray(centres)}, metadata))

    def _write(self, file: Path, data: bytes) -> None:
        try:
            atomic_write(file, data)
        except PartscopeError as error:
            raise ScanError(f"{str(error).rstrip('.')}; {_KEEP}.") from error
