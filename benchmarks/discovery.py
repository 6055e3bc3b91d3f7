"""Measure part discovery: from boxes alone and from images alone, before and after naming, with baselines beside it.

    python benchmarks/discovery.py CUB_FOLDER [--images 200] [--held 200] [--test N] [--json FILE]

Parts are discovered in `--images` training images. Settings are compared on as many other training images ("held out");
the test split is looked at for the final rows alone. Before naming: NMI and ARI of the strongest discovered part at each
visible keypoint, and the regression protocol. After naming: error over the box's diagonal, without the box, from 5, 10 and
20 marked images, five draws each. Finished rows are kept; a second run continues, and with `--cache DIR` it finds the
features of the first there.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from partscope import get_backbone, load_dataset
from partscope.dataset import PartDataset, Sample
from partscope.discovery.images import KeptImage, gather
from partscope.discovery.learning import Discovered, discover
from partscope.discovery.naming import Naming
from partscope.discovery.places import PlaceMap
from partscope.grid_layers import default_layers
from partscope.grids import FeatureGrids
from partscope.images import load_image
from partscope.linear import decode
from partscope.linear.shrinkage import compact, evidence_maps
from partscope.metrics import (
    LinearPartMap,
    axes_error,
    bootstrap_interval,
    diagonal_error,
    part_agreement,
    percentile_interval,
    strongest_part,
)
from partscope.prior import StaticPrior
from partscope.views import view
from record import environment, write_json

PARTS = (4, 8, 16)
#: Named parts are made of so many discovered ones: the default.
NAMED_PARTS = 8
#: Settings are compared with these.
HELD_PARTS = (8, 16)
MARKED = (5, 10, 20)
REPEATS = 5
DRAWS = 200

#: Compared on held-out training images; the first of each is the default.
SHRINKAGES = (1.0, 0.3, 3.0)
POSITIONS = (0.5, 0.0, 1.0)
ROUNDS = (3, 0, 8)
APART = (0.2, 0.4, 0.6)
#: Of the named parts: shrinkage, and least deviation of the expected place.
NAMINGS = ((3.0, 0.4), (1.0, 0.4), (10.0, 0.4), (3.0, 0.2), (3.0, 0.8))
BY_DEFAULT: dict[str, Any] = {"by": "combinations", "shrinkage": 1.0, "position": 0.5, "random_state": 0}

FloatArray = NDArray[np.float64]
Look = tuple[FloatArray, list[NDArray[np.intp]]]


class Rows:
    """The result file: rows are computed once, and written as they are finished."""

    def __init__(self, path: Path, facts: dict[str, Any], same: Sequence[str]) -> None:
        self.path, self.content = path, {**facts, "rows": {}}
        if path.exists():
            stored = json.loads(path.read_text("utf-8"))
            if all(stored.get(key) == facts[key] for key in same):
                self.content["rows"] = stored["rows"]

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the row `name`, from the file or made now."""
        rows = self.content["rows"]
        if name not in rows:
            rows[name] = make()
            write_json(self.path, self.content)
            print(name, rows[name], flush=True)
        return dict(rows[name])


def look(found: Discovered, grids: FeatureGrids, images: list[KeptImage], data: PartDataset) -> Look:
    """Centres (N, K, 2) in pixels, and of each image the strongest discovered part at its visible keypoints."""
    centres, labels = [], []
    for image, sample in zip(images, data, strict=True):
        maps = evidence_maps(grids, image.maps, found.discriminants)
        centres.append(decode(maps) * np.array(image.size))
        labels.append(strongest_part(maps, sample.points[sample.visible] / np.array(image.size)))
    return np.array(centres), labels


def agreement(labels: list[NDArray[np.intp]], data: PartDataset) -> dict[str, Any]:
    """NMI and ARI with their 95 % intervals over images.

    An image that is drawn twice makes labels and names agree more, so the draws lie above the value itself; the interval is
    therefore the basic bootstrap's, twice the value less the quantiles.
    """
    names = [np.flatnonzero(sample.visible) for sample in data]
    whole = part_agreement(np.concatenate(labels), np.concatenate(names))
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        take = rng.integers(0, len(data), len(data))
        one = part_agreement(
            np.concatenate([labels[i] for i in take]), np.concatenate([names[i] for i in take])
        )
        drawn.append([one.nmi, one.ari])
    low_high = (2 * np.array([whole.nmi, whole.ari]) - percentile_interval(np.array(drawn))[::-1]).T.tolist()
    return {
        "nmi": whole.nmi,
        "nmi ci95": low_high[0],
        "ari": whole.ari,
        "ari ci95": low_high[1],
        "keypoints": whole.keypoints,
    }


def regression(
    known: FloatArray, centres: FloatArray, train: PartDataset, test: PartDataset
) -> dict[str, Any]:
    """The regression protocol's error, with its 95 % interval over images."""
    fitted = LinearPartMap.fit(known, train.boxes, train.points)
    errors = (
        100 * np.sqrt(2) * axes_error(fitted.predict(centres, test.boxes), test.points, test.boxes[:, 2:])
    )
    return {"regression": float(np.nanmean(errors)), "regression ci95": list(bootstrap_interval(errors))}


def named_errors(
    found: Discovered,
    grids: FeatureGrids,
    marked: tuple[list[KeptImage], list[KeptImage], PartDataset],
    known: FloatArray,
    test: tuple[list[KeptImage], PartDataset, FloatArray],
    setting: tuple[float, float] = NAMINGS[0],
) -> tuple[FloatArray, FloatArray]:
    """Errors (N, P) over the box's diagonal of parts named from marked images, and of the linear map of centres alone.

    `marked` are the images, their mirror images and their marks; `known` and the last of `test` the discovered centres.
    """
    images, flipped, marks = marked
    pictures, data, centres = test
    shares = np.where(marks.visible[..., None], marks.points / marks.sizes[:, None], 0.5)
    turned = shares[:, marks.mirror] * (-1, 1) + (1, 0)
    at = [grids.sample(image.maps, place) for image, place in zip(images, shares, strict=True)]
    at += [grids.sample(image.maps, place) for image, place in zip(flipped, turned, strict=True)]
    places = PlaceMap.fit(known, marks.sizes.astype(np.float64), marks.points, marks.mirror)
    visible = np.concatenate([marks.visible, marks.visible[:, marks.mirror]])
    naming = Naming.fit(found.base, places, visible, np.stack(at), setting[0])
    sizes = data.sizes.astype(np.float64)
    points = np.stack(
        [
            naming.locate(grids, image.maps, centre, size, least=setting[1])
            for image, centre, size in zip(pictures, centres, sizes, strict=True)
        ]
    )
    diagonal = np.linalg.norm(data.boxes[:, 2:], axis=1)
    return (
        diagonal_error(points, data.points, diagonal),
        diagonal_error(places.apply(centres, sizes), data.points, diagonal),
    )


def spread(errors: list[FloatArray]) -> dict[str, Any]:
    """Mean of several draws' errors, its 95 % interval over images (each with its mean over draws), and each draw's."""
    stacked = np.stack(errors)
    return {
        "error": float(np.nanmean(stacked)),
        "ci95": list(bootstrap_interval(np.concatenate(errors, axis=1))),
        "draws": [float(np.nanmean(one)) for one in errors],
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compute the rows that the result file does not hold yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--held", type=int, default=200)
    parser.add_argument("--test", type=int, help="test images drawn; all by default")
    parser.add_argument("--parts", type=int, nargs="*", default=PARTS)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--cache", type=Path, help="folder to keep features in")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "discovery.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.folder)
    train, test = data.train.limit(options.images), data.test.limit(options.test)
    left = set(train.ids)
    held = data.train[[i for i, name in enumerate(data.train.ids) if name not in left]].limit(options.held)
    backbone = get_backbone(options.backbone, input_size=options.input_size)
    grids = FeatureGrids(backbone, default_layers(backbone)[0])
    facts = environment(
        options.folder,
        backbone=backbone.name,
        layers=list(grids.layers),
        input_size=backbone.input_size,
        images=len(train),
        held=len(held),
        test=len(test),
    )
    rows = Rows(options.json, facts, ["backbone", "layers", "input_size", "images", "held", "test"])
    images = kept_features(grids, train, options.cache)
    flipped = kept_features(grids, train, options.cache, turned=True)
    pictures = kept_features(grids, test, options.cache)
    unseen = kept_features(grids, held, options.cache)

    def found_in(supervision: str, count: int, **changed: Any) -> Discovered:
        given = images if supervision == "box" else [dataclasses.replace(i, box=None) for i in images]
        return discover(given, grids, count, **{**BY_DEFAULT, **changed})

    def before_naming(found: Discovered, others: list[KeptImage], judged: PartDataset) -> dict[str, Any]:
        known, _ = look(found, grids, images, train)
        centres, labels = look(found, grids, others, judged)
        return {**agreement(labels, judged), **regression(known, centres, train, judged)}

    def after_naming(
        found: Discovered, number: int, draws: int, others: list[KeptImage], judged: PartDataset, **more: Any
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        known, _ = look(found, grids, images, train)
        centres, _ = look(found, grids, others, judged)
        errors = []
        for draw in range(draws):
            chosen = [train.ids.index(one) for one in train.limit(number, draw).ids]
            marked = [images[i] for i in chosen], [flipped[i] for i in chosen], train[chosen]
            errors.append(
                named_errors(found, grids, marked, known[chosen], (others, judged, centres), **more)
            )
        return [both[0] for both in errors], [both[1] for both in errors]

    # Baselines and final rows, on the test split.
    rows.once(
        "test, constant",
        lambda: regression(np.zeros((len(train), 0, 2)), np.zeros((len(test), 0, 2)), train, test),
    )
    for count in options.parts:
        rows.once(f"test, chance, {count} parts", lambda c=count: chance(c, test))  # type: ignore[misc]
        rows.once(f"test, k-means on position, {count} parts", lambda c=count: by_position(c, train, test))  # type: ignore[misc]
    for supervision, by, count in itertools.product(
        ("box", "none"), ("combinations", "channels"), options.parts
    ):
        name = f"{supervision}, {by}, {count} parts"

        def final(supervision: str = supervision, by: str = by, count: int = count) -> dict[str, Any]:
            start = time.perf_counter()
            found = found_in(supervision, count, by=by)
            took = time.perf_counter() - start
            return {**before_naming(found, pictures, test), "seconds of discovery": took}

        rows.once(f"test, {name}", final)
        if by == "channels" or count != NAMED_PARTS:
            continue

        def named(supervision: str = supervision, count: int = count) -> dict[str, Any]:
            found = found_in(supervision, count)
            result: dict[str, Any] = {}
            for number in MARKED:
                errors, linear = after_naming(found, number, REPEATS, pictures, test)
                result[f"{number} marked"] = spread(errors)
                result[f"{number} marked, places alone"] = spread(linear)
            return result

        rows.once(f"test, {name}, named", named)

    def priors() -> dict[str, Any]:
        result: dict[str, Any] = {}
        diagonal = np.linalg.norm(test.boxes[:, 2:], axis=1)
        for number in MARKED:
            for frame in ("image", "box"):
                errors = []
                for draw in range(REPEATS):
                    prior = StaticPrior.fit(train.limit(number, draw)).aligned(test.parts)
                    points = prior.positions(test.sizes, test.boxes, frame)  # type: ignore[arg-type]
                    errors.append(diagonal_error(points, test.points, diagonal))
                result[f"{number} marked, prior in the {frame}"] = spread(errors)
        return result

    rows.once("test, static prior of the marked images", priors)
    # Settings, on held-out training images.
    for count, shrinkage in itertools.product(HELD_PARTS, SHRINKAGES):
        rows.once(
            f"held out, box, {count} parts, shrinkage {shrinkage}",
            lambda c=count, s=shrinkage: before_naming(found_in("box", c, shrinkage=s), unseen, held),  # type: ignore[misc]
        )
    for count, position in itertools.product(HELD_PARTS, POSITIONS[1:]):
        rows.once(
            f"held out, box, {count} parts, position {position}",
            lambda c=count, p=position: before_naming(found_in("box", c, position=p), unseen, held),  # type: ignore[misc]
        )
    for count, rounds in itertools.product(HELD_PARTS, ROUNDS[1:]):
        rows.once(
            f"held out, box, {count} parts, rounds {rounds}",
            lambda c=count, r=rounds: before_naming(found_in("box", c, rounds=r), unseen, held),  # type: ignore[misc]
        )
    for count, apart in itertools.product(HELD_PARTS, APART):
        rows.once(
            f"held out, box, {count} channels, apart {apart}",
            lambda c=count, a=apart: before_naming(found_in("box", c, by="channels", apart=a), unseen, held),  # type: ignore[misc]
        )
    for setting in NAMINGS:

        def tried(setting: tuple[float, float] = setting) -> dict[str, Any]:
            found = found_in("box", NAMED_PARTS)
            return {
                f"{number} marked": spread(after_naming(found, number, 2, unseen, held, setting=setting)[0])
                for number in MARKED
            }

        rows.once(
            f"held out, box, {NAMED_PARTS} parts, named, shrinkage {setting[0]}, deviation {setting[1]}",
            tried,
        )
    return rows.content


def kept_features(
    grids: FeatureGrids, data: PartDataset, cache: Path | None, turned: bool = False
) -> list[KeptImage]:
    """The features of images, or of their mirror images, from the cache or from the network."""
    key = hashlib.sha256(
        json.dumps([grids.backbone.content_hash, grids.layers, data.ids, turned]).encode()
    ).hexdigest()[:16]
    files = [] if cache is None else [cache / f"{key}-{i}.npy" for i in range(len(grids.layers))]
    if files and all(file.exists() for file in files):
        stored = [np.load(file) for file in files]
        return [
            KeptImage(sample.id, [torch.from_numpy(layer[i]) for layer in stored], sample.size, sample.box)
            for i, sample in enumerate(data)
        ]
    if turned:
        kept = [mirror_image(grids, sample) for sample in data]
    else:
        kept, _ = gather(data, grids, 1 << 40, use_boxes=True)
    for layer, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack([image.maps[layer].numpy() for image in kept]))
    return kept


def mirror_image(grids: FeatureGrids, sample: Sample) -> KeptImage:
    """The features of an image's mirror image; its box is that of the image itself."""
    image = load_image(sample.image)
    seen = view(grids.backbone.preprocessing, image, "image")
    maps = [features[0] for features in grids(seen.inputs.flip(-1)[None])]
    return KeptImage(sample.id, compact(maps), image.size, sample.box)


def chance(count: int, test: PartDataset) -> dict[str, Any]:
    """Labels drawn at random, each as likely."""
    rng = np.random.default_rng(0)
    return agreement([rng.integers(0, count, int(sample.visible.sum())) for sample in test], test)


def by_position(count: int, train: PartDataset, test: PartDataset) -> dict[str, Any]:
    """K-means on box-relative positions of the training images' keypoints, the test keypoints by the nearest centre."""

    def relative(sample: Sample) -> FloatArray:
        box = np.array(sample.box)
        return np.asarray((sample.points[sample.visible] - box[:2]) / box[2:])

    groups = KMeans(count, n_init=10, random_state=0).fit(
        np.concatenate([relative(sample) for sample in train])
    )
    return agreement([groups.predict(relative(sample)) for sample in test], test)


if __name__ == "__main__":
    main()
