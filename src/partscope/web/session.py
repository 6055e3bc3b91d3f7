"""Everything that one `partscope serve` works on: the folder, the project, the detector, the present job."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from partscope.dataset import PartDataset, Sample
from partscope.detectors import PartDetector
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeError
from partscope.web.features import FeatureStore
from partscope.web.finding import Findings, Search
from partscope.web.jobs import Jobs
from partscope.web.kept_files import KeptFiles
from partscope.web.learning import Learner
from partscope.web.pictures import PictureFolder, picture_id
from partscope.web.previews import Previews
from partscope.web.project import Mark, Marks, Project

#: Name of the project's folder where the user names none; hidden, so that it is not searched for pictures.
PROJECT = ".partscope"
#: Bytes on disk for features (1.1 MB a picture with the default network) and for thumbnails.
FEATURES, THUMBNAILS = 4 << 30, 256 << 20


class Session:
    """What the page works on.

    Parameters
    ----------
    folder: the pictures.
    project: the project's folder; by default `.partscope` beside the pictures.
    model: a fitted linear detector to begin with; its parts become the project's where that has none.
    options: parameters of the :class:`~partscope.detectors.LinearDetector` that is fitted.
    feature_bytes: bytes of features that are kept on disk.

    Raises
    ------
    PartscopeError: the folder, the project or the model cannot be used; the message names it.
    """

    def __init__(
        self,
        folder: Path,
        project: Path | None = None,
        model: PartDetector | None = None,
        options: dict[str, Any] | None = None,
        feature_bytes: int = FEATURES,
    ) -> None:
        self.folder = PictureFolder(folder)
        self.project = Project(self.folder.root / PROJECT if project is None else project)
        home = self.project.folder
        self.previews = Previews(self.folder, KeptFiles(home / "thumbnails", THUMBNAILS, oldest_goes=True))
        self.store = FeatureStore(KeptFiles(home / "features", feature_bytes, oldest_goes=False))
        self.learner = Learner(self.store, options, model)
        self.findings = Findings(home / "found.json")
        self.jobs = Jobs()
        self.unreadable: dict[str, str] = {}
        self._lock = threading.Lock()
        self._sequence = 0
        self._changes: dict[str, int] = {}
        self.parts_changed = 0
        if model is not None:
            self._take_parts(model)
        elif self.model_file.is_file():
            self._resume()

    @property
    def model_file(self) -> Path:
        """Where the detector is saved."""
        return self.project.folder / "model.partscope"

    def close(self) -> None:
        """Stop the job and let another server have the project."""
        self.jobs.cancel(wait=30.0)
        self.project.close()

    def _take_parts(self, model: PartDetector) -> None:
        if not self.project.parts.names:
            pairs = [(i, int(j)) for i, j in enumerate(model.mirror_) if i < j]
            self.project.set_parts(
                [(None, name) for name in model.parts_], pairs, self.project.parts.revision
            )
        elif set(self.project.parts.names.values()) != set(model.parts_):
            self.project.close()
            raise OptionError(
                f"the model's parts ({', '.join(model.parts_)}) are not those of the project; choose another --project."
            )

    def _resume(self) -> None:
        paths = {}
        for picture in self.folder:
            try:
                paths[picture.name] = self.folder.path(picture.id)
            except ImageError:
                continue
        try:
            self.learner.resume(self.model_file, paths)
        except PartscopeError:
            return  # it is learned anew from the marks

    # -- changes ----------------------------------------------------------------------------------------------------
    def changed(self, id: str, reason: str | None = None) -> None:
        """Note that a picture has changed, or that it cannot be read, for the tabs to ask about."""
        with self._lock:
            if reason is not None:
                self.unreadable[id] = reason
            self._sequence += 1
            self._changes.pop(id, None)
            self._changes[id] = self._sequence

    def changes(self, since: int) -> tuple[int, list[str]]:
        """Return the number of the last change, and the pictures that changed after the one numbered `since`."""
        with self._lock:
            recent = []
            for id in reversed(self._changes):
                if self._changes[id] <= since:
                    break
                recent.append(id)
            return self._sequence, recent

    # -- pictures ---------------------------------------------------------------------------------------------------
    def state(self, id: str) -> str:
        """Return where a picture stands: `bad`, `done` (every part marked), `part`, `found` or `open`."""
        if id in self.unreadable:
            return "bad"
        marks = self.project.marks(id).points
        if marks and any(key in marks for key in self.project.parts.names):
            return "done" if self.project.is_complete(id) else "part"
        return "open" if self.findings.get(id) is None else "found"

    def summary(self, id: str) -> dict[str, Any]:
        """Return what the list of pictures shows of one."""
        found = self.findings.get(id)
        return {
            "id": id,
            "name": self.folder.get(id).shown,
            "state": self.state(id),
            "doubt": None if found is None else found.doubt,
            "revision": self.project.marks(id).revision,
            "round": 0 if found is None else found.round,
        }

    def size(self, id: str) -> tuple[int, int]:
        """Return width and height of the upright picture in pixels; an ImageError, which is noted, if it is unreadable."""
        try:
            return self.previews.size(id)
        except ImageError as error:
            self.changed(id, self.without_path(str(error)))
            raise

    def without_path(self, text: str) -> str:
        """Return a message without the path of the folder, which is nobody's business on a shared server."""
        return text.replace(f"{self.folder.root}/", "").encode("utf-8", "replace").decode()

    # -- parts and marks --------------------------------------------------------------------------------------------
    def set_marks(self, id: str, points: dict[str, Mark], revision: int) -> Marks:
        """Change the marks of a picture; errors as :meth:`Project.set_marks`, and an ImageError if it is unreadable."""
        self.folder.get(id)
        marks = self.project.set_marks(id, points, revision, self.size(id))
        self.unreadable.pop(id, None)
        self.changed(id)
        return marks

    def set_parts(
        self, parts: list[tuple[str | None, str]], pairs: list[tuple[int, int]], revision: int
    ) -> None:
        """Change the parts; errors as :meth:`Project.set_parts`. What was found for other parts is forgotten."""
        before = set(self.project.parts.names)
        self.project.set_parts(parts, pairs, revision)
        if set(self.project.parts.names) != before:
            self.jobs.cancel()
            self.findings.clear()
            for picture in self.folder:
                self.changed(picture.id)

    # -- finding ----------------------------------------------------------------------------------------------------
    def sample(self, id: str, marks: Marks) -> Sample:
        """Return a picture and its marks as a sample; an ImageError if it is unreadable."""
        keys = self.project.parts.names
        points = [marks.points.get(key) for key in keys]
        return Sample(
            self.folder.get(id).name,
            self.folder.path(id),
            self.size(id),
            np.array([(np.nan, np.nan) if point is None else point for point in points]).reshape(-1, 2),
            np.array([point is not None for point in points], dtype=np.bool_),
        )

    def dataset(self, *, complete: bool = True) -> PartDataset:
        """Return the marked pictures as a data set.

        Parameters
        ----------
        complete: only those of which every part was dealt with; otherwise open parts count as not visible.

        Raises
        ------
        DatasetError: there is no part.
        """
        parts = self.project.parts
        samples = []
        marked = self.project.marked()
        for id in (picture.id for picture in self.folder if picture.id in marked):
            marks = marked[id]
            if complete and not self.project.is_complete(id):
                continue
            if not any(key in marks.points for key in parts.names):
                continue
            try:
                samples.append(self.sample(id, marks))
            except (ImageError, DatasetError) as error:
                if (
                    id not in self.unreadable
                ):  # or the picture is a smaller one now, and its marks lie outside it
                    self.changed(id, self.without_path(str(error)))
        pairs = tuple((parts.names[a], parts.names[b]) for a, b in parts.pairs)
        return PartDataset(tuple(parts.names.values()), tuple(samples), "marked pictures", pairs)

    def find(self, *, anew: bool = False) -> int:
        """Start *Find parts* and return the job's number.

        Raises
        ------
        OptionError: no picture is completely marked, and there is no model.
        BusyError: a search is running.
        """
        names = self.project.parts.names
        if not names:
            raise OptionError("there is no part yet; name the parts first.")
        marked = self.dataset()
        if not marked.visible.any() and (len(marked) or self.learner.detector is None):
            raise OptionError("no picture is marked yet; mark every part of one or more pictures first.")
        done = {sample.id for sample in marked}
        rest = []
        for picture in self.folder:
            if picture.name in done or picture.id in self.unreadable:
                continue
            try:
                rest.append((picture.id, self.folder.path(picture.id)))
            except ImageError as error:
                self.changed(picture.id, self.without_path(str(error)))
        search = Search(
            learner=self.learner,
            store=self.store,
            jobs=self.jobs,
            findings=self.findings,
            marked=marked if len(marked) else None,
            marked_ids=[picture_id(sample.id) for sample in marked],
            rest=rest,
            keys={name: key for key, name in names.items()},
            anew=anew,
            model=self.model_file,
            changed=lambda id, reason: self.changed(
                id, None if reason is None else self.without_path(reason)
            ),
            note=self.project.note,
        )
        return self.jobs.start(search, "starting")
