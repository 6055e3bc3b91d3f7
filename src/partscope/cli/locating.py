"""The work of `locate`, here and on another machine: a model, and images one by one."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partscope.cli.models import load_model
from partscope.cli.predicting import BLOCK, Found, Task
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeError
from partscope.places import read_bytes

if TYPE_CHECKING:
    from partscope.detectors import PartDetector
    from partscope.engine import Advance, Engine, Worker
    from partscope.predictions import PartPredictions


class Locating:
    """Locates parts with a detector; a pickle of it holds the bytes of the model file, which is checked as it is opened.

    Parameters
    ----------
    detector: read from `model`.
    model: the model file.
    weights: the network's weights, where they are not where they were at fit; a path that all machines reach.
    doubt: whether predictions without an expected error are refused.
    on_error: `"skip"` returns the reason in place of a bad image's predictions, `"raise"` raises it.
    """

    def __init__(
        self,
        detector: PartDetector,
        model: Path,
        weights: Path | None = None,
        *,
        doubt: bool = False,
        on_error: str = "skip",
    ) -> None:
        self._detector: PartDetector | None = detector
        self._model, self._weights, self._doubt, self._on_error = model, weights, doubt, on_error
        self._data = b""
        self._settings = ("auto", "float32")

    @property
    def device(self) -> str:
        """The kind of device that the network is on, such as `"cpu"`."""
        backbone = getattr(self._detector, "backbone_", None)
        return "cpu" if backbone is None else str(backbone.device.type)

    def __getstate__(self) -> dict[str, Any]:
        from partscope.backbones.devices import compute_settings

        data = self._data or self._file()
        settings = compute_settings()
        return {
            **self.__dict__,
            "_detector": None,
            "_data": data,
            "_settings": (settings.device, settings.precision),
        }

    def _file(self) -> bytes:
        """Return the bytes of the detector's model file; those that `model` would have, where it is a classifier's."""
        from partscope.detectors.model_file import read_model

        if "kind" not in read_model(self._model)[0]:
            return read_bytes(self._model)
        assert self._detector is not None
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "detector.partscope"
            self._detector.save(copy)
            return copy.read_bytes()

    def __call__(self) -> Worker[Task, list[Found]]:
        """Return what locates blocks of images: of each its predictions, or the reason why there are none."""
        if self._detector is None:
            from partscope.backbones.devices import set_compute

            set_compute(*self._settings)
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / self._model.name
                copy.write_bytes(self._data)
                self._detector = load_model(copy, self._weights)

        def locate(tasks: Sequence[Task], advance: Advance) -> list[Found]:
            found: list[Found] = []
            for task in tasks:
                try:
                    found.append(self.predict(task))
                except (ImageError, DatasetError, OptionError) as error:
                    if self._on_error == "raise":
                        raise
                    found.append(str(error))
                advance(1)
            return found

        return locate

    def predict(self, task: Task) -> PartPredictions:
        """Return the predictions for one image, under its task's name; errors as :meth:`PartDetector.predict`."""
        assert self._detector is not None
        if task.stated is not None:
            return self._detector.predict(task.stated)
        one = self._detector.predict([task.image()], [task.box] if self._detector.needs_box else None)
        if self._doubt:
            check_doubt(one, self._model)
        return dataclasses.replace(one, ids=(task.name,))


def elsewhere(
    work: Locating, engine: Engine
) -> Callable[[Sequence[Task]], Iterator[tuple[list[int], list[Found]]]]:
    """Return what sends images to an engine, in blocks, and yields `(positions, what was found)` as they are finished."""
    from partscope.engine.blocks import blocks_of
    from partscope.progress import progress_bar

    def run(tasks: Sequence[Task]) -> Iterator[tuple[list[int], list[Found]]]:
        blocks = blocks_of(tasks, BLOCK, [task.name for task in tasks])
        with progress_bar("locate", total=len(tasks)) as advance:
            for index, found in engine.map_blocks(work, blocks, advance):
                yield list(range(index * BLOCK, index * BLOCK + len(found))), found

    return run


def check_doubt(predictions: PartPredictions, model: Path) -> None:
    """Refuse a model that says nothing of its errors: no error of one image, which would be listed and left out."""
    if predictions.expected_error is None:
        raise PartscopeError(
            f"{model}: this model does not say how far its parts may be off, so its images cannot be sorted by doubt; leave "
            "--sort out, or fit a model with --method linear."
        )
