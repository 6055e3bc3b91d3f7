"""Centres from activations beside centres from gradients: accuracy and cost, layer by layer.

    python benchmarks/forward_only.py CUB_FOLDER [--networks squeezenet1_1 efficientnet_lite0]

`layers`: of every layer, channels are selected on training images and measured on other training images. Activations of all
layers come from one pass an image; gradients, which are dear, are taken of a shortlist on fewer images, and the activations'
rows on the same few images stand beside them. `cells`: where the cells of a grid lie, by the centres in an image and in its
mirror image, and by the held-out error. `test`: the network's own layer, and the layer with the smallest held-out error, on
the test split. Nothing of the test split is read for a choice. Finished work is kept in --folder; a second run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partscope import get_backbone, load_dataset
from partscope.backbones.core import Backbone
from partscope.backbones.geometry import CellGeometry
from partscope.centres import find_centres
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset, Sample
from partscope.detectors import ChannelDetector
from partscope.evaluation import evaluate
from partscope.grids import FeatureGrids
from partscope.images import load_image
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.selection import Ranking, rank_channels
from record import environment, write_json
from timing import interleaved, ratio

LAYERS = {
    "squeezenet1_1": ["features.7", "features.9", "features.10", "features.11", "features.12"],
    "efficientnet_lite0": [
        "blocks.3.2.bn2",
        "blocks.4.2.bn2",
        "blocks.5.1.bn2",
        "blocks.5.3.bn2",
        "blocks.6.0.bn2",
    ],
}
#: First cell's receptive field, by kernel sizes, strides and paddings up to the network's own layer, in input pixels.
FIELDS = {"squeezenet1_1": 15.5, "efficientnet_lite0": 31.5}
#: Centres of activations, and on which images: all, or the few on which gradients are taken too.
CENTRES = {
    "centroid": ("centroid", 0.0, True),
    "centroid, cut 0.9": ("centroid", 0.9, True),
    "maximum": ("maximum", 0.0, True),
    "mixture": ("mixture", 0.0, False),
}
PER_PART = 2
BLOCK = 10
Centres = NDArray[np.float32]


def kept(
    file: Path, data: PartDataset, compute: Callable[[Sample], dict[str, Centres]]
) -> dict[str, Centres]:
    """What `compute` gives for every image, stacked; blocks of images that are finished are read."""
    blocks: list[dict[str, Centres]] = []
    for start in range(0, len(data), BLOCK):
        block = file.with_name(f"{file.name}-{data.fingerprint()[:8]}-{start:05d}.npz")
        if not block.exists():
            rows = [compute(sample) for sample in data[start : start + BLOCK]]
            temporary = block.with_suffix(".tmp.npz")
            np.savez(temporary, **{name: np.stack([row[name] for row in rows]) for name in rows[0]})
            temporary.rename(block)
        with np.load(block) as stored:
            blocks.append({name: stored[name] for name in stored.files})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def activation_centres(
    backbones: dict[str, Backbone], grids: FeatureGrids, names: Sequence[str]
) -> Callable[[Sample], dict[str, Centres]]:
    """Centres in image pixels of all channels of all layers, by `layer|centre`: one pass."""

    def compute(sample: Sample) -> dict[str, Centres]:
        inputs = grids.backbone.preprocessing(load_image(sample.image))
        scale = np.array(sample.size) / inputs.shape[-1]
        found = {}
        for layer, maps in zip(grids.layers, grids(inputs[None]), strict=True):
            values = maps[0].clamp_min(0) ** 2
            for name in names:
                centre, quantile, _ = CENTRES[name]
                chosen = {} if centre == "maximum" else {"quantile": quantile}
                points = find_centres(values, centre, **chosen).points.double()
                found[f"{layer}|{name}"] = np.float32(backbones[layer].cells.to_input(points).numpy() * scale)
        return found

    return compute


def row_of(
    ranking: Ranking, centres: Centres, columns: dict[int, int], train: PartDataset, data: PartDataset
) -> dict[str, Any]:
    """Error of a ranking's winners on other images, with the interval and the static prior's error."""
    points = np.full((len(data), len(ranking.parts), 2), np.nan)
    for p, channel in enumerate(ranking.best.tolist()):
        if channel >= 0:
            points[:, p] = centres[:, columns[channel]]
    found = np.isfinite(points).all(axis=2)
    predictions = PartPredictions(ranking.parts, data.ids, points, found, found.astype(float), found, ())
    row = evaluate(predictions, data, StaticPrior.fit(train), fallback="image").row()
    diagonal = row["error"]["diagonal"]
    return {
        "error": diagonal["mean"],
        "ci95": diagonal["ci95"],
        "prior": row["prior"]["image"],
        "coverage": row["coverage"],
        "channels": len(set(ranking.best.tolist()) - {-1}),
    }


def cost_of(backbone: Backbone, channels: Sequence[int], repeats: int) -> dict[str, Any]:
    """Times over one forward pass to the layer: of the selected channels' centres, and of all channels'."""
    image = load_image(
        np.random.default_rng(0).integers(0, 255, (backbone.input_size, backbone.input_size, 3), np.uint8)
    )
    inputs = backbone.preprocessing(image)[None]
    forward = CentreSpec(centre="centroid", quantile=0.0, maps="activation")
    gradient = CentreSpec(quantile=backbone.cut)
    few = list(range(min(32, backbone.channels)))

    def bare() -> None:
        with torch.inference_mode():
            backbone.activations(inputs)

    calls: dict[str, Callable[[], object]] = {
        "bare": bare,
        "activations, selected": lambda: channel_centres(backbone, image, [forward], channels=channels),
        "activations, all": lambda: channel_centres(backbone, image, [forward]),
        "gradients, selected": lambda: channel_centres(backbone, image, [gradient], channels=channels),
        "gradients, some": lambda: channel_centres(backbone, image, [gradient], channels=few),
    }
    for call in calls.values():
        call()
    times = interleaved(calls, repeats)
    some = ratio(times["gradients, some"], times["bare"])["median"]
    return {
        **{
            name: ratio(times[name], times["bare"])
            for name in calls
            if name not in ("bare", "gradients, some")
        },
        # A forward pass is in it once; the rest grows with the channels.
        "gradients, all (from 32)": round((some - 1) * backbone.channels / len(few) + 1, 1),
    }


def layer_rows(name: str, sets: dict[str, PartDataset], folder: Path) -> list[dict[str, Any]]:
    """Rows of activations on all images; one pass an image serves all layers."""
    backbones, grids = networks(name)
    cheap = [centre for centre, (_, _, everywhere) in CENTRES.items() if everywhere]
    found = {
        part: kept(folder / f"{name}-{part}", sets[part], activation_centres(backbones, grids, cheap))
        for part in ("train", "held")
    }
    rows = []
    for layer in reversed(LAYERS[name]):
        every = {channel: channel for channel in range(backbones[layer].channels)}
        measured = {
            f"activations, {centre}": row_of(
                rank_channels(found["train"][f"{layer}|{centre}"], sets["train"]),
                found["held"][f"{layer}|{centre}"],
                every,
                sets["train"],
                sets["held"],
            )
            for centre in cheap
        }
        rows.append(
            {"network": name, "layer": layer, "grid": list(backbones[layer].grid), "all images": measured}
        )
        print(layer, {key: round(value["error"], 4) for key, value in measured.items()}, flush=True)
    return rows


def networks(name: str) -> tuple[dict[str, Backbone], FeatureGrids]:
    """A backbone for each layer, and what runs all of them at once."""
    backbones = {layer: get_backbone(name, layer=layer) for layer in LAYERS[name]}
    return backbones, FeatureGrids(backbones[LAYERS[name][-1]], tuple(LAYERS[name]))


def beside_gradients(
    row: dict[str, Any], sets: dict[str, PartDataset], few: tuple[int, int], folder: Path, repeats: int
) -> None:
    """Add to a layer's row what gradients give on few images, what activations give on the same, and the costs."""
    name, layer = row["network"], row["layer"]
    backbones, grids = networks(name)
    backbone = backbones[layer]
    small = {"train": sets["train"][: few[0]], "held": sets["held"][: few[1]]}
    every = {channel: channel for channel in range(backbone.channels)}
    cheap = [centre for centre, (_, _, everywhere) in CENTRES.items() if everywhere]
    found = {
        part: {
            **kept(folder / f"{name}-{part}", sets[part], activation_centres(backbones, grids, cheap)),
            **kept(
                folder / f"{name}-mixture-{part}", data, activation_centres(backbones, grids, ["mixture"])
            ),
        }
        for part, data in small.items()
    }
    rankings = {
        centre: rank_channels(found["train"][f"{layer}|{centre}"][: few[0]], small["train"])
        for centre in CENTRES
    }
    row["same images"] = {
        f"activations, {centre}": row_of(
            ranking, found["held"][f"{layer}|{centre}"][: few[1]], every, small["train"], small["held"]
        )
        for centre, ranking in rankings.items()
    }
    near = rankings["centroid"]
    shown = near.images > 0
    channels = sorted(set(near.channels[near.order[shown, :PER_PART]].ravel().tolist()))
    ranking, centres, columns = gradients(backbone, channels, small, folder / f"{name}-{layer}")
    row["same images"]["gradients, mixture"] = row_of(
        ranking, centres, columns, small["train"], small["held"]
    )
    row["channels with gradients"] = len(channels)
    row["cost in forward passes"] = cost_of(backbone, sorted(columns), repeats)
    print(layer, {key: round(value["error"], 4) for key, value in row["same images"].items()}, flush=True)


def gradients(
    backbone: Backbone, channels: list[int], small: dict[str, PartDataset], file: Path
) -> tuple[Ranking, Centres, dict[int, int]]:
    """Ranking by gradient mixtures on the training images, and the winners' centres in the held-out ones."""
    spec = CentreSpec(quantile=backbone.cut)

    def of(wanted: list[int]) -> Callable[[Sample], dict[str, Centres]]:
        def compute(sample: Sample) -> dict[str, Centres]:
            found = channel_centres(backbone, load_image(sample.image), [spec], channels=wanted)
            return {"centres": np.float32(found[0].numpy())}

        return compute

    trained = kept(file.with_name(f"{file.name}-gradients-train"), small["train"], of(channels))["centres"]
    ranking = rank_channels(trained, small["train"], channels=channels)
    winners = sorted(set(ranking.best.tolist()) - {-1})
    held = kept(file.with_name(f"{file.name}-gradients-held"), small["held"], of(winners))["centres"]
    return ranking, held, {channel: k for k, channel in enumerate(winners)}


def cell_rows(name: str, sets: dict[str, PartDataset], count: int) -> list[dict[str, Any]]:
    """Three ideas of where the cells of the network's own layer lie."""
    backbone = get_backbone(name)
    _, rows, columns = backbone.grid
    side, step = backbone.input_size, backbone.cells.step
    ideas = {
        "equal stripes": CellGeometry.centred(side, (rows, columns)),
        "strides, centred": backbone.cells,
        "receptive fields": CellGeometry((FIELDS[name], FIELDS[name]), step),
    }
    grids = FeatureGrids(backbone, (backbone.layer,))
    pairs: dict[str, list[Centres]] = {"train": [], "held": []}
    turned = []
    for part in pairs:
        for sample in sets[part][:count]:
            inputs = backbone.preprocessing(load_image(sample.image))
            maps = grids(torch.stack([inputs, inputs.flip(-1)]))[0].clamp_min(0) ** 2
            points = [find_centres(one, "centroid", quantile=0.0).points.double().numpy() for one in maps]
            pairs[part].append(points[0])
            turned.append(np.stack([one[:, 0] for one in points]))
    found = []
    for idea, cells in ideas.items():
        both = cells.start[0] + (np.stack(turned) - 0.5) * cells.step[0]
        shift = side - both[:, 1] - both[:, 0]
        scaled = {
            part: np.stack(
                [
                    cells.to_input(torch.from_numpy(points)).numpy() * (np.array(sample.size) / side)
                    for points, sample in zip(values, sets[part], strict=False)
                ]
            )
            for part, values in pairs.items()
        }
        train, held = sets["train"][:count], sets["held"][:count]
        every = {channel: channel for channel in range(backbone.channels)}
        measured = row_of(rank_channels(scaled["train"], train), scaled["held"], every, train, held)
        found.append(
            {
                "network": name,
                "cells": idea,
                "start": cells.start[0],
                "step": cells.step[0],
                "mirrored: mean shift in input pixels": round(float(np.nanmean(shift)), 2),
                "mirrored: median distance": round(float(np.nanmedian(np.abs(shift))), 2),
                **measured,
            }
        )
    return found


def test_rows(
    name: str, layers: Sequence[str], train: PartDataset, test: PartDataset, folder: Path
) -> list[Any]:
    rows = []
    for layer in layers:
        file = folder / f"{name}-{layer}.partscope"
        if file.exists():
            detector = ChannelDetector.load(file)
        else:
            detector = ChannelDetector(name, layer=layer, maps="activation").fit(train)
            detector.save(file)
        row = detector.evaluate(test).row()
        rows.append({"network": name, "layer": layer, **row})
        rows[-1].pop("notes", None)
        print(name, layer, row["error"]["diagonal"], row["prior"], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="+", choices=sorted(LAYERS), default=list(LAYERS))
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--held", type=int, default=100, help="training images that are measured on")
    parser.add_argument("--gradient-train", type=int, default=40)
    parser.add_argument("--gradient-held", type=int, default=60)
    parser.add_argument("--test", type=int, help="test images; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("work-forward-only"))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "forward_only.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset("cub", options.data)
    train = data.train.limit(options.train)
    rest = data.train[[i for i, name in enumerate(data.train.ids) if name not in set(train.ids)]]
    # Drawn like the training images; in the order of the draw the first ones would be of the first classes.
    shuffled = np.random.default_rng(0).permutation(len(train))
    sets = {"train": train[shuffled.tolist()], "held": rest.limit(options.held, 1)}
    sets["held"] = sets["held"][np.random.default_rng(1).permutation(len(sets["held"])).tolist()]
    few = (options.gradient_train, options.gradient_held)
    result: dict[str, Any] = {
        **environment(options.data, seed=0),
        "train": len(train),
        "held": len(sets["held"]),
        "same images": {"train": min(few[0], len(train)), "held": min(few[1], len(sets["held"]))},
        "gradients": f"mixture; {PER_PART} channels per part by activation centroids",
        "layers": [],
        "cells": [],
        "test": [],
    }
    test = data.test if options.test is None else data.test.limit(options.test)
    result["test images"] = len(test)
    for name in options.networks:
        rows = layer_rows(name, sets, options.folder)
        result["layers"] += rows
        write_json(options.json, result)
    for name in options.networks:
        result["cells"] += cell_rows(name, sets, min(few[1], options.held))
        own = [row for row in result["layers"] if row["network"] == name]
        best = min(own, key=lambda row: row["all images"]["activations, centroid"]["error"])["layer"]
        layers = list(dict.fromkeys([get_backbone(name).layer, best]))
        result["test"] += test_rows(name, layers, train, test, options.folder)
        write_json(options.json, result)
    for row in result["layers"]:
        beside_gradients(row, sets, few, options.folder, options.repeats)
        write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
