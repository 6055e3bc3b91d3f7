"""Choose each network's default layer, input size and cut on at most 40 training images, by cross-validation.

    python benchmarks/choose_settings.py CUB_FOLDER --backbone squeezenet1_1 [--weights FILE]

For every candidate (layer, input size) the channels are shortlisted by their activation centres, their gradient maps are
computed once, and every centre variant is scored: select channels (Eq. 3) on four fifths of the images, measure the
normalised error on the last fifth, five folds, four times over. Nothing of the test split is read. Rows are written as they
are finished; a second run continues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from partscope import get_backbone, load_dataset
from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.metrics import diagonal_error
from partscope.scan import scan
from partscope.selection import rank_channels
from partscope.shortlist import shortlist_channels
from record import environment, write_json

CANDIDATES = {
    "squeezenet1_1": [("features.12", 320), ("features.11", 320), ("features.12", 227), ("features.11", 227)],
    "efficientnet_lite0": [
        ("blocks.6.0.bn2", 320),
        ("blocks.5.3.bn2", 320),
        ("blocks.6.0.bn2", 224),
        ("blocks.5.3.bn2", 224),
    ],
}
SPECS = {
    "mixture": CentreSpec(),
    "mixture, cut 0.8": CentreSpec(quantile=0.8),
    "mixture, cut 0.95": CentreSpec(quantile=0.95),
    "maximum": CentreSpec(centre="maximum"),
    "centroid": CentreSpec(centre="centroid"),
    "activation centroid": CentreSpec(centre="centroid", quantile=0.0, maps="activation"),
}
PER_PART = 4
FOLDS, REPEATS = 5, 4


def held_out_error(centres: np.ndarray, data: PartDataset, channels: np.ndarray) -> float:
    """Mean normalised error on held-out images of the channels that Eq. 3 selects on the others."""
    errors = []
    for repeat in range(REPEATS):
        fold = np.random.default_rng(repeat).permutation(np.arange(len(data)) % FOLDS)
        for k in range(FOLDS):
            train, rest = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            ranking = rank_channels(centres[train], data[train], channels=channels)
            found = centres[rest][:, ranking.order[:, 0]]
            held = data[rest]
            # A channel without a centre in an image counts as pointing at its middle.
            found = np.where(np.isnan(found), held.sizes[:, None] / 2, found)
            error = diagonal_error(found, held.points, np.hypot(*held.boxes[:, 2:].T))
            errors.append(error[held.visible & (ranking.images > 0)])
    return float(np.mean(np.concatenate(errors)))


def row_for(backbone: Backbone, data: PartDataset) -> dict[str, object]:
    channels = shortlist_channels(data, backbone, PER_PART)
    scanned = scan(data, backbone, list(SPECS.values()), channels=channels.tolist(), on_error="raise")
    return {
        "layer": backbone.layer,
        "input_size": backbone.input_size,
        "grid": list(backbone.grid),
        "channels compared": len(channels),
        "held-out error": {
            name: round(held_out_error(scanned.of(spec), data, channels), 4) for name, spec in SPECS.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", choices=sorted(CANDIDATES), required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = options.out or Path(__file__).parent / "results" / f"settings_{options.backbone}.json"
    data = load_dataset("cub", options.data).train.limit(options.images)
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    known = {(row["layer"], row["input_size"]) for row in rows}
    for layer, size in CANDIDATES[options.backbone]:
        if (layer, size) in known:
            continue
        backbone = get_backbone(options.backbone, layer=layer, input_size=size, weights=options.weights)
        rows.append(row_for(backbone, data))
        print(rows[-1], flush=True)
        facts = environment(options.data, images=len(data), seed=0, shortlist=PER_PART)
        write_json(out, {**facts, "backbone": options.backbone, "rows": rows})


if __name__ == "__main__":
    main()
