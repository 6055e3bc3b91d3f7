"""A channel for each part, alone and under the spatial model, beside the static prior; and how its evidence was chosen.

    python benchmarks/channel_arrangement.py CUB_FOLDER [--train 200] [--held 100] [--test 200] [--region image]

`choice`: on held-out images of the *training* split, grids and forms of the evidence. `rows`: the test split, with the form that
the package uses. Finished work is kept in a folder; a second run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch.nn.functional import adaptive_avg_pool2d

from partscope import load_dataset
from partscope.arrangement import Arrangement
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PriorDetector
from partscope.detectors.channel_arrangement import selected_channels
from partscope.evaluation import compare
from partscope.images import load_image
from partscope.metrics import diagonal_error
from partscope.reproduce.kept import KeptDetectors, detector_hash
from record import environment, write_json

#: Rows and columns that the maps are kept at; a multiple of the grids that are tried, so that averages are exact.
KEPT = 40
#: Grid; "log" with what is added to a cell's share, or "power" with the exponent; blur in cells.
FORMS: list[tuple[int, str, float, float]] = [
    (10, "log", 0.01, 0.0),
    (20, "log", 0.01, 0.0),
    (40, "log", 0.01, 0.0),
    (20, "log", 0.1, 0.0),
    (20, "log", 0.01, 1.0),
    (20, "power", 0.5, 0.0),
    (20, "power", 1.0, 0.0),
]
BLOCK = 20

Maps = NDArray[np.float32]


def pooled(detector: ChannelDetector, data: PartDataset) -> Maps:
    """Gradient maps of the selected channels, averaged to (N, C, 40, 40)."""
    maps = [detector.part_maps(load_image(sample.image), sample.box)[1] for sample in data]
    return np.stack([adaptive_avg_pool2d(one[None], KEPT)[0].numpy() for one in maps])


def evidence(maps: Maps, grid: int, form: str, value: float, blur: float) -> Maps:
    """One form of evidence, (N, C, grid, grid)."""
    cells = adaptive_avg_pool2d(torch.from_numpy(maps).double(), grid).numpy()
    if blur:
        cells = gaussian_filter(cells, (0, 0, blur, blur), mode="nearest")
    share = cells / np.maximum(cells.mean(axis=(2, 3), keepdims=True), 1e-30)
    return np.asarray(np.log(share + value) if form == "log" else share**value, dtype=np.float32)


def choose(
    detector: ChannelDetector, train: PartDataset, held: PartDataset, file: Path
) -> list[dict[str, Any]]:
    """Mean error on held-out training images for every form."""
    if file.exists():
        kept = np.load(file)
        maps = kept["train"], kept["held"]
    else:
        maps = pooled(detector, train), pooled(detector, held)
        np.savez(file, train=maps[0], held=maps[1])
    columns = [selected_channels(detector).index(detector.channels_[part]) for part in train.parts]
    points = np.clip(
        np.where(train.visible[..., None], train.points, 0.0) / train.sizes[:, None].astype(float), 0.0, 1.0
    )
    rows = []
    for grid, form, value, blur in FORMS:
        seen, asked = (evidence(one, grid, form, value, blur)[:, columns] for one in maps)
        sizes = train.sizes.astype(float)
        model = Arrangement.fit(points, train.visible, sizes, train.mirror, seen)
        found = [
            np.clip(model.infer(one, size).points, 0, 1) * size
            for one, size in zip(asked, held.sizes.astype(float), strict=True)
        ]
        errors = diagonal_error(np.stack(found), held.points, np.linalg.norm(held.boxes[:, 2:], axis=1))
        rows.append(
            {
                "grid": grid,
                "form": form,
                "value": value,
                "blur": blur,
                "error": float(np.nanmean(np.where(held.visible, errors, np.nan))),
            }
        )
        print(rows[-1], flush=True)
    return rows


def share_maps(detectors: Sequence[ChannelDetector]) -> dict[bytes, Any]:
    """Let detectors with the same channels share the maps of an image; the caller empties the returned memory."""
    memory: dict[bytes, Any] = {}
    original = detectors[0].part_maps

    def part_maps(image: Any, box: Any = None) -> Any:
        key = image.tobytes()
        if key not in memory:
            memory[key] = original(image, box)
        return memory[key]

    for detector in detectors:
        detector.part_maps = part_maps  # type: ignore[method-assign]
    return memory


def measure(
    kept: KeptDetectors, detectors: dict[str, ChannelDetector], prior: PriorDetector, test: PartDataset
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and paired differences on one data set."""
    hashes = {name: detector_hash(detector) for name, detector in detectors.items()}
    memory = share_maps(list(detectors.values()))
    pieces: dict[str, list[Any]] = {name: [] for name in detectors}
    for start in range(0, len(test), BLOCK):
        block = test[start : start + BLOCK]
        for name, detector in detectors.items():
            pieces[name].append(kept.located(detector, hashes[name], block, description=name))
        memory.clear()
    results = {f"prior in {prior.region}": prior.evaluate(test)}
    for name, detector in detectors.items():
        results[name] = detector.evaluate(test, predictions=type(pieces[name][0]).concatenate(pieces[name]))
    rows = []
    for name, result in results.items():
        row = {"name": name, **result.row()}
        del row["notes"]
        rows.append(row)
    names = list(results)
    pairs = [(names[0], names[1]), (names[0], names[2]), (names[1], names[2])]
    return rows, [{"comparison": f"{b} over {a}", **compare(results[a], results[b]).row()} for a, b in pairs]


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--held", type=int, default=100, help="further training images, to choose on")
    parser.add_argument("--test", type=int, help="test images drawn; all by default")
    parser.add_argument("--region", choices=("image", "mask", "crop"), default="image")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--work", type=Path, default=Path("work-channel-arrangement"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.folder)
    train, test = data.train.limit(options.train), data.test.limit(options.test)
    rest = [i for i, name in enumerate(data.train.ids) if name not in set(train.ids)]
    held = data.train[rest].limit(options.held, 1)
    kept = KeptDetectors(options.work / options.region)
    detectors: dict[str, ChannelDetector] = {}
    for name, arrangement in (("mixture", "none"), ("mixture + arrangement", "exemplars")):
        # One folder for both: the scans are the same.
        place = options.work / options.region / "scan"
        detector = ChannelDetector(
            region=options.region, input_size=options.input_size, arrangement=arrangement, scan_folder=place
        ).fit(train)
        detectors[name] = detector.set_params(scan_folder=None)
    choice = []
    if options.region == "image" and len(held):
        choice = choose(detectors["mixture"], train, held, options.work / "maps.npz")
    prior = PriorDetector("image" if options.region == "image" else "box").fit(train)
    rows, comparisons = measure(kept, detectors, prior, test)
    result = {
        **environment(
            options.folder, train=len(train), held=len(held), test=len(test), region=options.region
        ),
        "selected": detectors["mixture"].channels_,
        "choice": choice,
        "rows": rows,
        "comparisons": comparisons,
    }
    out = options.json or Path(__file__).parent / "results" / f"channel_arrangement_{options.region}.json"
    write_json(out, result)
    for row in rows:
        error = row["error"]["diagonal"]
        print(f"{row['name']:24} {error['mean']:.3f} [{error['ci95'][0]:.3f}, {error['ci95'][1]:.3f}]")
    return result


if __name__ == "__main__":
    main()
