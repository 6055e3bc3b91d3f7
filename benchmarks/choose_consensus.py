"""Choose two constants of the consensus of exemplars on training images, each left out; the test split is not read.

    python benchmarks/choose_consensus.py CUB_FOLDER [--images N]

The deviation of a part from an exemplar (`FINE_SPREAD`) and the weight of a part's own evidence (`OWN_WEIGHT`) are varied. The
evidence of each image comes from discriminants of the other groups of images, its own arrangement takes no part in its consensus,
and the refinement leaves it out: what every fit of the linear detector does anyway. One fit serves all rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from partscope import PartDetector, load_dataset
from partscope.arrangement import consensus, decoding, model
from partscope.arrangement.shapes import unit_of
from partscope.detectors import LinearDetector
from partscope.detectors.linear_arranging import arrange
from partscope.detectors.linear_learning import Learned
from partscope.metrics import bootstrap_interval, diagonal_error, exchanged_sides, wrong_sides
from record import environment, write_json

#: (own weight, fine spread); the first row is what stood there before.
ROWS = ((0.5, 0.07), (0.5, 0.1), (0.5, 0.15), (0.7, 0.07), (0.7, 0.1), (0.7, 0.13), (0.6, 0.12), (0.6, 0.15))


class Keeping(LinearDetector):
    """Keeps what a fit has learned: the evidence and the features of the images that were left out in turn."""

    learned: Learned

    def _conclude(self, learned: Learned) -> None:
        self.learned = learned
        super()._conclude(learned)


def left_out(detector: Keeping, own: float, fine: float) -> dict[str, Any]:
    """Errors of the refined points of the training images, each left out, with these constants."""
    caught: dict[str, Any] = {}

    def spy(decoded: Any, *arguments: Any) -> Any:
        fitted, shifts, votes = refine(decoded, *arguments)
        size = np.array([found.size for found in decoded])[:, None, None]
        caught.update(points=np.array([found.local for found in decoded]) + shifts * size, votes=votes)
        return fitted, shifts, votes

    refine, record = model.fit_refinement, detector.learned.record
    with (
        patch.object(decoding, "OWN_WEIGHT", own),
        patch.object(consensus, "FINE_SPREAD", fine),
        patch.object(model, "fit_refinement", spy),
    ):
        arrange(
            record, detector.grids_, "image", detector.mirror_, detector._mirroring, detector.learned.held
        )
    held = record.held
    points, visible = record.points[held], record.visible[held]
    diagonal = np.linalg.norm(record.boxes[held, 2:], axis=1)
    found = caught["points"] * unit_of(record.sizes[held])[:, None, None]
    errors = diagonal_error(found, points, diagonal)
    pairs = [(i, int(j)) for i, j in enumerate(detector.mirror_) if i < j]
    both, one = exchanged_sides(found, points, pairs, diagonal), wrong_sides(caught["votes"], visible, pairs)
    return {
        "own weight": own,
        "fine spread": fine,
        "mean": float(np.nanmean(errors)),
        "ci95": list(bootstrap_interval(errors)),
        "median": float(np.nanmedian(errors)),
        "exchanged sides": (both.wrong + one.wrong) / max(both.total + one.total, 1),
        "per part": dict(zip(detector.parts_, np.nanmean(errors, axis=0).tolist(), strict=True)),
    }


def main() -> None:
    """Measure all rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, help="training images drawn; all by default")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "settings_consensus.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    train = load_dataset("cub", options.folder).train.limit(options.images)
    detector = Keeping().fit(train)
    prior = PartDetector("prior").fit(train).evaluate(train)
    facts = environment(
        options.folder, images=len(train), input_size=detector.backbone_.input_size, prior=prior.error
    )
    rows: list[dict[str, Any]] = []
    for own, fine in ROWS:
        rows.append(left_out(detector, own, fine))
        write_json(options.json, {**facts, "rows": rows})
        print({name: value for name, value in rows[-1].items() if name != "per part"}, flush=True)


if __name__ == "__main__":
    main()
