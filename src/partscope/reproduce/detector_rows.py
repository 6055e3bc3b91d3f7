"""Rows that are a fitted detector each: the linear detector, and a channel for each part, forward-only or under the spatial model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from partscope.dataset import PartDataset
from partscope.detectors import PartDetector
from partscope.evaluation import Evaluation
from partscope.predictions import PartPredictions
from partscope.reproduce.kept import KeptDetectors, detector_hash
from partscope.reproduce.variants import REGIONS

#: What `methods` may name beside `"channel"`: the detector's method, its options, and the names of its rows: without the
#: arrangement, where there is such a row, and with it.
DETECTOR_ROWS: dict[str, tuple[str, dict[str, Any], str | None, str]] = {
    "channel+arrangement": ("channel", {"centre": "mixture"}, None, "mixture + arrangement"),
    "activation": (
        "channel",
        {"maps": "activation"},
        "activation centroid",
        "activation centroid + arrangement",
    ),
    "linear": ("linear", {}, "linear", "linear + arrangement"),
}


@dataclass(frozen=True, eq=False)
class DetectorRow:
    """One row: its name, the fitted detector, its predictions for the test images and their evaluation."""

    name: str
    detector: PartDetector
    predictions: PartPredictions
    evaluation: Evaluation


def run_detectors(
    train: PartDataset,
    test: PartDataset,
    methods: Sequence[str],
    regions: Sequence[str],
    *,
    options: Mapping[str, Mapping[str, Any]],
    folder: Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> list[DetectorRow]:
    """Fit and evaluate the rows of `methods`, in the order of the regions.

    Parameters
    ----------
    train, test: images with marked parts.
    methods: keys of `DETECTOR_ROWS`.
    regions: `"image"`, `"mask"`, `"crop"`.
    options: further options of the detectors, by the detector's method.
    folder: where fitted detectors and located parts are kept; a killed run continues with the same call.
    on_error: `"raise"` or `"skip"`.
    progress: show bars on standard error.

    Raises
    ------
    As :meth:`partscope.detectors.PartDetector.fit`, `predict` and `evaluate`.
    """
    rows: list[DetectorRow] = []
    with TemporaryDirectory() as temporary:
        kept = KeptDetectors(temporary if folder is None else folder)
        for region in regions:
            for key in methods:
                method, own, alone, together = DETECTOR_ROWS[key]
                arranged = kept.fitted(
                    method,
                    region,
                    train,
                    limit=None,
                    random_state=0,
                    options={**options.get(method, {}), **own, "arrangement": "exemplars"},
                    on_error=on_error,
                    progress=progress,
                )
                named = {} if alone is None else {alone: without_arrangement(arranged)}
                for title, detector in {**named, together: arranged}.items():
                    name = f"{title}, {REGIONS[region]}"
                    found = kept.located(
                        detector,
                        detector_hash(detector),
                        test,
                        description=name,
                        on_error=on_error,
                        progress=progress,
                    )
                    evaluation = detector.evaluate(test, predictions=found, on_error=on_error)
                    rows.append(DetectorRow(name, detector, found, evaluation))
    return rows


def without_arrangement(detector: PartDetector) -> PartDetector:
    """Return the same fitted detector, each part placed for itself: what a fit with `arrangement="none"` gives.

    Nothing else that is learned depends on the option, so a second fit would only cost time.
    """
    plain: PartDetector = copy.copy(detector).set_params(arrangement="none")
    plain.arrangement_ = None
    return plain
