"""What feature extraction costs beside the bare forward passes that it contains: the image and a patch at each of its parts.

    python benchmarks/extraction.py DATA [--images 32] [--repeats 5] [--threads 2] [--json OUT]

A: `extract` from image files to features, without a cache. B: the network alone on the same batches, which lie in memory as
finished inputs. Both run in turns, A B B A, in one process.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partscope.allocator import reuse_freed_memory
from partscope.backbones import Embedder, get_embedder
from partscope.dataset import PartDataset
from partscope.detectors.queries import Query
from partscope.extraction import Views, extract
from partscope.formats import load_dataset
from partscope.images import load_image
from partscope.patches import SCALES, patch_boxes
from record import environment, write_json
from timing import interleaved, machine_load, print_table, ratio

RESULTS = Path(__file__).parent / "results"
SEED = 0
#: What the extraction may cost, as a multiple of the bare passes.
CEILING = 1.15


def views_of(data: PartDataset) -> list[Views]:
    """The whole image and a patch at every visible part."""
    sizes = np.array([sample.size for sample in data], dtype=float)
    patches = patch_boxes(np.stack([sample.points for sample in data]), sizes, sizes, SCALES["image"])
    whole = np.concatenate([np.zeros((len(data), 1, 2)), sizes[:, None]], axis=2)
    boxes = np.concatenate([whole, patches], axis=1)
    return [Views(Query.of(sample), rows) for sample, rows in zip(data, boxes, strict=True)]


def finished_batches(views: list[Views], embedder: Embedder, batch_size: int) -> list[torch.Tensor]:
    """The inputs of the network in the order and the batches of `extract`."""
    preprocessing, inputs = embedder.preprocessing, []
    for item in views:
        image = load_image(item.query.source)
        distinct = dict.fromkeys(tuple(box) for box in item.boxes.tolist() if not np.isnan(box).any())
        inputs += [torch.from_numpy(preprocessing.warped(image, box)) for box in distinct]
    return [
        preprocessing.normalised(torch.stack(inputs[start : start + batch_size]))
        for start in range(0, len(inputs), batch_size)
    ]


def measure(
    data: PartDataset, name: str, input_size: int | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    embedder = get_embedder(name, input_size=input_size)
    views = views_of(data)
    batches = finished_batches(views, embedder, arguments.batch_size)

    def whole() -> None:
        extract(views, embedder, batch_size=arguments.batch_size)

    def bare() -> None:
        for batch in batches:
            embedder(batch)

    whole()
    times = interleaved({"extraction": whole, "bare": bare}, arguments.repeats)
    count = sum(len(batch) for batch in batches)
    return {
        "network": embedder.label,
        "images": len(data),
        "views": count,
        "batch size": arguments.batch_size,
        "ms per view": round(1000 * min(times["extraction"]) / count, 2),
        "ms per view, bare": round(1000 * min(times["bare"]) / count, 2),
        "extraction / bare": ratio(times["extraction"], times["bare"]),
        "load": machine_load(),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of CUB-200-2011 or a subset")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--networks", nargs="+", default=["efficientnet_lite0", "squeezenet1_1"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[160, 224])
    parser.add_argument("--json", type=Path, default=RESULTS / "extraction.json")
    arguments = parser.parse_args(argv)
    reused = reuse_freed_memory()
    torch.set_num_threads(arguments.threads)
    train = load_dataset("cub", arguments.data).train
    chosen = np.random.default_rng(SEED).choice(len(train), min(arguments.images, len(train)), replace=False)
    data = train[sorted(chosen.tolist())]
    rows = [measure(data, name, size, arguments) for name in arguments.networks for size in arguments.sizes]
    print_table(rows, list(rows[0]))
    settings = {"seed": SEED, "repeats": arguments.repeats, "freed memory reused": reused, "ceiling": CEILING}
    result = {**environment(arguments.data, **settings), "rows": rows}
    write_json(arguments.json, result)
    return result


if __name__ == "__main__":
    main()
