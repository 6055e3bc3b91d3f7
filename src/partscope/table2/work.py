"""The folder of a measurement of Table 2: detectors, located parts, features and finished rows.

Everything is written whole or not at all, under a name that is a hash of what it depends on; a call with other settings in
the same folder neither uses nor destroys it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partscope.atomic import atomic_write
from partscope.reproduce.kept import BLOCK, KeptDetectors, data_hash, detector_hash, digest

__all__ = ["BLOCK", "WorkFolder", "data_hash", "detector_hash", "digest"]


class WorkFolder(KeptDetectors):
    """Reads and writes what a measurement keeps, as :class:`KeptDetectors`, with features and finished rows."""

    folders = ("rows", *KeptDetectors.folders)

    @property
    def features(self) -> Path:
        """The file of the feature cache."""
        return self.path / "features.sqlite"

    # -- rows -------------------------------------------------------------------------------------------------------
    def read_row(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a finished row that was measured with exactly these settings, or None; a damaged one is measured again."""
        file = self._row_file(key)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            complete = content["key"] == key and {"row", "ids", "predicted"} <= set(content)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return content if complete else None

    def write_row(self, key: Mapping[str, Any], content: Mapping[str, Any]) -> None:
        """Keep a finished row: `row`, the test images' `ids` and the `predicted` classes."""
        atomic_write(self._row_file(key), json.dumps({"key": key, **content}, indent=1) + "\n")

    def _row_file(self, key: Mapping[str, Any]) -> Path:
        return self.path / "rows" / f"{digest(key)[:32]}.json"
