"""Rows that are a fitted detector each: the linear detector, and a channel for each part under the spatial model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from partscope.dataset import PartDataset
from partscope.detectors import PartDetector
from partscope.evaluation import Evaluation
from partscope.reproduce.kept import KeptDetectors, detector_hash
from partscope.reproduce.variants import REGIONS

#: What `methods` may name beside `"channel"`: the rows' name, the detector's method, and its options.
DETECTOR_ROWS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "channel+arrangement": (
        ("mixture + arrangement", "channel", {"centre": "mixture", "arrangement": "exemplars"}),
    ),
    "linear": (
        ("linear", "linear", {"arrangement": "none"}),
        ("linear + arrangement", "linear", {"arrangement": "exemplars"}),
    ),
}


@dataclass(frozen=True, eq=False)
class DetectorRow:
    """One row: its name, the fitted detector, and its evaluation on the test images."""

    name: str
    detector: PartDetector
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
                for title, method, own in DETECTOR_ROWS[key]:
                    name = f"{title}, {REGIONS[region]}"
                    detector = kept.fitted(
                        method,
                        region,
                        train,
                        limit=None,
                        random_state=0,
                        options={**options.get(method, {}), **own},
                        on_error=on_error,
                        progress=progress,
                    )
                    found = kept.located(
                        detector,
                        detector_hash(detector),
                        test,
                        description=name,
                        on_error=on_error,
                        progress=progress,
                    )
                    evaluation = detector.evaluate(test, predictions=found, on_error=on_error)
                    rows.append(DetectorRow(name, detector, evaluation))
    return rows
