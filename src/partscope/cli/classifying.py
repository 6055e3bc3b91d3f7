"""What the commands of `partscope classify` share: work that can be continued, prediction, tables and figures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from partscope.cli.exits import go_on
from partscope.cli.fit import remove_scan, unfitted
from partscope.cli.output import Output
from partscope.cli.predicting import Kept, Task, predict_in_blocks
from partscope.errors import OptionError, PartscopeWarning

if TYPE_CHECKING:
    from partscope.classification import ClassEvaluation, ClassPredictions, PartClassifier
    from partscope.dataset import PartDataset
    from partscope.detectors import PartDetector
    from partscope.predictions import PartPredictions

#: Decisions of each kind, right and wrong, that are drawn.
_DRAWN = 8


class Work:
    """The folder `NAME.work` beside a file: a fitted detector, the parts found, and features, until the result is written.

    Parameters
    ----------
    beside: the file that the folder lies next to.
    cache: a file of the user's for the features, in place of one in the folder; it is never removed.
    """

    def __init__(self, beside: Path, cache: Path | None) -> None:
        self.folder = beside.with_name(f"{beside.name}.work")
        self.cache: Path | None = cache or self.folder / "features.sqlite"
        self._own_cache = cache is None

    def make(self) -> bool:
        """Make the folder, and return whether there is one; without it nothing is kept, which is said."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            if self._own_cache:
                self.cache = None
            warnings.warn(
                f"{self.folder}: the folder cannot be made ({error.strerror}), so an interrupted run will start over; "
                "--cache FILE keeps its features elsewhere.",
                PartscopeWarning,
                stacklevel=2,
            )
            return False
        return True

    def hint(self) -> str:
        """Return the sentence on how to go on after a stop."""
        if not self._own_cache and self.cache is not None and self.cache.exists():
            inside = f" and {self.folder}" if self._files() else ""
            return (
                f"what was finished is kept in {self.cache}{inside}; run the same command again to continue."
            )
        return go_on(self.folder, bool(self._files()))

    def remove(self) -> None:
        """Remove what was kept here, once the result has been written: never anything of the user's."""
        for place in self.folder.glob("detector-*.scan"):
            remove_scan(place)
        for pattern in ("detector-*.partscope", "features.sqlite", "features.sqlite-journal"):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)
        for folder in self.folder.glob("parts.partial-*"):
            for file in folder.glob("block-*.csv"):
                file.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):  # never made, or the user has put something in it
            self.folder.rmdir()

    def find_parts(
        self, detector: PartDetector, file: Path, images: PartDataset | Sequence[Task], on_error: str
    ) -> PartPredictions:
        """Return the parts that the detector, read from `file`, finds in the images, continuing what was kept."""
        from partscope.dataset import PartDataset

        if isinstance(images, PartDataset):
            tasks: Sequence[Task] = [Task(sample.id, sample.image, sample.box) for sample in images]
        else:
            tasks = images

        def predict(i: int) -> PartPredictions:
            if isinstance(images, PartDataset):
                return detector.predict(images[i : i + 1])
            one = detector.predict([tasks[i].path], [tasks[i].box] if detector.needs_box else None)
            return dataclasses.replace(one, ids=(tasks[i].name,))

        kept = Kept(self.folder / "parts", file, tasks)
        return predict_in_blocks(tasks, predict, kept, parts=detector.parts_, on_error=on_error)

    def _files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def given_or_fitted(
    work: Work,
    data: PartDataset,
    given: Path | None,
    *,
    method: str,
    region: str,
    limit: int,
    seed: int,
    on_error: str,
) -> tuple[PartDetector, Path]:
    """Return the detector that finds the parts, and its file: the given one, or one fitted to some of the images.

    A detector that is fitted searches the box where the region is `"crop"`, and is kept in the work folder.
    """
    from partscope.detectors import PartDetector

    if given is not None:
        return PartDetector.load(given), given
    chosen = data.limit(limit, seed)
    settings = json.dumps([method, region, limit, seed, chosen.fingerprint()])
    name = f"detector-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    file = work.folder / f"{name}.partscope"
    if file.exists():
        return PartDetector.load(file), file
    detector = unfitted(method, {})
    known = detector.get_params(deep=False)
    if region == "crop" and "region" in known:
        detector.set_params(region="box" if method == "prior" else "crop")
    if "scan_folder" in known:
        detector.set_params(scan_folder=work.folder / f"{name}.scan")
    detector.fit(chosen, on_error=on_error, progress=True)
    if "scan_folder" in known:
        detector.set_params(scan_folder=None)  # a place of this run, not a property of the detector
    detector.save(file)
    remove_scan(work.folder / f"{name}.scan")
    return detector, file


def predict_classes(
    model: PartClassifier, file: Path, images: PartDataset | Sequence[Task], work: Work, on_error: str
) -> ClassPredictions:
    """Return the classes of images, continuing what was kept of the parts found and of the features."""
    from partscope.dataset import PartDataset
    from partscope.detectors.queries import Query

    work.make()
    features = model.features_
    features.set_params(cache=work.cache, progress=True)
    parts = None
    if features.detector_ is not None:
        parts = work.find_parts(features.detector_, file, images, on_error)
    if isinstance(images, PartDataset):
        return model.predict_classes(images, parts=parts, on_error=on_error)
    queries = [Query(task.name, task.path, task.box) for task in images]
    return model.predict_classes(queries, parts=parts, on_error=on_error)


# -- what is shown --------------------------------------------------------------------------------------------------
def show_evaluation(output: Output, result: ClassEvaluation, title: str) -> None:
    """Print the accuracies, and one line per class."""
    from partscope.report.tables import percent, text

    row = result.row()
    low, high = row["accuracy"]["ci95"]
    output.table(
        ["Accuracy", "95 % interval", "Macro", "Top 5", "Images", "Classes"],
        [
            [
                percent(row["accuracy"]["mean"]),
                f"{100 * low:.1f}…{100 * high:.1f}",
                percent(row["accuracy"]["macro"]),
                percent(row["top5"]),
                text(row["images"]),
                text(row["classes"]),
            ]
        ],
        title,
    )
    output.table(
        ["Class", "Images", "Right", "Accuracy", "Predicted", "Precision"],
        [
            [
                name,
                text(one["images"]),
                text(one["correct"]),
                percent(one["accuracy"]),
                text(one["predicted"]),
                percent(one["precision"]),
            ]
            for name, one in row["per_class"].items()
        ],
        "Per class",
    )


def check_figures(folder: Path | None) -> None:
    """Refuse a place for figures, or say that matplotlib is missing, before anything is computed."""
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: this is a file; give --figures a folder.")
    if not folder.exists() and not folder.parent.is_dir():
        raise OptionError(f"{folder}: there is no folder {folder.parent}; create it first.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        from partscope.errors import MissingExtraError

        raise MissingExtraError("matplotlib", "plot", "Drawing figures") from error


def write_figures(
    model: PartClassifier,
    data: PartDataset,
    predictions: ClassPredictions,
    result: ClassEvaluation,
    folder: Path,
) -> list[Path]:
    """Write `confusion.png`, and `decisions.png` with the surest right and wrong decisions; return their paths."""
    from partscope.figures.canvas import save_figure
    from partscope.figures.classification import Decision, figure_confusion, figure_decisions

    folder.mkdir(exist_ok=True)
    paths = [save_figure(figure_confusion(result.confusion, result.classes), folder / "confusion.png")]
    row_of = {name: i for i, name in enumerate(predictions.ids)}
    score = {name: float(predictions.scores[row_of[name]].max()) for name in result.ids}
    order = sorted(range(len(result.ids)), key=lambda i: -score[result.ids[i]])
    chosen = [i for right in (True, False) for i in [j for j in order if result.correct[j] == right][:_DRAWN]]
    place = {name: i for i, name in enumerate(data.ids)}
    shown = data[[place[result.ids[i]] for i in chosen]]
    features = model.features_
    features.set_params(progress=False)
    places = features.locate(shown)
    boxes = places.boxes if not features.parts_ else places.boxes[:, -len(features.parts_) :]
    decisions = [
        Decision(sample.image, frames, result.truth[i], result.predicted[i], score[result.ids[i]])
        for i, sample, frames in zip(chosen, shown, boxes, strict=True)
    ]
    figure = figure_decisions(decisions, features.parts_ or (features.region,))
    return [*paths, save_figure(figure, folder / "decisions.png")]


def names_of(text: str | None) -> list[str] | None:
    """Return the names of a list separated by commas, or None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def checked_choice(flag: str, value: str, known: Iterable[str]) -> str:
    """Return `value`; an OptionError names the option and what it may be."""
    names = tuple(known)
    if value not in names:
        raise OptionError(f"{flag} must be one of {', '.join(names)}, not {value!r}.")
    return value
