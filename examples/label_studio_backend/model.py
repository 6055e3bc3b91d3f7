"""The model behind the server: predicts tasks, learns from annotations in the background, keeps every version it saves.

A version is `version-000N.partscope`, and beside it `version-000N.json`, an export of Label Studio with all that this version
has learned from; both are written whole, the export first, so a crash leaves the last complete version in force.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from partscope.atomic import atomic_path, atomic_write
from partscope.backbones import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.errors import AnnotationError, OptionError, PartscopeError
from partscope.formats.label_studio import read_label_studio
from partscope.formats.label_studio_writer import pre_annotation

from .labelling import read_labelling
from .pictures import Pictures

#: Versions that stay on the disk.
KEPT = 5
_VERSION = re.compile(r"^version-(\d{4,})\.partscope$")


class Model:
    """A detector with its versions.

    Parameters
    ----------
    file: the model file to begin with.
    folder: where versions and the pictures learned from are kept; a version there comes before `file`.
    pictures: where pictures come from.
    backbone: the network, for a model of a network of one's own.

    Raises
    ------
    PartscopeError: the file is no model, or the model needs boxes, which Label Studio's tasks do not have.
    """

    def __init__(
        self, file: Path, folder: Path, pictures: Pictures, backbone: Backbone | None = None
    ) -> None:
        self.folder, self.pictures, self.backbone = folder, pictures, backbone
        (folder / "images").mkdir(parents=True, exist_ok=True)
        self.number = max(self._numbers(), default=0)
        self.file = file if self.number == 0 else self._path(self.number)
        self.detector = PartDetector.load(self.file, self.backbone)
        if self.detector.needs_box:
            raise OptionError(f"{self.file}: the model needs boxes; fit one with region='image'.")
        self.learned: dict[str, Any] = {}
        if self.number:
            tasks = json.loads(self._path(self.number).with_suffix(".json").read_text("utf-8"))
            self.learned = {task["data"]["image"]: task for task in tasks}
        self.failures: list[str] = []
        self.predicted = self.pending = 0
        self._lock, self._learner = threading.Lock(), ThreadPoolExecutor(1)

    @property
    def version(self) -> str:
        """How Label Studio calls the present version."""
        return self._name(self.number)

    def versions(self) -> list[str]:
        """Return the names of the versions on the disk, and that of the first model."""
        return [self._name(number) for number in sorted({0, *self._numbers()})]

    def predict(self, tasks: list[Any], config: str) -> list[dict[str, Any]]:
        """Return one prediction a task; of a picture that cannot be read an empty one, with the reason as `error`.

        Raises
        ------
        AnnotationError: the labelling configuration does not fit the model.
        """
        names = read_labelling(config, self.detector.parts_)
        answers = []
        for task in tasks:
            data = task.get("data") if isinstance(task, dict) else None
            try:
                picture = self.pictures.read(data.get(names.field) if isinstance(data, dict) else None)
                with self._lock:
                    found, version = self.detector.predict([picture]), self.version
                answer = pre_annotation(found, 0, picture.size, version, names.box_label or "object")
                answers.append(names.adapted(answer))
            except PartscopeError as error:
                answers.append(
                    {"model_version": self.version, "score": 0.0, "result": [], "error": str(error)}
                )
        self.predicted += len(answers)
        return answers

    # -- learning ---------------------------------------------------------------------------------------------------
    def submit(self, task: dict[str, Any], annotation: dict[str, Any], config: str) -> Future[None]:
        """Learn from an annotation in the background, after those before it; `failures` tells what went wrong.

        Raises
        ------
        OptionError: the model's method cannot learn further images. AnnotationError: the configuration does not fit.
        """
        if not isinstance(self.detector, LinearDetector):
            raise OptionError("only a model of the method linear can learn further images; fit one.")
        names = read_labelling(config, self.detector.parts_)
        data = task.get("data")
        if not isinstance(data, dict) or not re.fullmatch(r"[0-9]{1,18}", str(task.get("id"))):
            raise AnnotationError("the task has no id or no data; send Label Studio's own webhook.")
        self.pending += 1
        return self._learner.submit(self._learn, f"{task['id']}.png", data.get(names.field), annotation)

    def _learn(self, name: str, address: object, annotation: dict[str, Any]) -> None:
        try:
            picture = self.pictures.read(address)
            path = self.folder / "images" / name
            task = {"id": name, "data": {"image": name}, "annotations": [annotation]}
            before = self.learned.get(name)
            known = None if before is None else self._dataset([before])
            if (
                before is None
            ):  # an address shows the same picture ever after; what was learned must stay as it was
                with atomic_path(path) as temporary:
                    picture.save(temporary)
            data = self._dataset([task])
            with self._lock:
                try:
                    self._replace(known, data)
                    self._save({**self.learned, name: task})
                except BaseException:
                    self.detector = PartDetector.load(self.file, self.backbone)  # not half a change
                    raise
        except (
            Exception
        ) as error:  # the next annotation must still be learned; /metrics and the log tell of this one
            self.failures = [*self.failures[-19:], f"task {name.removesuffix('.png')}: {error}"]
        finally:
            self.pending -= 1

    def _dataset(self, tasks: list[Any]) -> PartDataset:
        export = self.folder / "reading.json"
        atomic_write(export, json.dumps(tasks))
        read = read_label_studio(
            export, images=self.folder / "images", parts=self.detector.parts_, field="image"
        )
        parts, mirror = self.detector.parts_, self.detector.mirror_
        pairs = tuple((parts[i], parts[j]) for i, j in enumerate(mirror.tolist()) if i < j)
        return dataclasses.replace(read, pairs=pairs)

    def _replace(self, known: PartDataset | None, data: PartDataset) -> None:
        assert isinstance(self.detector, LinearDetector)
        if known is not None:
            self.detector.forget(known)
        self.detector.partial_fit(data)

    def _save(self, learned: dict[str, Any]) -> None:
        path = self._path(self.number + 1)
        atomic_write(path.with_suffix(".json"), json.dumps(list(learned.values()), indent=1))
        self.detector.save(path)
        self.number, self.file, self.learned = self.number + 1, path, learned
        for old in sorted(self._numbers())[:-KEPT]:
            self._path(old).unlink(missing_ok=True)
            self._path(old).with_suffix(".json").unlink(missing_ok=True)

    def _name(self, number: int) -> str:
        return f"{self.detector.method}-{number:04d}"

    def _path(self, number: int) -> Path:
        return self.folder / f"version-{number:04d}.partscope"

    def _numbers(self) -> list[int]:
        found = (_VERSION.match(path.name) for path in self.folder.iterdir())
        return [int(match[1]) for match in found if match]
