"""`measure_table2`: every row of Table 2 on the same images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.backbones import DEFAULT_BACKBONE, Embedder, get_embedder
from partscope.classification.linear import CLASSIFIERS, FOLDS, Classifier, fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.classification.penalty import PATIENCE
from partscope.classification.result import ClassPredictions, evaluate_classes
from partscope.dataset import PartDataset
from partscope.detectors import PartDetector
from partscope.errors import OptionError
from partscope.feature_cache import FeatureCache
from partscope.predictions import PartPredictions
from partscope.table2.describe import Settings, make_features
from partscope.table2.preparation import check_labels, readable, usable_regions
from partscope.table2.result import MeasuredRow, Table2
from partscope.table2.rows import PUBLISHED_ON, RowPlan, choose_rows, plan_rows
from partscope.table2.searchers import Searcher, find_searchers, plan_searchers
from partscope.table2.work import WorkFolder, data_hash
from partscope.version import __version__


def measure_table2(
    dataset: PartDataset,
    *,
    detector: PartDetector | None = None,
    box_detector: PartDetector | None = None,
    methods: Sequence[str] = ("channel",),
    regions: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    fit_limit: int | None = 200,
    cross_fit: int = 0,
    detector_options: Mapping[str, Any] | None = None,
    box_region: str = "crop",
    backbone: str | Embedder = DEFAULT_BACKBONE,
    input_size: int | None = None,
    weights: str | Path | None = None,
    scales: Mapping[str, float] | None = None,
    normalize: str = "l2",
    classifier: Classifier = "svm",
    C: float | None = None,
    folder: str | Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
    random_state: int = 0,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> Table2:
    """Measure the rows of Table 2: the same classifier on features of the whole and of patches from several sources.

    All training images are used to train the classifiers, with estimated parts where the row's test images have estimated
    parts, and their mirror images. C is chosen in the same way for every row, by cross-validation over training images.

    Parameters
    ----------
    dataset: with the splits `train` and `test`, classes and marked parts.
    detector, box_detector: fitted detectors that search the image and the box; by default `methods` are fitted here, the
        first two are then not needed.
    methods: detectors to be fitted, by name; the box is searched by those that can. `prior` and `transfer` have their rows
        in every table, so that naming them adds none.
    regions: `"image"`, `"crop"` or both; by default both, or the image alone where an image has no box.
    rows: names of the rows to measure, such as `"Full, channel"`; all by default. Only detectors that they need are fitted.
    fit_limit: training images that a detector is fitted to, drawn by class; None for all. Part Transfer copies from all.
    cross_fit: folds; with 2 or more, the parts of the images that a method is fitted to are found by one that is fitted to the
        other folds, so that the classifier learns from parts as good as those of new images. By default a method finds
        them in its own training images too. Neither given detectors nor Part Transfer are cross-fitted.
    detector_options: options of the methods, given to those that have them, such as `backbone`.
    box_region: how `channel` and its like search the box, `"crop"` or `"mask"`.
    backbone, input_size, weights: the network of the features, as for :func:`~partscope.backbones.get_embedder`.
    scales: λ by region; the paper's 1/9 and 1/4 by default.
    normalize: of the network's features, see :class:`~partscope.classification.part_features.PartFeatures`.
    classifier: `"svm"` or `"logistic"`.
    C: of the classifier; by default chosen.
    folder: where finished work is kept; a killed run continues with the same call. In a temporary folder by default.
    on_error: `"raise"`, or `"skip"` to leave out images that cannot be read, for all rows alike.
    progress: show bars on standard error.
    random_state: of the draw of `fit_limit`, the random patches and the folds.
    on_row: called with each row as soon as it is known.

    Raises
    ------
    DatasetError: a class name is missing, a class has fewer than two training images, a test image's class has none, or a
        box is missing where one is asked for.
    OptionError: a split is missing, or a parameter has an unknown value.
    ImageError, PartscopeError: an image cannot be read, or the folder cannot be written.
    """
    if classifier not in CLASSIFIERS:
        raise OptionError(f"classifier must be one of {', '.join(CLASSIFIERS)}, not {classifier!r}.")
    train, failed = readable(dataset.train, on_error)
    test, lost = readable(dataset.test, on_error)
    check_labels(train, test)
    chosen, notes = usable_regions(regions, (train, test), (detector, box_detector))
    embedder = (
        backbone
        if isinstance(backbone, Embedder)
        else get_embedder(backbone, input_size=input_size, weights=weights)
    )
    settings = Settings(embedder, dict(scales or {}), normalize, random_state, progress)
    with TemporaryDirectory() as temporary:
        work = WorkFolder(temporary if folder is None else folder)
        searching = (detector, box_detector)
        known = plan_searchers(searching, methods, chosen)
        plans = choose_rows(plan_rows([one for one in known if one != ("transfer", "crop")], chosen), rows)
        needed = {(plan.detector, plan.region) for plan in plans}
        searchers = find_searchers(
            work,
            train,
            [one for one in known if one in needed],
            detectors=searching,
            box_region=box_region,
            limit=fit_limit,
            cross_fit=cross_fit,
            options=detector_options or {},
            random_state=random_state,
            progress=progress,
        )
        with FeatureCache(work.features) as cache:
            runner = _Runner(
                train, test, work, settings, cache, searchers, classifier, C, random_state, progress
            )
            measured = []
            for plan in plans:
                one = runner.row(plan)
                measured.append(one)
                if on_row is not None:
                    on_row(one.row)
        localisation = runner.localisation
    facts = {
        "data set": dataset.name,
        "training images": len(train),
        "test images": len(test),
        "classes": len({sample.label for sample in train}),
        "data": [data_hash(train), data_hash(test)],
        "features": {**embedder.describe(), "label": embedder.label, "normalize": normalize},
        "scales": {region: settings.scale(region) for region in chosen},
        "flips": True,
        "classifier": classifier,
        "C": "chosen by cross-validation over the training images" if C is None else C,
        "detectors": [one.record(localisation.get((one.method, one.region))) for one in searchers],
        "random_state": random_state,
        "notes": [*dataset.notes, *notes, PUBLISHED_ON],
    }
    return Table2(train, test, tuple(measured), facts, failed + lost)


class _Runner:
    """Measures rows one by one; what several rows need is found once."""

    def __init__(
        self,
        train: PartDataset,
        test: PartDataset,
        work: WorkFolder,
        settings: Settings,
        cache: FeatureCache,
        searchers: Sequence[Searcher],
        classifier: Classifier,
        C: float | None,
        random_state: int,
        progress: bool,
    ) -> None:
        self.train, self.test, self.work = train, test, work
        self.settings, self.cache = settings, cache
        self.searchers = {(one.method, one.region): one for one in searchers}
        self.classifier, self.C, self.random_state, self.progress = classifier, C, random_state, progress
        self.localisation: dict[tuple[str, str], float] = {}
        self._data = [data_hash(train), data_hash(test)]

    def row(self, plan: RowPlan) -> MeasuredRow:
        searcher = None if plan.detector is None else self.searchers[plan.detector, plan.region]
        key = self._key(plan, searcher)
        known = self.work.read_row(key)
        if known is None:
            known = self._measure(plan, searcher)
            self.work.write_row(key, known)
        if searcher is not None and known.get("error") is not None:
            self.localisation[searcher.method, searcher.region] = known["error"]
        return MeasuredRow(plan, known["row"], dict(zip(known["ids"], known["predicted"], strict=True)))

    def _key(self, plan: RowPlan, searcher: Searcher | None) -> dict[str, Any]:
        """What the row depends on; features are kept by the content of their images, rows by the annotation alone."""
        return {
            "partscope": __version__,
            "row": [plan.name, plan.region, plan.part_source, plan.detector, plan.features],
            "data": self._data,
            "network": self.settings.network(plan).content_hash,
            "detector": None if searcher is None else [one[2] for one in searcher.finders(self.train)],
            "scale": self.settings.scale(plan.region),
            "normalize": self.settings.normalize,
            "classifier": [self.classifier, self.C, FOLDS, PATIENCE],
            "random_state": self.random_state,
        }

    def _measure(self, plan: RowPlan, searcher: Searcher | None) -> dict[str, Any]:
        started = time.perf_counter()
        predictions: PartPredictions | None = None
        error = None
        if searcher is not None:
            finders = [("train", *one) for one in searcher.finders(self.train)]
            finders.append(("test", self.test, searcher.detector, searcher.content_hash))
            pieces = [
                self.work.located(
                    found_by, name, data, description=f"{plan.name}: {what}", progress=self.progress
                )
                for what, data, found_by, name in finders
            ]
            error = searcher.detector.evaluate(self.test, predictions=pieces[-1]).error
            predictions = PartPredictions.concatenate(pieces)
        features = make_features(plan, self.settings, searcher, predictions, self.cache, len(self.train))
        table, groups = self._training_table(features)
        labels = np.array([sample.label for sample in self.train])
        model = fit_linear(
            table,
            labels[groups],
            classifier=self.classifier,
            C=self.C,
            groups=groups,
            mirrored=np.arange(len(groups)) >= len(labels),
            random_state=self.random_state,
        )
        del table
        scores = model.decision_function(features.transform(self.test))
        predicted = ClassPredictions(self.test.ids, model.classes, scores)
        found = evaluate_classes(predicted, self.test).row()
        row = {
            "name": plan.name,
            "region": plan.region,
            "part_source": plan.part_source,
            "detector": plan.detector,
            "features": self.settings.label(plan),
            "classifier": self.classifier,
            "C": model.C,
            "accuracy": {name: found["accuracy"][name] for name in ("mean", "macro", "ci95")},
            "top5": found["top5"],
            "images": found["images"],
            "status": "measured",
            "published": plan.published,
            "cross-validation": model.record(),
            "seconds": round(time.perf_counter() - started, 1),
        }
        return {
            "row": row,
            "ids": list(self.test.ids),
            "predicted": [str(label) for label in predicted.labels],
            "error": error,
        }

    def _training_table(self, features: PartFeatures) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Return the rows of the training images, then those of their mirror images, and whose each is."""
        places = features.fit(self.train).locate(self.train)
        plain = features.rows(places).features
        mirrored = features.rows(places, mirrored=True).features
        return np.concatenate([plain, mirrored]), np.tile(np.arange(len(plain)), 2)
