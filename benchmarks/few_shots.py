"""Error against the number of marked images: static prior, channel, linear, linear with the arrangement of parts.

    python benchmarks/few_shots.py CUB_FOLDER [--methods prior linear channel] [--cache /tmp/grids]

Whole image, no box; all test images, for `channel` a fixed random subset. Draws are stratified by class and nested: of one
seed, the 5 images are among the 10. Every finished draw is kept in `--folder`, and a second run continues. The JSON and the
figure are written after each.

Gradients are what `channel` costs, so all of its draws share one scan: the candidates are the best channels by *activation*
centres over all training images, a hint that a user with 3 marked images does not have. Its rows are therefore an upper
bound on how well it can do. `ChannelDetector` itself would make this shortlist from the draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from few_shots_figure import draw_figure
from finished import Finished, code_hash
from linear import OPTIONS
from memo import Memo, memo_detector, without_arrangement
from partscope import PartDetector, get_backbone, load_dataset
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.evaluation import evaluate
from partscope.metrics import bootstrap_interval
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.reproduce import predictions_of
from partscope.scan import scan
from partscope.selection import rank_channels
from partscope.shortlist import shortlist_channels
from record import environment, write_json

SIZES = (3, 5, 10, 20, 50, 100, 200)
SEEDS = (0, 1, 2, 3, 4)
METHODS = ("prior", "channel", "linear")
#: Names in the tables; the linear detector's two rows come from one fit.
SPATIAL = "linear + spatial"
HERE = Path(__file__).parent


def nested_draws(train: PartDataset, sizes: Sequence[int], seed: int) -> dict[int, PartDataset]:
    """Draws of every size below that of `train`, each a stratified draw from the next larger one."""
    drawn: dict[int, PartDataset] = {}
    larger = train
    for size in sorted((size for size in sizes if size < len(train)), reverse=True):
        larger = drawn[size] = larger.limit(size, seed)
    return dict(sorted(drawn.items()))


def all_draws(
    train: PartDataset, sizes: Sequence[int], seeds: Sequence[int]
) -> list[tuple[int, int, PartDataset]]:
    """(images, seed, data) of every draw, small ones first, and all training images as a single one."""
    draws = [(n, seed, data) for seed in seeds for n, data in nested_draws(train, sizes, seed).items()]
    draws.sort(key=lambda draw: draw[:2])
    return [*draws, (len(train), 0, train)]


def run_prior(draws: list[tuple[int, int, PartDataset]], test: PartDataset, done: Finished) -> Iterator[str]:
    for images, seed, data in draws:
        if not done.has("prior", images, seed):
            done.put("prior", images, seed, PartDetector("prior", region="image").fit(data).evaluate(test))
    yield "prior"


def run_linear(
    draws: list[tuple[int, int, PartDataset]], test: PartDataset, done: Finished, memo: Memo
) -> Iterator[str]:
    Remembering = memo_detector(memo)
    for images, seed, data in draws:
        if done.has(SPATIAL, images, seed):
            continue
        detector = Remembering(arrangement="exemplars", **OPTIONS).fit(data)
        for method, one in (("linear", without_arrangement(detector)), (SPATIAL, detector)):
            facts = {"shrinkage": one.shrinkage_, "mirrored": one.flips_used_}
            done.put(method, images, seed, one.evaluate(test), **facts)
        yield f"linear {images} {seed}"


def run_channel(
    draws: list[tuple[int, int, PartDataset]],
    train: PartDataset,
    test: PartDataset,
    done: Finished,
    folder: Path,
    per_part: int,
) -> Iterator[str]:
    backbone = get_backbone("efficientnet_lite0")
    spec = CentreSpec(quantile=backbone.cut)
    channels = shortlist_channels(train, backbone, per_part, folder=folder / "shortlist", progress=True)
    scanned = scan(
        train, backbone, [spec], channels=channels.tolist(), folder=folder / "train", on_error="raise",
        progress=True, description=f"train, {len(channels)} channels",
    )  # fmt: skip
    row_of = {name: i for i, name in enumerate(scanned.ids)}
    rankings = {
        (images, seed): rank_channels(
            scanned.of(spec)[[row_of[name] for name in data.ids]], data, channels=channels
        )
        for images, seed, data in draws
    }
    winners = sorted({int(k) for ranking in rankings.values() for k in ranking.best if k >= 0})
    tested = scan(
        test, backbone, [spec], channels=winners, folder=folder / f"test-{len(winners)}", on_error="raise",
        progress=True, description=f"test, {len(winners)} channels",
    )  # fmt: skip
    for images, seed, data in draws:
        found: PartPredictions = predictions_of(tested, spec, rankings[images, seed])
        evaluation = evaluate(
            found,
            test,
            StaticPrior.fit(data),
            fallback="image",
            info={"method": "channel", "region": "image"},
        )
        done.put("channel", images, seed, evaluation, candidates=len(channels))
    yield "channel"


def table(draws: list[tuple[int, int, PartDataset]], done: Finished) -> list[dict[str, Any]]:
    """One row per method and number of images, from the draws that are finished."""
    rows = []
    sizes = sorted({images for images, _, _ in draws})
    common = _common_images(draws, done)
    for method in ("prior", "channel", "linear", SPATIAL):
        for images in sizes:
            seeds = [seed for n, seed, _ in draws if n == images and done.has(method, n, seed)]
            if not seeds:
                continue
            kept = [done.get(method, images, seed) for seed in seeds]
            errors = np.stack([entry[0] for entry in kept])
            means = np.nanmean(errors, axis=(1, 2))
            # Every draw has the same pairs, so the mean over draws of a pair is never half missing.
            mean = errors.mean(axis=0)
            rows.append(
                {
                    "method": method,
                    "images": images,
                    "test images": errors.shape[1],
                    "error": float(means.mean()),
                    "ci95": list(bootstrap_interval(mean)),
                    "standard deviation over draws": float(means.std(ddof=1)) if len(means) > 1 else None,
                    "range over draws": [float(means.min()), float(means.max())],
                    "error on the images that all methods have": float(
                        np.nanmean(mean[[name in common for name in kept[0][1]]])
                    ),
                    "draws": [entry[2] for entry in kept],
                }
            )
    return rows


def _common_images(draws: list[tuple[int, int, PartDataset]], done: Finished) -> set[str]:
    """Ids of the test images that every method with a finished draw was measured on."""
    sets = []
    for method in ("prior", "channel", "linear", SPATIAL):
        first = next((draw for draw in draws if done.has(method, *draw[:2])), None)
        if first is not None:
            sets.append(set(done.get(method, *first[:2])[1]))
    return set.intersection(*sets) if sets else set()


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what is not finished yet, and write the result file and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder in the layout of CUB-200-2011")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--train", type=int, help="training images to draw from; all by default")
    parser.add_argument("--test", type=int, help="test images; all by default")
    parser.add_argument("--channel-test", type=int, default=200, help="test images for `channel`")
    parser.add_argument("--per-part", type=int, default=1, help="candidates of `channel` per part")
    parser.add_argument("--cache", type=Path, help="where feature grids are kept; in memory by default")
    parser.add_argument("--folder", type=Path, default=Path("work-few-shots"), help="finished draws")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "few_shots.json")
    parser.add_argument("--figure", type=Path, default=HERE.parent / "docs" / "figures" / "few-shots.png")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.data)
    train, test = data.train.limit(options.train), data.test.limit(options.test)
    few = test.limit(options.channel_test)
    draws = all_draws(train, options.sizes, options.seeds)
    done = Finished(options.folder / code_hash()[:12] / f"{train.fingerprint()[:12]}-{len(test)}")
    result: dict[str, Any] = {}

    def save() -> None:
        result.update(
            environment(
                options.data, train=len(train), test=len(test), seeds=list(options.seeds),
                channel={"test images": len(few), "candidates per part": options.per_part, "candidates from":
                         "activation centres over all training images, shared by all draws: an upper bound"},
            ),
            rows=table(draws, done),
        )  # fmt: skip
        write_json(options.json, result)
        draw_figure(result["rows"], options.figure)

    steps = {
        "prior": lambda: run_prior(draws, test, done),
        "linear": lambda: run_linear(draws, test, done, Memo(options.cache)),
        "channel": lambda: run_channel(draws, train, few, done, options.folder / "channel", options.per_part),
    }
    for method in options.methods:
        for finished in steps[method]():
            print(finished, flush=True)
            save()
    save()
    return result


if __name__ == "__main__":
    main()
