"""The folder of a scan: a manifest and one file per finished block of images, each written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from partscope.atomic import atomic_write
from partscope.dataset import Skipped
from partscope.errors import PartscopeError, PartscopeWarning, ScanError, ScanFolderError
from partscope.places import exists, files_in, local_copy, make_folder, read_bytes, shown, url_of

MANIFEST = "scan.json"
_KEEP = "what was finished is kept, and the same call continues from there"

_KEY = "scan"

Block = tuple[NDArray[np.float32], tuple[Skipped, ...]]


class ScanStore:
    """Reads and writes the finished blocks of one scan.

    Parameters
    ----------
    folder: made if it is not there; a path, or a URL (see :mod:`partscope.places`).
    manifest: what the scan is of, JSON-ready; a folder with another manifest is refused, never overwritten.

    Raises
    ------
    ScanFolderError: the folder holds another scan, or its manifest is damaged. ScanError: it cannot be written.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self._opened = time.time()
        file = self.folder / MANIFEST
        try:
            make_folder(self.folder)
            text = read_bytes(file).decode("utf-8") if exists(file) else None
        except (OSError, ValueError) as error:
            raise ScanFolderError(
                f"{shown(file)}: the scan's folder cannot be used ({error}); choose another."
            ) from error
        if text is not None:
            self._compare(file, text, manifest)
            return
        if files_in(self.folder, "block-*.safetensors"):
            raise ScanFolderError(
                f"{self.folder}: holds blocks but no {MANIFEST}; choose another folder or empty it."
            )
        self._write(file, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())

    def _compare(self, file: Path, text: str, manifest: Mapping[str, Any]) -> None:
        try:
            known = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ScanFolderError(
                f"{file}: is not the manifest of a scan ({error}); choose another folder or remove this one."
            ) from error
        if not isinstance(known, dict):
            raise ScanFolderError(
                f"{file}: is not the manifest of a scan; choose another folder or remove this one."
            )
        missing = object()
        differing = sorted(
            key for key in {*known, *manifest} if known.get(key, missing) != manifest.get(key, missing)
        )
        if differing:
            raise ScanFolderError(
                f"{self.folder}: holds the scan of something else (differs in {', '.join(differing)}); "
                "choose another folder or remove this one."
            )

    def _file(self, index: int) -> Path:
        return self.folder / f"block-{index:06d}.safetensors"

    def read(self, index: int, shape: tuple[int, ...]) -> Block | None:
        """Return a finished block, or None where there is none; a damaged one is counted as unfinished, with a warning."""
        file = self._file(index)
        if not exists(file):
            return None
        try:
            centres, facts = _block(file)
            if centres.shape != shape or centres.dtype != np.float32:
                raise ValueError(f"centres of shape {centres.shape} where {shape} is needed")
            failures = tuple(Skipped(str(name), str(reason)) for name, reason in facts["failures"])
            if facts["sha256"] != _checksum(centres, failures):
                raise ValueError("its checksum does not fit its content")
            return centres, failures
        except MemoryError:
            raise
        except Exception as error:  # whatever damaged bytes lead the reader to
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
        centres, failures = np.ascontiguousarray(block[0]), block[1]
        facts = {
            "failures": [[item.id, item.reason] for item in failures],
            "sha256": _checksum(centres, failures),
        }
        # One metadata key alone: the order of several is not fixed by the library, and the bytes shall be.
        self._write(self._file(index), save({"centres": centres}, {_KEY: json.dumps(facts)}))

    def tidy(self) -> None:
        """Remove half-written files that a run killed before this one has left."""
        if url_of(self.folder) is not None:
            return
        for file in self.folder.glob(".partial-*"):
            with contextlib.suppress(OSError):
                if file.stat().st_mtime < self._opened:
                    file.unlink()

    def _write(self, file: Path, data: bytes) -> None:
        try:
            atomic_write(file, data)
        except PartscopeError as error:
            raise ScanError(f"{str(error).rstrip('.')}; {_KEEP}.") from error


def _block(file: Path) -> tuple[NDArray[np.float32], Any]:
    # The metadata are read from a file alone.
    with local_copy(file) as copy, safe_open(copy, framework="numpy") as content:
        return content.get_tensor("centres"), json.loads((content.metadata() or {})[_KEY])


def _checksum(centres: NDArray[np.float32], failures: tuple[Skipped, ...]) -> str:
    digest = hashlib.sha256(json.dumps([[item.id, item.reason] for item in failures]).encode())
    digest.update(np.ascontiguousarray(centres).tobytes())
    return digest.hexdigest()
