r"""Table 2 for one network of the features, as committed under benchmarks/results.

    python benchmarks/table2.py CUB_FOLDER
    python benchmarks/table2.py CUB_FOLDER --rows "Full, linear" "BB, linear"
    python benchmarks/table2.py CUB_FOLDER --embedder squeezenet1_1 --input-size 128

The same measurement as `partscope reproduce table2`; this script adds the machine and leaves out paths. A killed run continues.
With `--rows` only these rows are measured, with the detectors that they need; the other rows of the result file stay, and the
new ones are compared with those that say which images they have right. Such a result says which rows are of another run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from partscope import PartDetector, load_dataset
from partscope.allocator import reuse_freed_memory
from partscope.table2 import measure_table2, merged_document
from record import dataset_name, environment, write_json


def show(row: dict[str, Any]) -> None:
    """Print one finished row."""
    low, high = row["accuracy"]["ci95"]
    print(
        f"{row['name']:32} {100 * row['accuracy']['mean']:5.1f} [{100 * low:.1f}, {100 * high:.1f}]  C {row['C']:g}  "
        f"{row['seconds']:.0f} s",
        flush=True,
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the table; the document for the result file."""
    given = [
        None if file is None else PartDetector.load(file) for file in (options.detector, options.box_detector)
    ]
    table = measure_table2(
        load_dataset("cub", options.data),
        detector=given[0],
        box_detector=given[1],
        methods=options.methods,
        regions=options.regions,
        rows=options.rows,
        fit_limit=options.fit_limit,
        cross_fit=options.cross_fit,
        backbone=options.embedder,
        input_size=options.input_size,
        normalize=options.normalize,
        classifier=options.classifier,
        folder=options.folder / options.embedder,
        progress=True,
        random_state=options.seed,
        on_row=show,
    )
    document = table.document()
    document["settings"]["data set"] = dataset_name(options.data)
    document["settings"]["features"]["weights"] = "embedded"
    facts = environment(options.data, seed=options.seed)
    for row in document["rows"]:
        row["machine"] = facts["machine"]["processor"] if row["status"] == "measured" else None
    if options.rows is not None and options.out.exists():
        document = merged_document(document, json.loads(options.out.read_text(encoding="utf-8")))
    return {**facts, **document}


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="efficientnet_lite0", help="network of the features")
    parser.add_argument("--input-size", type=int, help="side of its input in pixels")
    parser.add_argument("--methods", nargs="+", default=["channel", "linear"])
    parser.add_argument("--detector", type=Path, help="a fitted detector that searches the image")
    parser.add_argument("--box-detector", type=Path, help="a fitted detector that searches the box")
    parser.add_argument("--regions", nargs="+", choices=("image", "crop"))
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="measure these alone, keep the others")
    parser.add_argument("--fit-limit", type=int, default=200)
    parser.add_argument("--normalize", choices=("l2", "none"), default="l2")
    parser.add_argument("--cross-fit", type=int, default=0, metavar="K")
    parser.add_argument("--classifier", choices=("svm", "logistic"), default="svm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="the result file")
    parser.add_argument(
        "--folder", type=Path, default=Path("work-table2"), help="where finished work is kept"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    reuse_freed_memory()
    if options.out is None:
        options.out = Path(__file__).parent / "results" / f"table2_{options.embedder}.json"
    document = run(options)
    write_json(options.out, document)
    for one in document["comparisons"]:
        print(f"{one['comparison']:60} {100 * one['difference']:+5.1f} points, p {one['p']:.2g}")


if __name__ == "__main__":
    main()
