"""*Find parts*: learn from the marks, predict the other pictures, and measure the error on the marked ones."""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.errors import ImageError, PartscopeError, PartscopeWarning
from partscope.images import load_image
from partscope.metrics import bootstrap_interval, mean
from partscope.predictions import PartPredictions
from partscope.web.features import FeatureStore
from partscope.web.jobs import Jobs
from partscope.web.learning import Learner

#: Predictions are written to disk after so many pictures.
_SAVED_EVERY = 200


@dataclass(frozen=True)
class Found:
    """What was found in one picture.

    Parameters
    ----------
    points: of each part, by its key, `(x, y)` in pixels, its score, whether it is believed visible, and its expected error
        in pixels or None; None where the part was not found.
    doubt: of the picture, or None.
    round: the search that it comes from.
    """

    points: Mapping[str, tuple[float, float, float, bool, float | None] | None]
    doubt: float | None
    round: int

    def document(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "points": {key: None if row is None else list(row) for key, row in self.points.items()},
            "doubt": self.doubt,
            "round": self.round,
        }


def found_in(predictions: PartPredictions, keys: Mapping[str, str], round: int) -> Found:
    """Return the first row of predictions; `keys` gives the parts' keys by their names."""
    points: dict[str, tuple[float, float, float, bool, float | None] | None] = {}
    expected = predictions.expected_error
    for p, part in enumerate(predictions.parts):
        if part not in keys:
            continue
        if not predictions.found[0, p]:
            points[keys[part]] = None
            continue
        x, y = predictions.points[0, p].tolist()
        error = None if expected is None or math.isnan(expected[0, p]) else float(expected[0, p])
        score, visible = float(predictions.score[0, p]), bool(predictions.visible[0, p])
        points[keys[part]] = (x, y, score, visible, error)
    doubt = float(predictions.doubt[0])
    return Found(points, None if math.isnan(doubt) else doubt, round)


class Findings:
    """The predictions of all pictures, in memory and in a file.

    Parameters
    ----------
    path: the file; what is in there is read, and a damaged one is no loss: it can be found again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._rows: dict[str, Found] = {}
        self.round = 0
        try:
            content = json.loads(path.read_text("utf-8"))
            self.round = int(content["round"])
            for id, row in content["pictures"].items():
                points = {
                    key: None if v is None else (*map(float, v[:3]), bool(v[3]), v[4])
                    for key, v in row[0].items()
                }
                self._rows[id] = Found(points, row[1], int(row[2]))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            self._rows, self.round = {}, 0

    def get(self, id: str) -> Found | None:
        """Return what was found in a picture."""
        return self._rows.get(id)

    def put(self, id: str, found: Found) -> None:
        """Take up what was found in a picture."""
        with self._lock:
            self._rows[id] = found

    def clear(self) -> None:
        """Forget everything: the parts are others."""
        with self._lock:
            self._rows = {}
        self.save()

    def save(self) -> None:
        """Write the file."""
        with self._lock:
            rows = {
                id: [found.document()["points"], found.doubt, found.round] for id, found in self._rows.items()
            }
            text = json.dumps({"round": self.round, "pictures": rows})
        atomic_write(self._path, text)


@dataclass
class Search:
    """One *Find parts*.

    Parameters
    ----------
    learner, store, jobs, findings: of the session.
    marked: the completely marked pictures; marked_ids: the page's ids of these.
    rest: `(id, file)` of the pictures to predict, in order.
    keys: the parts' keys by their names.
    anew: learn from all marks again.
    model: where the detector is saved.
    changed: called with a picture's id when something was found in it, or it could not be read (with the reason).
    note: called with an entry for the history of errors.
    """

    learner: Learner
    store: FeatureStore
    jobs: Jobs
    findings: Findings
    marked: PartDataset | None
    marked_ids: Sequence[str]
    rest: Sequence[tuple[str, Path]]
    keys: Mapping[str, str]
    anew: bool
    model: Path
    changed: Callable[[str, str | None], None]
    note: Callable[[dict[str, Any]], None]

    def __call__(self) -> str:
        """Run; called by :class:`Jobs` in its thread."""
        self.store.before = self.jobs.check
        try:
            learned = self._learn()
            self._predict()
            self._look_at_marked()
            self._measure()
            return learned
        finally:
            self.store.before, self.store.about = (lambda: None), None
            self.findings.save()

    def _learn(self) -> str:
        if self.marked is None:
            return "used the model as it is"
        count = len(self.marked)
        self.jobs.step(f"learning from {count} marked picture{'' if count == 1 else 's'}")
        done = self.learner.update(self.marked, anew=self.anew)
        self.jobs.check()
        self.learner.save(self.model)
        return done

    def _predict(self) -> None:
        detector = self.learner.detector
        if detector is None:
            raise PartscopeError(
                "nothing has been learned yet; mark every part of one or more pictures first."
            )
        self.findings.round += 1
        self.jobs.step("finding parts", 0, len(self.rest))
        for number, (id, path) in enumerate(self.rest, 1):
            self.store.about = id
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PartscopeWarning)
                predictions = detector.predict([path], on_error="skip")
            self.store.about = None
            if len(predictions):
                self.findings.put(id, found_in(predictions, self.keys, self.findings.round))
                self.jobs.first_result()
                self.changed(id, None)
            else:
                self.changed(id, predictions.failures[0].reason)
            self.jobs.advance()
            if number % _SAVED_EVERY == 0:
                self.findings.save()

    def _look_at_marked(self) -> None:
        """Note which channels the marked pictures excite; their features are kept already."""
        detector = self.learner.detector
        if detector is None or self.marked is None:
            return
        self.jobs.step("looking at the marked pictures", 0, len(self.marked))
        for id, sample in zip(self.marked_ids, self.marked, strict=True):
            if id not in self.store.peaks.values:
                try:
                    image = load_image(sample.image)
                except ImageError:
                    continue  # `update` has left it out as well
                self.store.about = id
                detector.evidence(image)
                self.store.about = None
            self.jobs.advance()

    def _measure(self) -> None:
        """Cross-validate, after the predictions, which people wait for."""
        self.jobs.step("measuring the error on the marked pictures", 0, 0)
        pairs = []
        for pair in self.learner.cross_validated():
            pairs.append(pair)
            self.jobs.advance()
        if not any(np.isfinite(errors).any() for errors, _ in pairs):
            return
        errors, static = (np.concatenate(column) for column in zip(*pairs, strict=True))
        low, high = bootstrap_interval(errors)
        self.note(
            {
                "pictures": self.learner.learned_from,
                "parts": int(np.isfinite(errors).sum()),
                "error": mean(errors),
                "low": float(low),
                "high": float(high),
                "prior": mean(static),
                "round": self.findings.round,
            }
        )
