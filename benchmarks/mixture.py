"""Weighted EM against pomegranate's weighted mixture and scikit-learn's, on gradient maps; and what the cut at the quantile gains.

    python benchmarks/mixture.py [--data CUB_FOLDER] [--threads 2]

Both fit the same point sets (maps cut at the quantile) from the same start, stop when the weighted mean log-likelihood grows
by less than the same tolerance, add the same floor to the covariances, in float32, with the same number of threads. Three
things of pomegranate 1.1 are brought into line here, none of which makes it slower:

- `Normal(min_cov=…)` is accepted but never used: `FlooredNormal` adds the floor in its M-step;
- `GeneralMixtureModel.summarize` returns the *unweighted* sum of log-likelihoods, on which `fit` would stop: `WeightedMixture`
  returns the weighted one, from the numbers that it has computed anyway;
- `fit` drops the M-step of its last iteration: the loop here keeps it, as ours does.

It is run with `check_data=False`, its faster setting. Coordinates have their origin in the middle of the map: pomegranate sums
squares about the origin in float32, and with the origin in the corner it loses so many digits that on one map in a hundred it
stops early and up to 22 pixels away from its own result in float64.

scikit-learn's `GaussianMixture` takes no sample weights and cannot do this. Beside it, both fit the same points *without* their
weights, from the same start, with the same floor (`reg_covar`) and tolerance; scikit-learn in float64, which it is written for.
"""

from __future__ import annotations

import argparse
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mixture_peers import FLOOR, Peer, fit_peer, fit_unweighted_peer
from partscope import get_backbone, load_dataset, load_image
from partscope.backbones import Backbone
from partscope.centres import Mixture, PointSets, cut_points, fit_mixture
from partscope.maps import gradient_maps
from partscope.synthetic import synthesize_birds
from partscope.views import view
from record import environment, write_json
from timing import bounds, interleaved, machine_load, print_table, ratio, seconds

AGREE = 0.5  # pixels
BLOCK = 32  # maps that pomegranate fits between two runs of ours


def collect_maps(backbone: Backbone, data: Path | None, count: int, per_image: int, seed: int) -> Tensor:
    """Gradient maps of random channels of random pictures; channels that are dead in a picture are left out."""
    rng = np.random.default_rng(seed)
    if data is None:
        birds = synthesize_birds(max(1, math.ceil(2 * count / per_image)), random_state=seed)
        pictures = (Image.fromarray(bird.image) for bird in birds)
    else:
        training = load_dataset("cub", data).train
        pictures = (load_image(training[int(i)].image) for i in rng.permutation(len(training)))
    found: list[Tensor] = []
    total = 0
    for picture in pictures:
        inputs = view(backbone.preprocessing, picture, "image").inputs
        channels = np.sort(rng.permutation(backbone.channels)[:per_image]).tolist()
        maps = gradient_maps(backbone, inputs, channels)
        maps = maps[maps.flatten(1).amax(dim=1) > 0]
        found.append(maps / maps.flatten(1).amax(dim=1)[:, None, None])
        total += len(maps)
        if total >= count:
            break
    return torch.cat(found)[:count]


def ours(sets: PointSets, batch: int, **options: Any) -> Mixture:
    """Our EM, `batch` maps to a call."""
    fits = [
        fit_mixture(
            PointSets(sets.points[i : i + batch], sets.weights[i : i + batch]), floor=FLOOR, **options
        )
        for i in range(0, len(sets.points), batch)
    ]
    return Mixture(
        *(torch.cat([getattr(fit, name) for fit in fits]) for name in Mixture.__dataclass_fields__)
    )


def compare(sets: PointSets, options: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Time both on all maps, ours before every block of theirs, and hold the centres against each other."""
    count = len(sets.points)
    start = fit_mixture(sets, floor=FLOOR, max_iterations=0)
    # Rows of (x, y) without gaps are what pomegranate's users have; ours keeps x and y apart.
    plain = PointSets(sets.points.contiguous(), sets.weights)
    stop = (options["tolerance"], options["max_iterations"])
    peers: dict[int, Peer] = {}

    def block(first: int) -> None:
        for i in range(first, min(first + BLOCK, count)):
            peers[i] = fit_peer(plain, start, i, *stop)

    ours(sets, count, **options)
    fit_peer(plain, start, 0, *stop)
    times: dict[str, list[float]] = {"theirs": [], "all": [], "16": []}
    for _ in range(repeats):
        sums = dict.fromkeys(times, 0.0)
        blocks = range(0, count, BLOCK)
        for first in blocks:
            sums["all"] += seconds(lambda: ours(sets, count, **options)) / len(blocks)
            sums["theirs"] += seconds(lambda first=first: block(first))  # type: ignore[misc]
            sums["16"] += seconds(lambda: ours(sets, 16, **options)) / len(blocks)
        for name, value in sums.items():
            times[name].append(value)
    fitted = ours(sets, count, **options)
    return {
        "maps": count,
        "points per map": sets.points.shape[1],
        "steps per map": {
            "ours": round(float(fitted.iterations.double().mean()), 1),
            "pomegranate": round(sum(peer.steps for peer in peers.values()) / count, 1),
        },
        f"times faster, {count} maps a call": ratio(times["theirs"], times["all"]),
        "times faster, 16 maps a call": ratio(times["theirs"], times["16"]),
        "agreement": agreement(sets, plain, start, fitted, peers, options),
    }


def compare_unweighted(sets: PointSets, options: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Time both on all maps without weights, and hold the centres against each other."""
    count, size = sets.weights.shape
    even = PointSets(sets.points, torch.full_like(sets.weights, 1 / size))
    start = fit_mixture(even, floor=FLOOR, max_iterations=0)
    points = [sets.points[i].double().contiguous().numpy() for i in range(count)]
    found: dict[int, Any] = {}

    def theirs() -> None:
        for i in range(count):
            found[i] = fit_unweighted_peer(points[i], start, i, *options.values())

    times = interleaved({"theirs": theirs, "ours": lambda: ours(even, count, **options)}, repeats)
    fitted = ours(even, count, **options)
    centres = np.stack([found[i].means_[found[i].weights_.argmax()] for i in range(count)])
    distance = np.linalg.norm(fitted.centre.double().numpy() - centres, axis=1)
    return {
        "maps": count,
        "points per map": size,
        "steps per map": {
            "ours": round(float(fitted.iterations.double().mean()), 1),
            "scikit-learn": round(float(np.mean([model.n_iter_ for model in found.values()])), 1),
        },
        f"times faster, {count} maps a call": ratio(times["theirs"], times["ours"]),
        "within 0.5 px": round(float((distance <= AGREE).mean()), 4),
        "median distance, px": float(f"{np.median(distance):.2g}"),
        "largest distance, px": round(float(distance.max()), 3),
    }


def centred(sets: PointSets, side: int) -> PointSets:
    """The same points, counted from the middle of the map; the memory layout stays."""
    return PointSets(sets.points - side / 2, sets.weights)


def agreement(
    sets: PointSets,
    plain: PointSets,
    start: Mixture,
    fitted: Mixture,
    peers: dict[int, Peer],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Distances of the centres, and for each disagreement what is behind it."""
    exact = fit_mixture(PointSets(sets.points.double(), sets.weights.double()), floor=FLOOR, **options)
    theirs = torch.stack([peers[i].centre for i in range(len(peers))])
    distance = (fitted.centre - theirs).norm(dim=1)
    bad = torch.nonzero(~(distance <= AGREE)).flatten().tolist()
    explained = []
    for i in bad:
        same = fit_peer(plain, start, i, *options.values(), steps=int(fitted.iterations[i]))
        explained.append({
            "map": i,
            "distance": round(float(distance[i]), 3),
            "steps": {"ours": int(fitted.iterations[i]), "pomegranate": peers[i].steps, "ours, float64": int(exact.iterations[i])},
            "share of the heavier": {"ours": round(float(fitted.share[i].max()), 4), "pomegranate": round(float(peers[i].share.max()), 4)},
            "distance after as many steps as ours": round(float((same.centre - fitted.centre[i]).norm()), 3),
            "distance from float64": {
                "ours": round(float((fitted.centre[i] - exact.centre[i]).norm()), 3),
                "pomegranate": round(float((theirs[i] - exact.centre[i]).norm()), 3),
            },
        })  # fmt: skip
    return {
        "within 0.5 px": round(1 - len(bad) / len(distance), 4),
        "largest distance, px": round(float(distance.nan_to_num(math.inf).max()), 3),
        "median distance, px": float(f"{distance.median():.2g}"),
        "largest distance from float64, px": {
            "ours": round(float((fitted.centre - exact.centre).norm(dim=1).max()), 3),
            "pomegranate": round(float((theirs - exact.centre).norm(dim=1).max()), 3),
        },
        "disagreements": explained,
    }


def gain_of_the_cut(maps: Tensor, quantile: float, options: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Our EM on the cut points against our EM on every pixel: time, and how far the centre moves."""
    cut, full = cut_points(maps, quantile), cut_points(maps, 0.0)
    times = interleaved(
        {
            "full": lambda: fit_mixture(full, floor=FLOOR, **options),
            "cut": lambda: fit_mixture(cut, floor=FLOOR, **options),
            "full and cut": lambda: fit_mixture(cut_points(maps, 0.0), floor=FLOOR, **options),
            "cut and cut": lambda: fit_mixture(cut_points(maps, quantile), floor=FLOOR, **options),
        },
        repeats,
    )
    with_cut, without = (fit_mixture(sets, floor=FLOOR, **options) for sets in (cut, full))
    moved = (with_cut.centre - without.centre).norm(dim=1) / maps.shape[-1]
    return {
        "maps": len(maps),
        "points per map": {"cut": cut.points.shape[1], "full": full.points.shape[1]},
        "times faster, EM alone": ratio(times["full"], times["cut"]),
        "times faster, with making the points": ratio(times["full and cut"], times["cut and cut"]),
        "median move of the centre, sides of the map": round(float(moved.median()), 3),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder in the CUB layout; drawn birds without it")
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--input-size", type=int, help="the network's default unless given")
    parser.add_argument("--maps", type=int, default=256)
    parser.add_argument("--channels", type=int, default=16, help="random channels per picture")
    parser.add_argument("--quantiles", type=float, nargs="+", default=[0.9, 0.95])
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--most-steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full-maps", type=int, default=16, help="maps for the row on the gain of the cut")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "mixture.json")
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    load = machine_load()
    backbone = get_backbone(settings.backbone, input_size=settings.input_size)
    maps = collect_maps(backbone, settings.data, settings.maps, settings.channels, settings.seed)
    options = {"tolerance": settings.tolerance, "max_iterations": settings.most_steps}
    rows = [
        {"quantile": q, **compare(centred(cut_points(maps, q), maps.shape[-1]), options, settings.repeats)}
        for q in settings.quantiles
    ]
    unweighted = [
        {
            "quantile": q,
            **compare_unweighted(centred(cut_points(maps, q), maps.shape[-1]), options, settings.repeats),
        }
        for q in settings.quantiles
    ]
    gain = gain_of_the_cut(maps[: settings.full_maps], settings.quantiles[0], options, settings.repeats)
    facts = environment(
        settings.data,
        pictures="drawn birds" if settings.data is None else "photographs, training split",
        backbone=settings.backbone,
        layer=backbone.layer,
        input_size=backbone.input_size,
        pomegranate=version("pomegranate"),
        scikit_learn=version("scikit-learn"),
        dtype="float32",
        floor=FLOOR,
        **options,
        repeats=settings.repeats,
        seed=settings.seed,
        load=[load, machine_load()],
    )
    summary = [
        {
            "name": f"EM, cut at {row['quantile']}, {key} than {peer}",
            "ratio": row[key]["median"],
            "range": bounds(row[key]),
        }
        for peer, compared in (("pomegranate", rows), ("scikit-learn, both without weights", unweighted))
        for row in compared
        for key in row
        if key.startswith("times faster")
    ] + [
        {
            "name": f"cut at {settings.quantiles[0]} over no cut, {key}",
            "ratio": gain[key]["median"],
            "range": bounds(gain[key]),
        }
        for key in gain
        if key.startswith("times faster")
    ]
    result = {
        **facts,
        "rows": summary,
        "against pomegranate": rows,
        "against scikit-learn": unweighted,
        "gain of the cut": gain,
    }
    write_json(settings.json, result)
    fast = [key for key in rows[0] if key.startswith("times faster")]
    table = [{**row, **{k: v for k, v in row["agreement"].items() if "px" in k}} for row in rows]
    print_table(table, ["quantile", "maps", "points per map", *fast, "within 0.5 px", "largest distance, px"])
    print_table(
        unweighted,
        [
            "quantile",
            *(key for key in unweighted[0] if key.startswith("times")),
            "within 0.5 px",
            "largest distance, px",
        ],
    )
    print_table([gain], [key for key in gain if key.startswith(("times", "median"))])
    return result


if __name__ == "__main__":
    main()
