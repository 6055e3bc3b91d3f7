r"""Which patches help to tell classes apart: λ, input size, number of parts, normalisation, classifier, errors of the points.

    python benchmarks/choose_patches.py CUB_FOLDER
    python benchmarks/choose_patches.py --figure

Training images alone, drawn by class: held-out accuracy of a linear classifier in five folds, without mirror images. C is
chosen among the same images for every row, which favours all rows alike. One thing at a time is changed from a base:
λ of the paper, 160 pixels, features not normalised, SVM. Rows "moved by s" stand for detectors of a known mean error: marked parts are moved by a Gaussian whose mean length
is the share s of the box's diagonal. Each row keeps which images it has right, so that any two can be compared; features
and finished rows are kept, so that a killed run continues. `--figure` compares and draws what the result file holds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from partscope import PartDataset, PartPredictions, load_dataset
from partscope.allocator import reuse_freed_memory
from partscope.backbones import get_embedder
from partscope.classification.linear import fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.feature_cache import FeatureCache
from partscope.metrics.bootstrap import paired_bootstrap
from partscope.metrics.classification import accuracy_interval, mcnemar
from record import dataset_name, environment, write_json

#: λ by region, the paper's first.
SCALES = {
    "image": ("1/9", "1/4", "1/16", "1/25", "1/6"),
    "crop": ("1/4", "1/9", "4/9", "1/16"),
}
MOVED_SCALES = ("1/9", "1/4", "1/16")
SIZES = (128, 160, 224)
MOVED = (0.16, 0.06)
COUNTS = (1, 2, 4, 8, 15)
#: Order in which the curve against the number of parts adds them: spread over the bird, so that no number is all head.
ORDER = ("beak", "tail", "breast", "crown", "left wing", "throat", "belly", "back")
FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "accuracy-patches.png"
RESULT = Path(__file__).parent / "results" / "patches.json"
Row = dict[str, Any]


def moved(dataset: PartDataset, share: float, seed: int) -> PartPredictions:
    """Marked parts with an error of this mean length, as a share of the box's diagonal; inside the image."""
    rng = np.random.default_rng(seed)
    diagonal = np.linalg.norm(dataset.boxes[:, 2:], axis=1)[:, None, None]
    # A Gaussian of two coordinates has the mean length σ·√(π/2).
    noise = rng.normal(size=dataset.points.shape) * share * diagonal / math.sqrt(math.pi / 2)
    points = np.clip(dataset.points + noise, 0.0, dataset.sizes[:, None] - 1.0)
    found = np.isfinite(points).all(axis=2)
    return PartPredictions(dataset.parts, dataset.ids, points, found, found.astype(float), found)


def plan(parts: tuple[str, ...]) -> Iterator[tuple[str, str, Row]]:
    """Yield what is compared: its group, its name, and its settings beside the base's."""
    order = [*(part for part in ORDER if part in parts), *(part for part in parts if part not in ORDER)]
    for region, (default, *_) in SCALES.items():
        where = {"region": region}
        yield f"no parts, {region}", "160 px", {"source": "none", **where}
        yield f"λ, marked parts, {region}", default, {"scale": default, **where}
        for normalize in ("none", "l2"):
            for classifier in ("svm", "logistic"):
                given = {"normalize": normalize, "classifier": classifier, **where}
                yield f"normalisation and classifier, {region}", f"{normalize}, {classifier}", given
        for count in COUNTS:
            yield f"number of parts, {region}", f"{count}", {"parts": order[:count], **where}
    yield "left/right pairs", "apart", {}
    yield "left/right pairs", "pooled", {"pool_pairs": True}
    yield "whole", "with", {}
    yield "whole", "left out", {"whole": False}
    for region, (_, *others) in SCALES.items():
        for scale in others:
            yield f"λ, marked parts, {region}", scale, {"scale": scale, "region": region}
    for share in MOVED:
        for scale in MOVED_SCALES:
            yield f"λ, moved by {share:.2f}, image", scale, {"moved": share, "scale": scale}
        for count in COUNTS:
            given = {"moved": share, "parts": order[:count]}
            yield f"number of parts, moved by {share:.2f}", f"{count}", given
        for normalize in ("none", "l2"):
            given = {"moved": share, "normalize": normalize}
            yield f"normalisation, moved by {share:.2f}", normalize, given
    for size in (128, 224, 320):
        yield "no parts, image", f"{size} px", {"source": "none", "input_size": size}
    for size in SIZES:
        yield "input size, marked parts, image", f"{size} px", {"input_size": size}


def held_out(table: NDArray[np.float32], labels: NDArray[Any], classifier: str, seed: int) -> Row:
    """Accuracy on held-out images, with its interval, C, and which images are right, in the data set's order."""
    model = fit_linear(table, labels, classifier=classifier, random_state=seed)
    right = np.zeros(len(labels), dtype=bool)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(table, labels):
        part = fit_linear(table[train], labels[train], classifier=classifier, C=model.C, random_state=seed)
        right[test] = part.predict(table[test]) == labels[test]
    return {
        "accuracy": float(right.mean()),
        "ci95": list(accuracy_interval(right)),
        "C": model.C,
        "right": "".join("01"[int(one)] for one in right),
    }


def measure(dataset: PartDataset, options: argparse.Namespace, facts: Row) -> list[Row]:
    """Measure all rows; each is written as soon as it is known."""
    labels = np.array(dataset.labels)
    result = [] if not options.out.exists() else _same(json.loads(options.out.read_text("utf-8")), facts)
    known = {json.dumps(row["settings"]): row for row in result}
    networks: dict[int, Any] = {}
    with FeatureCache(options.cache) as cache:
        for group, name, changes in plan(dataset.parts):
            region = changes.get("region", "image")
            settings = {
                "source": "ground_truth", "region": region, "scale": SCALES[region][0], "input_size": 160,
                "normalize": "none", "classifier": "svm", **changes,
            }  # fmt: skip
            if any(row["group"] == group and row["name"] == name for row in result):
                continue
            key = json.dumps(settings)
            if key not in known:
                given = dict(settings)
                size, share, classifier = (given.pop(k, None) for k in ("input_size", "moved", "classifier"))
                if size not in networks:
                    networks[size] = get_embedder(options.embedder, input_size=size)
                if share is not None:
                    given |= {"source": "estimated", "predictions": moved(dataset, share, options.seed)}
                given["scale"] = float(Fraction(given["scale"]))
                features = PartFeatures(
                    backbone=networks[size], cache=cache, random_state=options.seed, **given
                )
                table = features.fit(dataset).transform(dataset)
                known[key] = held_out(table, labels, classifier, options.seed)
            row = {"group": group, "name": name, "settings": settings, **_measured(known[key])}
            result.append(row)
            write_json(options.out, {**facts, "rows": result})
            low, high = row["ci95"]
            print(
                f"{group:36} {name:16} {100 * row['accuracy']:5.1f} [{100 * low:.1f}, {100 * high:.1f}]  C {row['C']:g}",
                flush=True,
            )
    return result


def _measured(row: Row) -> Row:
    return {name: row[name] for name in ("accuracy", "ci95", "C", "right")}


def _same(document: Row, facts: Row) -> list[Row]:
    """The rows of an earlier run of the same measurement."""
    names = ("data set", "images", "seed", "embedder", "split")
    return list(document["rows"]) if all(document.get(name) == facts[name] for name in names) else []


#: What is compared beyond the groups' own rows: (group, name) against (group, name).
PAIRS = (
    (("λ, marked parts, image", "1/9"), ("no parts, image", "160 px")),
    (("λ, marked parts, crop", "1/4"), ("no parts, crop", "160 px")),
    (("λ, moved by 0.06, image", "1/9"), ("no parts, image", "160 px")),
    (("λ, moved by 0.16, image", "1/9"), ("no parts, image", "160 px")),
)
#: The row of each group that the others are compared with: the base.
BASES = {
    "λ, marked parts, image": "1/9", "λ, marked parts, crop": "1/4", "λ, moved by 0.06, image": "1/9",
    "λ, moved by 0.16, image": "1/9", "normalisation and classifier, image": "none, svm",
    "normalisation and classifier, crop": "none, svm", "normalisation, moved by 0.16": "none",
    "normalisation, moved by 0.06": "none",
    "no parts, image": "160 px",
    "left/right pairs": "apart", "whole": "with", "input size, marked parts, image": "160 px",
}  # fmt: skip


def comparisons(rows: list[Row]) -> list[Row]:
    """Paired differences over the same held-out images, each row of a group against the base."""
    known = {(row["group"], row["name"]): row for row in rows}
    pairs = [(k, (k[0], BASES[k[0]])) for k in known if k[0] in BASES and k[1] != BASES[k[0]]]
    result = []
    for first, second in [*pairs, *PAIRS]:
        if first not in known or second not in known:
            continue
        a, b = (np.array(list(known[key]["right"])) == "1" for key in (first, second))
        gain = paired_bootstrap((~b)[:, None].astype(float), (~a)[:, None].astype(float))
        result.append(
            {
                "first": list(first),
                "second": list(second),
                "difference": gain.difference,
                "ci95": list(gain.ci),
                "p": mcnemar(a, b).p,
            }
        )
    return result


def draw(document: Row, path: Path) -> None:
    """Accuracy against λ and against the number of parts."""
    from partscope.figures import Curve, figure_accuracy, save_figure

    def curve(group: str, value: type) -> Curve:
        rows = [row for row in document["rows"] if row["group"] == group]
        rows.sort(key=lambda row: value(row["name"]))
        return Curve(
            [float(value(row["name"])) for row in rows],
            [row["accuracy"] for row in rows],
            [row["ci95"] for row in rows],
        )

    shares = [f"moved by {share:.2f}" for share in MOVED]
    names = ["image, marked parts", *(f"image, {share}" for share in shares), "box, marked parts"]
    by_scale = [
        "λ, marked parts, image",
        *(f"λ, {share}, image" for share in shares),
        "λ, marked parts, crop",
    ]
    by_count = [
        "number of parts, image",
        *(f"number of parts, {share}" for share in shares),
        "number of parts, crop",
    ]
    alone = {row["group"]: row["accuracy"] for row in document["rows"] if row["name"] == "160 px"}
    whole = {"image, no parts": "no parts, image", "box, no parts": "no parts, crop"}
    groups = {row["group"] for row in document["rows"]}

    def panel(curves: list[str], value: type) -> dict[str, Curve]:
        return {
            name: curve(group, value) for name, group in zip(names, curves, strict=True) if group in groups
        }

    figure = figure_accuracy(
        {"λ": panel(by_scale, Fraction), "number of parts": panel(by_count, int)},
        baselines={name: alone[group] for name, group in whole.items() if group in alone},
        title="Held-out training images classified right, against the patches' size and number",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def main() -> None:
    """Parse, measure, write, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument(
        "--figure", action="store_true", help="measure nothing, compare and draw the rows of the result file"
    )
    parser.add_argument("--embedder", default="efficientnet_lite0")
    parser.add_argument("--images", type=int, default=250, help="training images drawn, by class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("work-patches.sqlite"))
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    if options.data is not None:
        torch.set_num_threads(options.threads)
        reuse_freed_memory()
        dataset = load_dataset("cub", options.data).train.limit(options.images, options.seed)
        facts = {
            **environment(options.data, images=len(dataset), seed=options.seed, embedder=options.embedder),
            "data set": dataset_name(options.data),
            "split": "train",
        }
        measure(dataset, options, facts)
    elif not options.figure:
        parser.error("give the data set's folder, or --figure")
    document = json.loads(options.out.read_text(encoding="utf-8"))
    document["comparisons"] = comparisons(document["rows"])
    write_json(options.out, document)
    draw(document, FIGURE if options.out == RESULT else options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
