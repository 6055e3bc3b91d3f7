"""Bounded search and racing against the exhaustive search, replayed on one recorded scan of all channels.

    python benchmarks/search.py CUB_200_2011 --folder search-scan [--minutes 60] [--limit N]

The scan of the training images is the long part: every channel's gradient in every image. It is kept in the folder; a run that
is stopped, by hand or after --minutes, is continued by the same command. Then 20 draws of 200 images are searched on the
recorded centres, which takes minutes. Only training images are looked at.

The unit of cost is a gradient map with its centre, among very many of one image. `visit` is what an image costs before its first map
(decoding, forward pass, reading the graph, listing the elements that a gradient can reach); fewer than 12 channels of an image run
on whole feature maps, and fewer than four through autograd, whose visits are cheaper and whose maps are dearer; screening an image
is a forward pass and a check of silent channels. All of these are measured here, in the same unit, twice: with Numba (the extra
`fast`), which makes the exhaustive search cheaper most of all, and without. An exhaustive search visits every image once, a search once
in each round in which it asks for something in the image. Which maps are looked at is the same in both.

The ceiling is the saving of a search that is told the winners, their costs and every distance, and looks for each other
channel at the images that exclude it fastest (`partscope.search.fewest_maps`); it counts gradient maps alone.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partscope import PartscopeWarning, load_dataset, maps, reuse_freed_memory
from partscope.backbones import Backbone, get_backbone
from partscope.backward import convolution, has_numba
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset
from partscope.images import load_image
from partscope.maps import _FEW as FEW
from partscope.maps import _MANY as MANY
from partscope.scan import Scan, scan
from partscope.search import RecordedCells, Screening, fewest_maps, screen, search_cells, silent_channels
from partscope.search.charges import Charges
from partscope.search.tally import Tally
from partscope.selection import rank_channels
from record import environment, write_json

BACKBONES = ("squeezenet1_1", "efficientnet_lite0")
#: Numbers of channels in an image that go the same way, and two of them that are timed: autograd, whole feature maps, rows.
LIMITS = {"few": (0, FEW), "some": (FEW, MANY), "many": (MANY, 10**9)}
BANDS = {"few": (1, FEW - 1), "some": (FEW, MANY - 1), "many": (16, 192)}
HOW = {"with Numba": True, "without Numba": False}
COUNTS = [count for pair in BANDS.values() for count in pair]
RACING_MUST, RACING_MOONSHOT, RACING_SAME = 8.0, 20.0, 0.95
BOUNDED_MUST, BOUNDED_MOONSHOT = 0.8, 0.95
Centres = NDArray[np.float32]
Positions = NDArray[np.int64]


class Counted(RecordedCells):
    """A recorded table that notes in how many channels an image was looked at, visit by visit."""

    def __init__(self, centres: Centres) -> None:
        super().__init__(centres)
        self.visits: list[int] = []

    def look(self, images: Positions, channels: Positions) -> Centres:
        self.visits += np.unique(images, return_counts=True)[1].tolist()
        return super().look(images, channels)


@contextmanager
def numba(there: bool) -> Iterator[None]:
    """Measure as where Numba is, or is not."""
    original = has_numba
    if there and not original():
        raise SystemExit("Numba is missing: pip install 'partscope[fast]'.")
    users = (maps, convolution)
    for module in users:
        module.has_numba = lambda: there  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in users:
            module.has_numba = original


def seconds_of_steps(
    backbone: Backbone, spec: CentreSpec, data: PartDataset, images: int
) -> dict[str, float]:
    """Seconds of an image in several numbers of channels, and of its screening: the medians."""
    times: dict[str, list[float]] = {str(count): [] for count in COUNTS} | {"screening": []}
    for sample in data[np.arange(min(images, len(data)))]:
        for count in COUNTS:
            start = time.perf_counter()
            channel_centres(backbone, load_image(sample.image), [spec], channels=range(count))
            times[str(count)].append(time.perf_counter() - start)
        start = time.perf_counter()
        silent_channels(backbone, backbone.preprocessing(load_image(sample.image)))
        times["screening"].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def prices(seconds: dict[str, float]) -> dict[str, float]:
    """What a search is charged for, in gradient maps among many."""
    found: dict[str, float] = {}
    for band, (low, high) in BANDS.items():
        each = max(0.0, (seconds[str(high)] - seconds[str(low)]) / (high - low))
        found[f"map, {band}"] = each
        found[f"visit, {band}"] = max(0.0, seconds[str(low)] - low * each)
    unit = found["map, many"]
    found["screening an image"] = seconds["screening"]
    return {name: value / unit for name, value in found.items()} | {"seconds of a map": unit}


def charged(visits: Sequence[int], images: int, price: dict[str, float]) -> float:
    """The cost of a search: its visits by their numbers of channels, and its screening."""
    counts = np.asarray(visits)
    total = images * price["screening an image"]
    for band, (least, below) in LIMITS.items():
        here = counts[(counts >= least) & (counts < below)]
        total += len(here) * price[f"visit, {band}"] + float(here.sum()) * price[f"map, {band}"]
    return total


def replay(
    recorded: Scan,
    screening: Screening,
    data: PartDataset,
    spec: CentreSpec,
    deltas: Sequence[float],
    prices: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Search one draw: what was saved, whether the winners are the exhaustive search's, and the ceiling."""
    position = {name: i for i, name in enumerate(recorded.ids)}
    rows = np.array([position[name] for name in data.ids])
    centres = recorded.of(spec)[rows]
    own = Screening(screening.centres[rows], screening.silent[rows])
    if np.isfinite(centres[own.silent]).any():
        raise SystemExit(
            "a channel that was found silent has a centre in the recorded scan: this must not be."
        )
    expected = rank_channels(centres, data)
    everything = Tally(RecordedCells(centres), Charges(data), own.silent)
    everything.finish(np.ones(centres.shape[1], dtype=bool))
    forward = rank_channels(own.centres, data)
    places = [
        int(np.flatnonzero(forward.channels[forward.order[p]] == k)[0])
        for p, k in enumerate(expected.best)
        if k >= 0
    ]
    ceiling = 1 - fewest_maps(everything) / centres[..., 0].size
    result: dict[str, Any] = {"ceiling": ceiling, "places of the winners in the forward ranking": places}
    whole = {
        how: centres.shape[0] * (price["visit, many"] + centres.shape[1]) for how, price in prices.items()
    }
    for name, method, delta in (("bounded", "bounded", 0.05), *((racing(d), "racing", d) for d in deltas)):
        cells = Counted(centres)
        ranking, search = search_cells(cells, data, own, method, delta=delta)
        result[name] = {
            **search.as_dict(),
            "same": bool((ranking.best == expected.best).all()),
            "other winners": int((ranking.best != expected.best).sum()),
            "times fewer maps": search.ratio(0.0),
            "times less cost": {
                how: whole[how] / charged(cells.visits, len(data), price) for how, price in prices.items()
            },
            "share of ceiling": search.saved / ceiling,
        }
    return result


def racing(delta: float) -> str:
    return f"racing, δ = {delta:g}"


def summary(
    name: str, draws: list[dict[str, Any]], asked: bool, deltas: Sequence[float]
) -> list[dict[str, Any]]:
    """The rows of one backbone; nothing is met with fewer draws or smaller ones than asked for. The first δ has the limit."""
    count = len(draws)

    def same(method: str) -> int:
        return sum(draw[method]["same"] for draw in draws)

    def over(values: list[float]) -> dict[str, Any]:
        return {"ratio": float(np.mean(values)), "range": [min(values), max(values)]}

    def cost(method: str, how: str) -> dict[str, Any]:
        return over([draw[method]["times less cost"][how] for draw in draws])

    rows: list[dict[str, Any]] = []
    for how in HOW:
        for delta in deltas:
            enough = asked and same(racing(delta)) >= RACING_SAME * count
            found = cost(racing(delta), how)
            row = {
                "name": f"{name}, {how}: exhaustive / {racing(delta)}, cost (same winners in {same(racing(delta))} of {count} draws)",
                **found,
            }
            if delta == deltas[0]:
                row |= {"must": RACING_MUST, "met": enough and found["ratio"] >= RACING_MUST}
                row |= {
                    "moonshot": RACING_MOONSHOT,
                    "moonshot met": enough and found["ratio"] >= RACING_MOONSHOT,
                }
            rows.append(row)
    share = over([draw["bounded"]["share of ceiling"] for draw in draws])
    enough = asked and same("bounded") == count
    rows.append({
        "name": f"{name}: bounded search, saving / ceiling (identical in {same('bounded')} of {count} draws)",
        **share,
        "must": BOUNDED_MUST,
        "met": enough and share["ratio"] >= BOUNDED_MUST,
        "moonshot": BOUNDED_MOONSHOT,
        "moonshot met": enough and share["ratio"] >= BOUNDED_MOONSHOT,
    })  # fmt: skip
    rows += [{"name": f"{name}, {how}: exhaustive / bounded, cost", **cost("bounded", how)} for how in HOW]
    return rows


def measure(name: str, pool: PartDataset, options: argparse.Namespace) -> dict[str, Any]:
    backbone = get_backbone(name, input_size=options.input_size)
    spec = CentreSpec(quantile=backbone.cut)
    place = options.folder / f"{name}-{backbone.input_size}-{len(pool)}"
    screening = screen(pool, backbone, folder=place / "screening", progress=True)
    recorded = scan(
        pool, backbone, [spec], folder=place / "centres", on_error="raise", progress=True, description=name
    )
    price = {}
    for how, there in HOW.items():
        with numba(there):
            price[how] = prices(seconds_of_steps(backbone, spec, pool, options.timed))
    size = options.size if len(pool) > options.size else max(1, int(0.8 * len(pool)))
    draws = []
    for seed in range(options.draws):
        subset = pool.limit(size, seed)
        draws.append(replay(recorded, screening, subset, spec, options.deltas, price))
        print(
            f"{name}, draw {seed}: "
            + "; ".join(
                f"{method} {'same' if found['same'] else 'OTHER'}, "
                f"{' and '.join(f'{ratio:.1f}' for ratio in found['times less cost'].values())}×, "
                f"{found['share of ceiling']:.1%} of the ceiling"
                for method, found in draws[-1].items()
                if isinstance(found, dict)
            ),
            flush=True,
        )
    asked = size == 200 and len(draws) == 20 and options.input_size is None
    return {
        "backbone": backbone.describe(),
        "channels": backbone.channels,
        "pool": len(pool),
        "images per draw": size,
        "silent": float(screening.silent.mean()),
        "cost": price,
        "as asked: 20 draws of 200 images at the default size": asked,
        "draws": draws,
        "rows": summary(name, draws, asked, options.deltas),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("search-scan"), help="where the scans are kept")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--limit", type=int, help="record a scan of so many training images, all by default")
    parser.add_argument("--minutes", type=float, help="stop after so long; the same command continues")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument(
        "--size", type=int, default=200, help="images per draw; 4 of 5 where there are no more"
    )
    parser.add_argument(
        "--deltas",
        type=float,
        nargs="+",
        default=[0.2, 0.1, 0.05],
        help="risks of the races; the first has the limit",
    )
    parser.add_argument("--timed", type=int, default=8, help="images on which the steps are timed")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "search.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    reuse_freed_memory()  # as the command line does
    if options.minutes is not None:
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, 60 * options.minutes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartscopeWarning)
        train = load_dataset("cub", options.data).train
        pool = train if options.limit is None else train.limit(options.limit, 0)
        backbones = {name: measure(name, pool, options) for name in options.backbones}
    result = {
        **environment(options.data, draws=options.draws, deltas=options.deltas),
        "backbones": {name: {k: v for k, v in one.items() if k != "rows"} for name, one in backbones.items()},
        "rows": [row for one in backbones.values() for row in one["rows"]],
    }
    write_json(options.json, result)
    asked = [row for row in result["rows"] if row.get("must") is not None]
    print(f"search: {sum(row['met'] for row in asked)} of {len(asked)} met")
    return result


def _stop(*_: object) -> None:
    raise SystemExit("stopped after --minutes; what was finished is kept, and the same command continues.")


if __name__ == "__main__":
    main()
