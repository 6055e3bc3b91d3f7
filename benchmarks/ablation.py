"""Ablation without a box: selection rule, normalisation, colour reduction, cut and centre, one changed at a time.

    python benchmarks/ablation.py CUB_FOLDER --backbone squeezenet1_1

Five-fold cross-validation over training images: channels are selected on four fifths, errors measured on the last. All
variants see the same folds, and each is compared with the base by a paired bootstrap over images. `partscope reproduce table1
--ablation` measures the same on the test split, where there is time for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from partscope import get_backbone, load_dataset
from partscope.dataset import PartDataset
from partscope.metrics import bootstrap_interval, diagonal_error, paired_bootstrap
from partscope.reproduce import Variant, ablation_variants
from partscope.scan import Scan, scan
from partscope.selection import rank_channels
from partscope.shortlist import shortlist_channels
from record import environment, write_json

FOLDS = 5


def held_out_errors(scanned: Scan, variant: Variant, data: PartDataset, fold: np.ndarray) -> np.ndarray:
    """(N, P) normalised errors, each image's from channels that were selected on the other folds; NaN if not visible."""
    centres = scanned.of(variant.spec)
    errors = np.full(data.visible.shape, np.nan)
    for k in range(FOLDS):
        train, rest = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        ranking = rank_channels(
            centres[train],
            data[train],
            channels=scanned.channels,
            rule=variant.rule,
            normalise=variant.normalise,
        )
        held = data[rest]
        found = centres[rest][:, ranking.order[:, 0]]
        # A channel without a centre in an image counts as pointing at its middle.
        found = np.where(np.isnan(found), held.sizes[:, None] / 2, found)
        scale = np.hypot(held.boxes[:, 2], held.boxes[:, 3])
        known = held.visible & (ranking.images > 0)
        errors[rest] = np.where(known, diagonal_error(found, held.points, scale), np.nan)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--shortlist", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, default=Path("work-ablation"), help="where finished work is kept"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load_dataset("cub", options.data).train.limit(options.images, options.seed)
    backbone = get_backbone(options.backbone, weights=options.weights)
    variants = ablation_variants(backbone.cut)
    channels = shortlist_channels(data, backbone, options.shortlist)
    specs = list(dict.fromkeys(variant.spec for variant in variants))
    scanned = scan(
        data,
        backbone,
        specs,
        channels=channels.tolist(),
        folder=options.folder,
        on_error="raise",
        progress=True,
    )
    fold = np.random.default_rng(options.seed).permutation(np.arange(len(data)) % FOLDS)
    base: np.ndarray | None = None
    rows = []
    for variant in variants:
        errors = held_out_errors(scanned, variant, data, fold)
        base = errors if base is None else base
        difference = paired_bootstrap(base, errors, random_state=options.seed)
        low, high = bootstrap_interval(errors, random_state=options.seed)
        rows.append(
            {
                "name": variant.name,
                "error": round(float(np.nanmean(errors)), 4),
                "ci95": [round(float(low), 4), round(float(high), 4)],
                "better than the base by": round(float(difference.difference), 4),
                "difference ci95": [round(float(value), 4) for value in difference.ci],
            }
        )
        print(rows[-1], flush=True)
    facts = environment(
        options.data,
        seed=options.seed,
        images=len(data),
        folds=FOLDS,
        cut=backbone.cut,
        layer=backbone.layer,
        input_size=backbone.input_size,
        shortlist=options.shortlist,
        channels=len(channels),
    )
    out = Path(__file__).parent / "results" / f"ablation_{options.backbone}.json"
    write_json(out, {**facts, "backbone": options.backbone, "rows": rows})


if __name__ == "__main__":
    main()
