r"""Which patches help to tell classes apart: λ, input size, number of parts, normalisation, classifier, errors of the points.

    python benchmarks/choose_patches.py CUB_FOLDER

Training images alone: cross-validated accuracy of a linear classifier, C chosen among the same folds for every row (which
favours all rows alike). One thing at a time is changed from the table's settings. "points moved" replaces detectors of a
known mean error: marked parts are moved by a Gaussian whose mean length is that share of the box's diagonal.
Features are kept in a file, so a killed run continues.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partscope import PartDataset, PartPredictions, load_dataset
from partscope.allocator import reuse_freed_memory
from partscope.backbones import get_embedder
from partscope.classification.linear import fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.feature_cache import FeatureCache
from record import dataset_name, environment, write_json

SCALES = {"1/25": 1 / 25, "1/16": 1 / 16, "1/9": 1 / 9, "1/6": 1 / 6, "1/4": 1 / 4}
SIZES = (128, 160, 224)
MOVED = (0.05, 0.10, 0.16)
COUNTS = (1, 2, 4, 8, 15)
#: Order in which the curve against the number of parts adds them: spread over the bird, so that no number is all head.
ORDER = ("beak", "tail", "breast", "crown", "left wing", "throat", "belly", "back")


def moved(dataset: PartDataset, share: float, seed: int) -> PartPredictions:
    """Marked parts with an error of this mean length, as a share of the box's diagonal; inside the image."""
    rng = np.random.default_rng(seed)
    diagonal = np.linalg.norm(dataset.boxes[:, 2:], axis=1)[:, None, None]
    # A Gaussian of two coordinates has the mean length σ·√(π/2).
    noise = rng.normal(size=dataset.points.shape) * share * diagonal / math.sqrt(math.pi / 2)
    points = np.clip(dataset.points + noise, 0.0, dataset.sizes[:, None] - 1.0)
    found = np.isfinite(points).all(axis=2)
    return PartPredictions(dataset.parts, dataset.ids, points, found, found.astype(float), found)


def rows(dataset: PartDataset) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield what is compared: its group, its name, the options of PartFeatures (or `moved`), and the classifier."""
    base = {"source": "ground_truth"}
    for size in (*SIZES, 320):
        yield "input size, no parts", f"{size} px", {"source": "none", "input_size": size}, "svm"
    for size in SIZES:
        yield "input size, marked parts", f"{size} px", {**base, "input_size": size}, "svm"
    for region in ("image", "crop"):
        for name, value in SCALES.items():
            yield f"λ, marked parts, {region}", name, {**base, "region": region, "scale": value}, "svm"
        for source in ("none", "ground_truth", "prior", "grid", "random"):
            yield f"source, {region}", source, {"source": source, "region": region}, "svm"
    for share in MOVED:
        yield "points moved", f"{share:.2f} of the box's diagonal", {"moved": share}, "svm"
    order = [*ORDER, *(part for part in dataset.parts if part not in ORDER)]
    for count in COUNTS:
        chosen: Sequence[str] = order[:count]
        yield "number of parts", f"{count}", {**base, "parts": chosen}, "svm"
    for normalize in ("none", "l2"):
        yield "normalisation", normalize, {**base, "normalize": normalize}, "svm"
    yield "left/right pairs", "pooled", {**base, "pool_pairs": True}, "svm"
    yield "whole", "left out", {**base, "whole": False}, "svm"
    for classifier in ("svm", "logistic"):
        yield "classifier", classifier, base, classifier


def measure(dataset: PartDataset, embedder: str, cache: FeatureCache, seed: int) -> list[dict[str, Any]]:
    """Measure all rows on training images."""
    labels = [sample.label for sample in dataset]
    networks: dict[int | None, Any] = {}
    known: dict[str, dict[str, Any]] = {}
    result = []
    for group, name, given, classifier in rows(dataset):
        options = {"normalize": "none", "region": "image", **given}
        key = repr((classifier, sorted(options.items())))
        if key not in known:
            size, share = options.pop("input_size", None), options.pop("moved", None)
            if size not in networks:
                networks[size] = get_embedder(embedder, input_size=size)
            if share is not None:
                options.update(source="estimated", predictions=moved(dataset, share, seed))
            features = PartFeatures(backbone=networks[size], cache=cache, random_state=seed, **options)
            table = features.fit(dataset).transform(dataset)
            model = fit_linear(table, labels, classifier=classifier, random_state=seed)
            best = max(model.tried, key=lambda one: (one.right, -one.C))
            known[key] = {"accuracy": best.accuracy, "right": best.right, "images": best.images, "C": best.C}
        row = {"group": group, "name": name, **known[key]}
        print(f"{group:32} {name:28} {100 * row['accuracy']:5.1f}  C {row['C']:g}", flush=True)
        result.append(row)
    return result


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=300, help="training images drawn, by class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("work-patches.sqlite"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "patches.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reuse_freed_memory()
    dataset = load_dataset("cub", options.data).train.limit(options.images, options.seed)
    with FeatureCache(options.cache) as cache:
        measured = measure(dataset, options.embedder, cache, options.seed)
    facts = environment(options.data, images=len(dataset), seed=options.seed, embedder=options.embedder)
    write_json(
        options.out, {**facts, "data set": dataset_name(options.data), "split": "train", "rows": measured}
    )


if __name__ == "__main__":
    main()
