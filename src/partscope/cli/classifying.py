"""What the commands of `partscope classify` share: work that can be continued, prediction, what a classifier is."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli.exits import go_on, resumable
from partscope.cli.fit import remove_scan, unfitted
from partscope.cli.locating import Locating, elsewhere
from partscope.cli.predicting import Kept, Task, predict_in_blocks, tasks_of
from partscope.errors import PartscopeWarning
from partscope.places import url_of

if TYPE_CHECKING:
    from partscope.classification import ClassPredictions, PartClassifier
    from partscope.dataset import PartDataset
    from partscope.detectors import PartDetector
    from partscope.predictions import PartPredictions

Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="FILE",
        help="Keep features here, also for other runs; by default beside the result until it is written.",
        show_default=False,
    ),
]
Classifier = Annotated[
    Path, typer.Argument(metavar="FILE", help="A model file written by classify fit.", show_default=False)
]


class Work:
    """The folder `NAME.work` beside a file, or here where the file lies elsewhere: a fitted detector, the parts found, and features, until the result is written.

    Parameters
    ----------
    beside: the file that the folder lies next to.
    cache: a file of the user's for the features, in place of one in the folder; it is never removed.
    """

    def __init__(self, beside: Path, cache: Path | None) -> None:
        name = f"{beside.name}.work"
        self.folder = beside.with_name(name) if url_of(beside) is None else Path(name)
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

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Say after a stop how to go on, and leave no empty folder behind an error."""
        try:
            with resumable(self.hint):
                yield
        except BaseException:
            with suppress(OSError):  # not empty: what was finished is kept
                self.folder.rmdir()
            raise

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
        self,
        detector: PartDetector,
        file: Path,
        images: PartDataset | Sequence[Task],
        on_error: str,
        share: Sequence[int] | None = None,
        writer: int = 0,
    ) -> PartPredictions:
        """Return the parts that the detector, read from `file`, finds in the images, continuing what was kept.

        Parameters
        ----------
        share, writer: positions of the images that this job of a job array searches, and its number; all by default.
        """
        from partscope.dataset import PartDataset
        from partscope.engine import current_engine

        tasks = tasks_of(images) if isinstance(images, PartDataset) else images
        work, engine = Locating(detector, file, on_error=on_error), current_engine()
        return predict_in_blocks(
            *(tasks, lambda i: work.predict(tasks[i]), Kept(self.folder / "parts", file, tasks, writer)),
            parts=detector.parts_,
            on_error=on_error,
            elsewhere=None if engine.name == "local" else elsewhere(work, engine),
            share=share,
        )

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


def load_classifier(path: Path, weights: Path | None) -> PartClassifier:
    """Read a classifier; `weights` names the weights of the features' network where they are now."""
    from partscope.backbones import get_embedder
    from partscope.classification import PartClassifier
    from partscope.detectors.model_file import Fields, check_kind, read_model

    if weights is None:
        return PartClassifier.load(path)
    document, _ = read_model(path)
    check_kind(document, "classifier")
    stored = Fields(document.path, document.take("embedder", dict))
    sizes = Fields(document.path, stored.take("preprocessing", dict))
    embedder = get_embedder(
        stored.take("name", str),
        input_size=sizes.take("input_size", int),
        weights=weights,
        at=stored.take("at", str),
    )
    return PartClassifier.load(path, embedder=embedder)


def summary(model: PartClassifier) -> str:
    """Return a classifier in a few words."""
    features = model.features_
    what = "no parts" if features.source == "none" else f"{features.source} parts"
    found = f" of {features.detector_.method}" if features.detector_ is not None else ""
    return f"region {features.region}, {what}{found}, {model.classifier}"


def facts(model: PartClassifier) -> dict[str, Any]:
    """Return what identifies a classifier in a table."""
    features = model.features_
    return {
        "region": features.region,
        "part_source": features.source,
        "detector": None if features.detector_ is None else features.detector_._info(),
        "features": features.embedder_.label,
        "parts": features.parts_,
        "scale": features.scale_,
        "normalize": features.normalize,
        "pool_pairs": features.pool_pairs,
        "classifier": model.classifier,
        "C": model.model_.C,
        "flips": model.flips,
    }
