"""Fitted detectors and located parts that a measurement keeps in a folder, so that a killed one goes on.

Everything is written whole or not at all, under a name that is a hash of what it depends on; a call with other settings in
the same folder neither uses nor destroys it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from partscope.dataset import PartDataset
from partscope.detectors import PartDetector, TransferDetector, detector_class
from partscope.errors import AnnotationError, PartscopeError
from partscope.formats.results import read_predictions_csv, write_predictions_csv
from partscope.predictions import PartPredictions
from partscope.progress import track
from partscope.version import __version__

#: Images per block of located parts: what a kill loses at most.
BLOCK = 32


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def data_hash(dataset: PartDataset) -> str:
    """Return a hash of a data set's ids, sizes, boxes, parts and classes."""
    return digest([dataset.fingerprint(), [sample.label for sample in dataset]])


def detector_hash(detector: PartDetector) -> str:
    """Return the SHA-256 of a fitted detector's model file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "detector.partscope"
        detector.save(file)
        return hashlib.sha256(file.read_bytes()).hexdigest()


class KeptDetectors:
    """Fits and searches, or reads what an earlier run has kept.

    Parameters
    ----------
    path: made if it is not there.

    Raises
    ------
    PartscopeError: the folder cannot be made.
    """

    #: Subfolders of `path`.
    folders: tuple[str, ...] = ("detectors", "parts")

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        for name in self.folders:
            try:
                (self.path / name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PartscopeError(
                    f"{self.path}: the folder cannot be made ({error.strerror}); choose another."
                ) from error

    def fitted(
        self,
        method: str,
        region: str,
        train: PartDataset,
        *,
        limit: int | None,
        random_state: int,
        options: Mapping[str, Any],
        on_error: str = "raise",
        progress: bool = False,
    ) -> PartDetector:
        """Return a detector fitted to training images, from an earlier run where there is one.

        Part Transfer, which learns nothing, copies from all training images; other methods are fitted to `limit` of them.
        A detector that had to leave images out is not kept: they may be mended before the next run.
        """
        cls = detector_class(method)
        known = cls._get_param_names()
        chosen = {name: value for name, value in options.items() if name in known}
        backbone = None if isinstance(chosen.get("backbone", ""), str) else chosen["backbone"]
        if "region" in known:
            chosen["region"] = region
        drawn = train if cls is TransferDetector else train.limit(limit, random_state)
        # The defaults too: a version with others must not take a detector of an earlier one for its own.
        settings = {name: str(value) for name, value in cls(**chosen).get_params(deep=False).items()}
        if backbone is not None:
            settings["backbone"] = backbone.content_hash
        name = digest([method, settings, __version__, data_hash(drawn)])[:16]
        file = self.path / "detectors" / f"{method}-{name}.partscope"
        if file.exists():
            return PartDetector.load(file, backbone)
        if "scan_folder" in known:
            chosen["scan_folder"] = self.path / "detectors" / f"{method}-{name}"
        detector = cls(**chosen).fit(drawn, on_error=on_error, progress=progress)
        if "scan_folder" in known:
            detector.scan_folder = None  # where it was fitted is no part of the detector
        if not detector.skipped_:
            detector.save(file)
        return detector

    def located(
        self,
        detector: PartDetector,
        content_hash: str,
        dataset: PartDataset,
        *,
        description: str,
        on_error: str = "raise",
        progress: bool = False,
    ) -> PartPredictions:
        """Return a detector's predictions for a data set, block by block; finished blocks are read, not computed.

        A block with an image that could not be read is tried again. `content_hash` is the detector's, see :func:`detector_hash`.

        Raises
        ------
        As :meth:`PartDetector.predict`.
        """
        name = digest([content_hash, dataset.fingerprint()])[:32]
        folder = self.path / "parts" / name
        folder.mkdir(exist_ok=True)
        pieces = []
        starts = range(0, len(dataset), BLOCK)
        for start in track(starts, f"{description}, blocks of {BLOCK}", enabled=progress):
            block = dataset[start : start + BLOCK]
            file = folder / f"block-{start // BLOCK:06d}.csv"
            piece = _read_block(file, block, detector.parts_)
            if piece is None:
                piece = detector.predict(block, on_error=on_error)
                if not piece.failures:
                    write_predictions_csv(piece, file)
            pieces.append(piece)
        return PartPredictions.concatenate(pieces)


def _read_block(file: Path, block: PartDataset, parts: tuple[str, ...]) -> PartPredictions | None:
    if not file.exists():
        return None
    try:
        piece = read_predictions_csv(file)
    except AnnotationError:  # damaged: computed again
        return None
    return piece if piece.ids == block.ids and piece.parts == parts else None
