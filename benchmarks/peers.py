"""What else could be done with the same network, the same images and the same marked parts, beside the linear detector.

    python benchmarks/peers.py CUB_FOLDER [--train 200 0] [--cache /tmp/grids]

Rows (whole image, no box; 0 training images means all): the static prior, the linear detector alone and with the
arrangement; keypoints of similar images; features of parts searched by cosine similarity; heat-map heads trained by gradient
descent, alone and with the same arrangement. Part Transfer (HOG) is given the box, which it cannot do without. Settings of
every peer are chosen on the training images. Finished rows are kept in `--folder`, and a second run continues.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from few_shots import SPATIAL
from finished import Finished, code_hash
from heatmap_head import TrainedHeads
from linear import OPTIONS
from memo import Memo, MemoGrids, memo_detector, without_arrangement
from neighbours import Correspondence, Neighbours
from partscope import PartDetector, load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, TransferDetector
from partscope.errors import PartscopeWarning
from partscope.evaluation import Evaluation, evaluate
from partscope.metrics import bootstrap_interval, paired_bootstrap
from partscope.prior import StaticPrior
from pictures import FloatArray, Pictures, predictions
from record import environment, write_json

HERE = Path(__file__).parent
NEIGHBOURS = "keypoints of similar images"
CORRESPONDENCE = "features searched by cosine"
TRANSFER = "Part Transfer (HOG), with the box"
HEADS = {"1x1": "heat maps, linear head", "3x3": "heat maps, two 3×3 convolutions"}
ROWS = ("prior", "linear", SPATIAL, NEIGHBOURS, CORRESPONDENCE, TRANSFER, *HEADS.values())


class Peers:
    """The peers on one training set.

    Parameters
    ----------
    train, test: the images.
    done: finished rows.
    memo: feature grids.
    """

    def __init__(
        self, train: PartDataset, test: PartDataset, done: Finished, memo: Memo, epochs: int
    ) -> None:
        self.train = train
        self.test = test
        self.done = done
        self.memo = memo
        self.epochs = epochs
        self._seen: dict[str, Pictures] = {}
        self._neighbours: Neighbours | None = None
        self._grids: MemoGrids | None = None

    def has(self, name: str) -> bool:
        return self.done.has(name, len(self.train), 0)

    def put(self, name: str, evaluation: Evaluation, **facts: Any) -> None:
        self.done.put(name, len(self.train), 0, evaluation, **facts)

    def pictures(self, which: str) -> Pictures:
        """`train`, `mirrored` (the training images in a mirror) or `test`, read once."""
        if which not in self._seen:
            if self._grids is None:
                # What a fit looks at: the same layers, context and input.
                fixed = {**OPTIONS, "shrinkage": 0.3, "arrangement": "none"}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", PartscopeWarning)  # of how few images these are
                    grids = memo_detector(self.memo)(**fixed).fit(self.train[:2]).grids_
                assert isinstance(grids, MemoGrids)
                self._grids = grids
            data = self.test if which == "test" else self.train
            self._seen[which] = Pictures.of(data, self._grids, which == "mirrored")
        return self._seen[which]

    def neighbours(self) -> Neighbours:
        if self._neighbours is None:
            self._neighbours = Neighbours.fit(self.pictures("train"), self.pictures("mirrored"))
        return self._neighbours

    def judged(self, points: FloatArray) -> Evaluation:
        return evaluate(
            predictions(self.test, points), self.test, StaticPrior.fit(self.train), fallback="image",
            info={"method": "peer", "region": "image"},
        )  # fmt: skip

    # -- rows -------------------------------------------------------------------------------------------------------
    def prior(self) -> None:
        self.put("prior", PartDetector("prior", region="image").fit(self.train).evaluate(self.test))

    def linear(self) -> None:
        detector: LinearDetector = memo_detector(self.memo)(arrangement="exemplars", **OPTIONS).fit(
            self.train
        )
        facts = {
            "shrinkage": detector.shrinkage_,
            "layers": list(detector.grids_.layers),
            "context": list(detector.grids_.context),
            "input size": detector.backbone_.input_size,
        }
        self.put("linear", without_arrangement(detector).evaluate(self.test), **facts)
        self.put(SPATIAL, detector.evaluate(self.test), **facts)

    def transfer(self) -> None:
        self.put(TRANSFER, TransferDetector().fit(self.train).evaluate(self.test))

    def similar(self) -> None:
        found = self.neighbours()
        self.put(
            NEIGHBOURS, self.judged(found.locate(self.pictures("test"))),
            pooled=found.pool, k=found.count, tried=found.errors,
        )  # fmt: skip

    def correspondence(self) -> None:
        found = Correspondence.fit(self.pictures("train"), self.pictures("mirrored"), self.neighbours())
        self.put(
            CORRESPONDENCE, self.judged(found.locate(self.pictures("test"))),
            chosen=min(found.errors, key=lambda name: found.errors[name]), tried=found.errors,
        )  # fmt: skip

    def heads(self, kind: str) -> None:
        start = time.perf_counter()
        trained = TrainedHeads.fit(self.pictures("train"), kind, epochs=self.epochs)
        facts = {**trained.facts, "minutes of training": round((time.perf_counter() - start) / 60, 1)}
        alone, arranged = trained.locate(self.pictures("test"))
        self.put(f"{HEADS[kind]} + arrangement", self.judged(arranged), **facts)
        self.put(HEADS[kind], self.judged(alone), **facts)

    def steps(self) -> dict[str, Callable[[], None]]:
        """What makes each row; the linear detector's two come together, and so do a head's."""
        return {
            "prior": self.prior,
            SPATIAL: self.linear,
            TRANSFER: self.transfer,
            NEIGHBOURS: self.similar,
            CORRESPONDENCE: self.correspondence,
            HEADS["1x1"]: lambda: self.heads("1x1"),
            HEADS["3x3"]: lambda: self.heads("3x3"),
        }


def table(sizes: Sequence[int], done: Finished) -> list[dict[str, Any]]:
    """One row per training set and method, each with its paired difference from the linear detector's two rows."""
    names = [
        name for row in ROWS for name in ((row, f"{row} + arrangement") if row in HEADS.values() else (row,))
    ]
    rows = []
    for images in sizes:
        errors = {name: done.get(name, images, 0)[0] for name in names if done.has(name, images, 0)}
        for name, values in errors.items():
            row = {"method": name, "training images": images, "test images": len(values)}
            row |= done.get(name, images, 0)[2]
            row["ci95"] = list(bootstrap_interval(values))
            for ours in ("linear", SPATIAL):
                if ours in errors and name not in ("linear", SPATIAL):
                    difference = paired_bootstrap(values, errors[ours])
                    row[f"{ours} is better by"] = {"mean": difference.difference, "ci95": list(difference.ci)}
            rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what is not finished yet and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder in the layout of CUB-200-2011")
    parser.add_argument("--train", nargs="+", type=int, default=(200, 0), help="training images; 0 for all")
    parser.add_argument("--test", type=int, help="test images; all by default")
    parser.add_argument("--skip", nargs="*", default=(), choices=("transfer", *HEADS))
    parser.add_argument("--epochs", type=int, default=40, help="at most")
    parser.add_argument("--cache", type=Path, help="where feature grids are kept; in memory by default")
    parser.add_argument("--folder", type=Path, default=Path("work-peers"), help="finished rows")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "peers.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.data)
    test = data.test.limit(options.test)
    done = Finished(options.folder / code_hash()[:12] / test.fingerprint()[:12])
    sets = [data.train.limit(count or None) for count in options.train]
    left_out = {TRANSFER if name == "transfer" else HEADS[name] for name in options.skip}
    result: dict[str, Any] = {}
    memo = Memo(options.cache)
    for train in sets:
        peers = Peers(train, test, done, memo, options.epochs)
        for name, step in peers.steps().items():
            if name in left_out or peers.has(name):
                continue
            step()
            result = {
                **environment(options.data, test=len(test), seed=0, epochs=options.epochs),
                "rows": table([len(one) for one in sets], done),
            }
            write_json(options.json, result)
            errors = done.get(name, len(train), 0)[0]
            print(len(train), name, round(float(np.nanmean(errors)), 4), flush=True)
    result = {
        **environment(options.data, test=len(test), seed=0, epochs=options.epochs),
        "rows": table([len(one) for one in sets], done),
    }
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
