"""Classes that the linear detector has never seen, beside classes that it has: the training split, groups left out in turn.

    python benchmarks/unseen_classes.py CUB_FOLDER [--cache /tmp/grids]

Five groups of whole classes are left out, one after the other, and, in another round, five groups of as many images of all
classes. Every image is located by a detector that did not see it. The ratio of the two mean errors has two intervals: over
images, and over classes, which are what is new. Finished groups are kept in `--folder`, and a second run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from finished import Finished, code_hash
from linear import OPTIONS
from memo import Memo, memo_detector
from partscope import PartDetector, load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector
from partscope.metrics import bootstrap_interval, percentile_interval, resampled_means
from record import environment, write_json

HERE = Path(__file__).parent
GROUPS = 5
KINDS = ("classes", "images")


def groups_of(data: PartDataset, kind: str, seed: int = 0) -> NDArray[np.intp]:
    """(N,) number of the group that each image is left out with: by its class, or at random."""
    rng = np.random.default_rng(seed)
    if kind == "images":
        return np.asarray(rng.permutation(len(data)) % GROUPS)
    names = sorted({label or "" for label in data.labels})
    group_of = dict(zip(names, rng.permutation(len(names)) % GROUPS, strict=True))
    return np.array([group_of[label or ""] for label in data.labels])


def left_out(
    data: PartDataset, kind: str, arrangement: str, detector: type[LinearDetector], done: Finished
) -> None:
    """Fit without each group and keep the errors in it."""
    groups = groups_of(data, kind)
    for group in np.unique(groups):
        name = f"{kind} left out, {arrangement}"
        if done.has(name, len(data), int(group)):
            continue
        fitted = detector(arrangement=arrangement, **OPTIONS).fit(data[np.flatnonzero(groups != group)])
        evaluation = fitted.evaluate(data[np.flatnonzero(groups == group)])
        done.put(name, len(data), int(group), evaluation, shrinkage=fitted.shrinkage_)
        print(name, int(group), round(evaluation.error, 4), flush=True)


def gathered(data: PartDataset, kind: str, arrangement: str, done: Finished) -> NDArray[np.float64] | None:
    """(N, P) errors of all images, or None while a group is not finished."""
    errors = np.full(data.visible.shape, np.nan)
    row_of = {name: i for i, name in enumerate(data.ids)}
    for group in np.unique(groups_of(data, kind)):
        name = f"{kind} left out, {arrangement}"
        if not done.has(name, len(data), int(group)):
            return None
        values, ids, _ = done.get(name, len(data), int(group))
        errors[[row_of[one] for one in ids]] = values
    return errors


def ratio_with_intervals(
    unseen: NDArray[np.float64], seen: NDArray[np.float64], labels: Sequence[str | None]
) -> dict[str, Any]:
    """The ratio of two mean errors (N, P) of the same images, with 95 % intervals over images and over classes."""
    pairs = np.stack([unseen, seen], axis=1)
    names = sorted({label or "" for label in labels})
    rows = [np.flatnonzero([(label or "") == name for label in labels]) for name in names]
    # A class is drawn with all of its images.
    by_class = np.full((len(names), 2, max(map(len, rows)) * unseen.shape[1]), np.nan)
    for i, members in enumerate(rows):
        values = pairs[members].transpose(1, 0, 2).reshape(2, -1)
        by_class[i, :, : values.shape[1]] = values
    result: dict[str, Any] = {"ratio": float(np.nanmean(unseen) / np.nanmean(seen))}
    for what, values in (("images", pairs), ("classes", by_class)):
        means = resampled_means(values)
        result[f"ci95 over {what}"] = percentile_interval(means[:, 0] / means[:, 1]).tolist()
    return result


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the groups that are not finished yet and write the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder in the layout of CUB-200-2011")
    parser.add_argument("--train", type=int, help="training images drawn; all by default")
    parser.add_argument("--arrangements", nargs="+", default=("exemplars",), choices=("exemplars", "none"))
    parser.add_argument("--cache", type=Path, help="where feature grids are kept; in memory by default")
    parser.add_argument("--folder", type=Path, default=Path("work-unseen-classes"), help="finished groups")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "unseen_classes.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_dataset("cub", options.data).train.limit(options.train)
    done = Finished(options.folder / code_hash()[:12] / data.fingerprint()[:12])
    detector = memo_detector(Memo(options.cache))
    rows = []
    result: dict[str, Any] = {}
    for arrangement in options.arrangements:
        for kind in KINDS:
            left_out(data, kind, arrangement, detector, done)
        unseen, seen = (gathered(data, kind, arrangement, done) for kind in KINDS)
        assert unseen is not None
        assert seen is not None
        row: dict[str, Any] = {"arrangement": arrangement}
        for kind, errors in zip(KINDS, (unseen, seen), strict=True):
            interval = list(bootstrap_interval(errors))
            row[f"{kind} left out"] = {"error": float(np.nanmean(errors)), "ci95": interval}
        rows.append(row | ratio_with_intervals(unseen, seen, data.labels))
        prior = PartDetector("prior", region="image").fit(data).evaluate(data).error
        result = {
            **environment(options.data, train=len(data), groups=GROUPS, classes=len(set(data.labels))),
            "prior, of all training images": prior,
            "rows": rows,
        }
        write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
