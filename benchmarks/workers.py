"""Two workers against one, and the memory of a scan: does the engine scale, and does a scan stay small?

Throughput: gradient maps of 32 channels with the mixture, the scan of discovery, and forward-only centres of all channels, of drawn
birds on Ray workers of one thread each, on this machine. The time is that between the first finished block and the last, so that
starting processes, which costs the same for any number of images, is not in it. One and two workers alternate. The limit is for
the gradients. In the other scan a worker decodes pictures in one thread while it computes in another, so that one worker keeps two
cores busy already. Memory: the largest resident set of a process that scans n and 10 n images, in a process of its own each.

    python benchmarks/workers.py                  # both, on an idle machine
    python benchmarks/workers.py --only memory --images 12
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import partscope
from partscope.channel_centres import CentreSpec
from partscope.engine import Advance, Block, Engine, make_engine
from partscope.formats import load_dataset
from partscope.scan import BLOCK, scan
from partscope.synthetic import write_synthetic_birds
from record import environment, write_json
from resident import peak_mebibytes, peak_of

RESULTS = Path(__file__).parent / "results" / "workers.json"
#: Its passes are short, so that the engine's own cost shows most.
SPEC = CentreSpec(centre="centroid", quantile=0.0, maps="activation")
#: The scan of gradient maps: so many channels of the network whose maps cost least, so that it ends within minutes.
NETWORK, CHANNELS = "squeezenet1_1", 32
#: Blocks that a measurement of throughput needs at least.
FEWEST = 30
FASTER, SAME = 1.7, 0.05


class Timed:
    """An engine that notes when its blocks are finished."""

    def __init__(self, engine: Engine) -> None:
        self.name, self._engine = engine.name, engine
        self.finished: list[float] = []

    def map_blocks(self, make_worker: Any, blocks: Sequence[Block[Any]], advance: Advance) -> Iterator[Any]:
        for found in self._engine.map_blocks(make_worker, blocks, advance):
            self.finished.append(time.perf_counter())
            yield found


def images_per_second(data: Path, workers: int, maps: str) -> float:
    """Images per second of a scan, from the first finished round of all workers to the last block."""
    dataset = load_dataset("cub", data)
    if len(dataset) < FEWEST * BLOCK:
        # Ray hands finished blocks on in bursts: of a few, all arrive at once, and the time between them says nothing.
        raise SystemExit(
            f"throughput needs at least {FEWEST * BLOCK} images, not {len(dataset)}; raise --images."
        )
    with make_engine("ray", workers=workers, threads=1) as engine:
        timed = Timed(engine)
        backbone = partscope.get_backbone() if maps == "activation" else partscope.get_backbone(NETWORK)
        spec = SPEC if maps == "activation" else CentreSpec(quantile=backbone.cut)
        channels = None if maps == "activation" else range(CHANNELS)
        scan(dataset, backbone, [spec], channels=channels, engine=timed)
    times = timed.finished[workers - 1 :]
    return (len(times) - 1) * BLOCK / (times[-1] - times[0])


def scan_and_report(data: Path) -> None:
    import torch

    torch.set_num_threads(1)
    partscope.reuse_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        scan(load_dataset("cub", data), partscope.get_backbone(), [SPEC], folder=folder)
    print(peak_mebibytes())


def throughput(folder: Path, images: int, repeats: int, maps: str) -> dict[str, Any]:
    data = folder / f"birds-{images}"
    if not data.exists():
        write_synthetic_birds(data, images=images, classes=2)
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(repeats):
        for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
            speeds[workers].append(images_per_second(data, workers, maps))
            print(f"{workers} workers: {speeds[workers][-1]:.1f} images/s", flush=True)
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    ratio = statistics.median(ratios)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "name": f"two workers against one, throughput of a scan of {maps}s",
        "ratio": round(ratio, 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "must": FASTER if maps == "gradient" else None,
        # Where there is one core alone, nothing can be said.
        "met": ratio >= FASTER if maps == "gradient" and cores >= 2 else None,
        "images": images,
        "images per second": {str(n): [round(v, 2) for v in values] for n, values in speeds.items()},
    }


def memory(folder: Path, images: int) -> dict[str, Any]:
    peaks = []
    for count in (images, 10 * images):
        data = folder / f"birds-{count}"
        if not data.exists():
            write_synthetic_birds(data, images=count, classes=2)
        peaks.append(peak_of(__file__, "--scan", str(data)))
        print(f"{count} images: {peaks[-1]:.0f} MiB", flush=True)
    ratio = peaks[1] / peaks[0]
    return {
        "name": "peak memory of a scan, 10 times the images",
        "ratio": round(ratio, 3),
        "must": f"within {SAME:.0%} of 1",
        "met": abs(ratio - 1) <= SAME,
        "images": [images, 10 * images],
        "MiB": [round(peak, 1) for peak in peaks],
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["throughput", "memory"])
    parser.add_argument(
        "--images", type=int, help="images of a scan; 240 for throughput, 24 (and 240) for memory"
    )
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs for throughput")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.scan:
        scan_and_report(options.scan)
        return
    rows = json.loads(options.out.read_text("utf-8"))["rows"] if options.out.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        made = []
        if options.only != "throughput":
            made.append(memory(Path(folder), options.images or 24))
        if options.only != "memory":
            made.append(throughput(Path(folder), options.images or 240, options.repeats, "gradient"))
            made.append(throughput(Path(folder), options.images or 240, options.repeats, "activation"))
    kept = [row for row in rows if row["name"] not in {new["name"] for new in made}]
    rows = sorted([*kept, *made], key=lambda row: str(row["name"]))
    what = (
        f"drawn birds, default layers; gradients: {NETWORK}, {CHANNELS} channels, the mixture; activations and memory: "
        "efficientnet_lite0, squared-activation centroids of all channels"
    )
    write_json(
        options.out, {"benchmark": "workers", "environment": environment(data=None, what=what), "rows": rows}
    )


if __name__ == "__main__":
    main()
