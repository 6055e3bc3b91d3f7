"""Choose the spatial model by cross-validation over images of the training split; the test split is not read.

    python benchmarks/choose_arrangement.py CUB_FOLDER [--images N] [--folds 5] [--cache FOLDER]

Every model gets the same held-out evidence as likelihood ratios, and points come from its answer by the same decoding, once
as they are and once refined. Rows are written as they are finished; with `--cache` a second run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arrangement_models.evidence import INPUT_SIZE, Evidence, evidence_of
from arrangement_models.exemplars import OWN_WEIGHTS, SPREADS, Alone, Exemplars, constants
from arrangement_models.lowrank import LowRank
from arrangement_models.measure import (
    Answer,
    SpatialModel,
    alone,
    cross_validate,
    difference,
    errors_of,
    folds_of,
    located,
    prior,
    row,
)
from arrangement_models.pairwise import Pairwise
from arrangement_models.star import Star
from arrangement_models.tree import Tree
from partscope import load_dataset
from partscope.arrangement.likelihood import calibrate, likelihood_ratios
from partscope.arrangement.shapes import unit_of
from partscope.atomic import atomic_path
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector
from partscope.images import load_image
from record import environment, write_json
from timing import interleaved, machine_load, ratio

#: What is compared, by family. Numbers of poses, components and directions, and weights, are chosen within a family first, on
#: images of one fold; the best of each family enters the comparison on all folds.
FAMILIES: dict[str, list[Callable[[], SpatialModel]]] = {
    "none": [Alone],
    "exemplars": [Exemplars],
    "star": [lambda: Star(1), lambda: Star(8), lambda: Star(32)],
    "tree": [lambda: Tree(1), lambda: Tree(8), lambda: Tree(32)],
    "low rank": [lambda: LowRank(1, 8), lambda: LowRank(8, 2), lambda: LowRank(8, 4), lambda: LowRank(32, 2)],
    "pairwise": [lambda: Pairwise(1), lambda: Pairwise(2), lambda: Pairwise(4)],
}

#: Images on which settings are chosen.
SCREENED = 60

#: Images whose evidence is timed, and images that the timed detector is fitted on.
TIMED, FITTED = 8, 24


def screened(model: SpatialModel, data: Evidence, folds: int, cache: Path | None) -> float:
    """Return the model's mean error, without the refinement, in the first images of the first fold."""
    file = _file(cache, model, data, "settings")
    if file is not None and file.exists():
        with np.load(file) as stored:
            return float(stored["mean"])
    fold = folds_of(len(data), folds)
    train = data[fold != 0]
    values = calibrate(train.maps, train.points, train.visible)
    model.fit(train)
    chosen = data[np.flatnonzero(fold == 0)[:SCREENED]]
    points = np.array(
        [
            located(model, likelihood_ratios(maps, values), size).local * unit_of(size) / size
            for maps, size in zip(chosen.maps, chosen.sizes, strict=True)
        ]
    )
    mean = float(np.nanmean(errors_of(Answer(points, np.zeros(points.shape[:2])), chosen)))
    if file is not None:
        with atomic_path(file) as path:
            np.savez(path, mean=np.array(mean))
    return mean


def answers(model: SpatialModel, data: Evidence, folds: int, cache: Path | None) -> tuple[Answer, Answer]:
    """Return the model's answers for all images, from the cache where it has them."""
    file = _file(cache, model, data, str(folds))
    if file is not None and file.exists():
        with np.load(file) as stored:
            values = stored["values"]
        return Answer(values[0, ..., :2], values[0, ..., 2]), Answer(values[1, ..., :2], values[1, ..., 2])
    both = cross_validate(model, data, folds_of(len(data), folds))
    if file is not None:
        with atomic_path(file) as path:
            stacked = [np.concatenate([a.points, a.visibility[..., None]], axis=2) for a in both]
            np.savez(path, values=np.array(stacked))
    return both


def _file(cache: Path | None, model: SpatialModel, data: Evidence, what: str) -> Path | None:
    return None if cache is None else cache / f"{model.name} {len(data)} {what}.npz".replace(" ", "_")


def costs(
    models: Sequence[SpatialModel], data: PartDataset, evidence: Evidence, repeats: int
) -> dict[str, Any]:
    """Return each model's time per image over that of the linear evidence (the forward pass included), measured side by side."""
    detector = LinearDetector(arrangement="none", input_size=INPUT_SIZE, shrinkage=0.1, flips=False).fit(
        data[:FITTED]
    )
    pictures = [load_image(sample.image) for sample in data[:TIMED]]
    values = calibrate(evidence.maps, evidence.points, evidence.visible)

    def infer(model: SpatialModel) -> None:
        for maps, size in zip(evidence.maps[:TIMED], evidence.sizes[:TIMED], strict=True):
            located(model, likelihood_ratios(maps, values), size)

    calls: dict[str, Callable[[], object]] = {
        "linear evidence": lambda: [detector.evidence(picture) for picture in pictures]
    }
    for model in models:
        model.fit(evidence)
        calls[model.name] = lambda model=model: infer(model)
    times = interleaved(calls, repeats)
    base = times["linear evidence"]
    return {
        "linear evidence, seconds per image": [value / TIMED for value in base],
        "ratio": {name: ratio(taken, base) for name, taken in times.items() if name != "linear evidence"},
        "images": TIMED,
        "load": machine_load(),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure every model and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=375, help="training images drawn")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="of the timing; 0 leaves it out")
    parser.add_argument("--cache", type=Path, help="folder for evidence and answers, to go on from")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "arrangement_models.json"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dataset = load_dataset("cub", options.folder).train.limit(options.images)
    if options.cache is not None:
        options.cache.mkdir(parents=True, exist_ok=True)
    data = evidence_of(dataset, None if options.cache is None else options.cache / "evidence.npz")
    fold = folds_of(len(data), options.folds)
    result = environment(options.folder, images=len(data), folds=options.folds, input_size=INPUT_SIZE)
    result["rows"] = rows = []
    errors: dict[str, np.ndarray] = {}

    def note(name: str, answer: Answer) -> None:
        errors[name] = errors_of(answer, data)
        rows.append(row(name, answer, data))
        best = min((other for other in rows[1:]), key=lambda other: other["mean"], default=rows[0])["model"]
        result["best"] = best
        for other in rows:
            other["difference to the best"] = difference(errors[other["model"]], errors[best])
        write_json(options.json, result)
        print(f"{name:45s} {rows[-1]['mean']:.4f} {rows[-1]['exchanged sides']:.3f}", flush=True)

    note("static prior", prior(data, fold))
    note("each part alone, soft maximum", alone(data, fold))
    result["settings"] = {"images": SCREENED}
    result["settings"]["exemplars"] = {}
    for spread in SPREADS:
        for own in OWN_WEIGHTS:
            with constants(spread, own):
                mean = screened(Exemplars(), data, options.folds, None)
            result["settings"]["exemplars"][f"deviation {spread:g}, own weight {own:g}"] = mean
    models = []
    for family, candidates in FAMILIES.items():
        family_models = [make() for make in candidates]
        if len(family_models) > 1:
            means = {
                model.name: screened(model, data, options.folds, options.cache) for model in family_models
            }
            result["settings"][family] = means
            print(family, means, flush=True)
            family_models.sort(key=lambda model, means=means: means[model.name])
        models.append(family_models[0])
    for model in models:
        plain, refined = answers(model, data, options.folds, options.cache)
        note(model.name, plain)
        note(f"{model.name}, refined", refined)
    if options.repeats:
        result["costs"] = costs(models, dataset, data, options.repeats)
        write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
