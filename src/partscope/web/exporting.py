"""What leaves the page: marks and predictions in every format that has a writer, and the model file.

Formats are taken from the registry (:mod:`partscope.formats.registry`): what is registered there with a writer is offered.
A format of several files leaves as a zip archive.
"""

from __future__ import annotations

import inspect
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partscope import formats
from partscope.errors import ImageError, OptionError, nearest_names
from partscope.formats import registry
from partscope.formats.writing import check_unicode
from partscope.predictions import PartPredictions
from partscope.web.session import Session


@dataclass(frozen=True)
class Export:
    """Something that can be exported.

    Parameters
    ----------
    name: in the address.
    title: for people.
    what: a sentence on what is in it.
    """

    name: str
    title: str
    what: str


_MARKS = "The pictures with marks; a part that was not marked counts as not visible."
_ALL = "Marks, and predictions where there are none; a mark has the score 1."
_JSON = Export("predictions-json", "Predictions, JSON", f"One record for each image and part. {_ALL}")
_MODEL = Export("model", "Model file", "The detector, for 'partscope locate' and PartDetector.load.")
#: How writers of predictions are called in :mod:`partscope.formats`.
_PREFIX = "write_predictions_"


@dataclass(frozen=True)
class Exported:
    """A file that leaves the page.

    Parameters
    ----------
    file: its name.
    data: its content.
    lost: what the format cannot hold, as sentences.
    """

    file: str
    data: bytes
    lost: tuple[str, ...] = ()


def writers() -> dict[str, Callable[..., Any]]:
    """Return the writers of annotation formats by name: `write(dataset, path)`."""
    known: dict[str, Callable[..., Any]] = {"cub": formats.write_cub_annotations}
    known.update(getattr(registry, "WRITERS", {}))
    return known


def prediction_writers() -> dict[str, Callable[..., Any]]:
    """Return the writers of predictions by the name of their export."""
    return {
        f"predictions-{name.removeprefix(_PREFIX).replace('_', '-')}": getattr(formats, name)
        for name in dir(formats)
        if name.startswith(_PREFIX)
    }


def exports(session: Session) -> list[Export]:
    """Return what can be exported now."""
    marks = [Export(name, f"Marks, {name}", _MARKS) for name in sorted(writers())]
    found = [
        Export(name, name.replace("-", ", ", 1).capitalize(), _ALL) for name in sorted(prediction_writers())
    ]
    return [*marks, *found, _JSON, *([_MODEL] if session.learner.detector is not None else [])]


def export(session: Session, name: str) -> Exported:
    """Return a file.

    Raises
    ------
    OptionError: there is no such export, or there is nothing to export yet.
    PartscopeError: the format cannot hold what is marked; the message says why.
    """
    known = [one.name for one in exports(session)]
    if name not in known:
        raise OptionError(f"there is no export {name[:40]!r}; nearest names: {nearest_names(name, known)}.")
    stem = session.folder.root.name or "pictures"
    lost: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "export"
        folder.mkdir()
        if name == _MODEL.name:
            session.learner.save(folder / "model.partscope")
            return Exported(f"{stem}.partscope", (folder / "model.partscope").read_bytes())
        if name == _JSON.name or name in prediction_writers():
            _write_predictions(session, name, folder)
        else:
            data = session.dataset(complete=False)
            if not len(data):
                raise OptionError("no picture is marked yet, so there is nothing to export.")
            suffixes, _ = getattr(registry, "TARGETS", {}).get(name, ((), True))
            written = writers()[name](data, folder / f"marks{suffixes[0]}" if suffixes else folder)
            lost = tuple(getattr(written, "lost", ()))
        return Exported(*_packed(folder, f"{stem}-{name}"), lost)


def _write_predictions(session: Session, name: str, folder: Path) -> None:
    predictions, sizes = everything(session)
    if not len(predictions):
        raise OptionError("nothing is marked or found yet, so there is nothing to export.")
    if name == _JSON.name:
        text = json.dumps(
            {"parts": list(predictions.parts), "records": list(predictions.records())}, indent=1
        )
        (folder / "parts.json").write_text(text, "utf-8")
        return
    write = prediction_writers()[name]
    file = folder / ("parts.csv" if name.endswith(("csv", "deeplabcut")) else "parts.json")
    # Formats of relative positions need the pictures' sizes.
    known = [predictions, *([sizes] if "sizes" in inspect.signature(write).parameters else []), file]
    write(*known)


def everything(session: Session) -> tuple[PartPredictions, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Return marks, and predictions where there are none, and the pictures' sizes (N, 2).

    A mark has the score 1 and the expected error 0, or the score 0 where the part was marked as not visible.
    """
    keys = session.project.parts.names
    ids, sizes, rows = [], [], []
    for picture in session.folder:
        marks, found = session.project.marks(picture.id).points, session.findings.get(picture.id)
        points = {} if found is None else found.points
        if picture.id in session.unreadable or not any(key in marks or key in points for key in keys):
            continue
        try:
            sizes.append(session.size(picture.id))
        except ImageError:
            continue
        ids.append(picture.name)
        row = []
        for key in keys:
            if key in marks:
                mark = marks[key]
                row.append((np.nan, np.nan, 0.0, False, np.nan) if mark is None else (*mark, 1.0, True, 0.0))
            else:
                guess = points.get(key)
                x, y, score, visible, error = guess or (np.nan, np.nan, 0.0, False, None)
                row.append((x, y, score, visible, np.nan if error is None else error))
        rows.append(row)
    table = np.array(rows, dtype=np.float64).reshape(len(ids), len(keys), 5)
    predictions = PartPredictions(
        tuple(keys.values()),
        tuple(ids),
        table[..., :2],
        np.isfinite(table[..., 0]),
        table[..., 2],
        table[..., 3] > 0,
        expected_error=table[..., 4],
    )
    return predictions, np.array(sizes, dtype=np.float64).reshape(len(ids), 2)


def _packed(folder: Path, stem: str) -> tuple[str, bytes]:
    """Return name and content of the only file of a folder, or of an archive of its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) == 1:
        return f"{stem}{files[0].suffix}", files[0].read_bytes()
    out = io.BytesIO()
    check_unicode(*(file.relative_to(folder).as_posix() for file in files))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.relative_to(folder).as_posix())
    return f"{stem}.zip", out.getvalue()
