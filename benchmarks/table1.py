r"""Table 1 (or the ablation) for one network, as committed under benchmarks/results.

    python benchmarks/table1.py CUB_FOLDER --backbone squeezenet1_1
    python benchmarks/table1.py CUB_FOLDER --backbone caffenet --weights FILE --weights-are "CaffeNet composite"
    python benchmarks/table1.py CUB_FOLDER --backbone caffenet --weights FILE --search exhaustive --regions image --limit 64
    python benchmarks/table1.py CUB_FOLDER --backbone caffenet --weights FILE --regions image --limit 64 --out \
        table1_caffenet_shortlist_64
    python benchmarks/table1.py CUB_FOLDER --backbone squeezenet1_1 --ablation
    python benchmarks/table1.py CUB_FOLDER --backbone efficientnet_lite0 --layer blocks.5.3.bn2 --out \
        table1_efficientnet_lite0_blocks_5_3_bn2
    python benchmarks/table1.py CUB_FOLDER --backbone efficientnet_lite0 --methods linear

The same measurement as `partscope reproduce table1`; this script adds the machine and leaves out paths. A killed run continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from partscope import get_backbone, load_dataset
from partscope.reproduce import METHODS, measure_table1
from record import dataset_name, environment, write_json


def run(options: argparse.Namespace) -> dict[str, Any]:
    backbone = get_backbone(options.backbone, layer=options.layer, weights=options.weights)
    kind = "ablation" if options.ablation else "table1"
    place = (
        options.folder
        / f"{kind}_{options.backbone}_{options.layer or ''}{options.search}{'' if options.limit == 200 else options.limit}"
    )
    table = measure_table1(
        load_dataset("cub", options.data),
        backbone,
        limit=options.limit,
        random_state=options.seed,
        methods=options.methods,
        linear={"backbone": options.backbone, "weights": options.weights},
        search=options.search,
        ablation=options.ablation,
        regions=options.regions,
        folder=place,
        progress=True,
    )
    document = table.document()
    document["settings"]["data set"] = dataset_name(options.data)
    document["settings"]["backbone"]["weights"] = options.weights_are or "embedded"
    for row in document["rows"]:
        del row["notes"]  # the same in every row, and in the settings
    facts = environment(options.data, seed=options.seed)
    return {**facts, **document}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", required=True)
    parser.add_argument(
        "--layer", help="another layer than the network's default; name the result with --out"
    )
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--weights-are", help="what the weights file holds, for the record")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["channel"], help="rows beside the baselines"
    )
    parser.add_argument("--search", choices=("shortlist", "exhaustive"), default="shortlist")
    parser.add_argument("--regions", nargs="+", choices=("image", "mask", "crop"))
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="several processes of one thread share cores best"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("work-table1"), help="where finished work is kept"
    )
    parser.add_argument("--out", help="name of the result file; by what was measured unless given")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    document = run(options)
    name = "ablation" if options.ablation else "table1"
    rows = "" if options.methods == ["channel"] else "_".join(options.methods).replace("+", "_with_") + "_"
    suffix = "_exhaustive" if options.search == "exhaustive" else ""
    out = (
        Path(__file__).parent
        / "results"
        / f"{options.out or f'{name}_{rows}{options.backbone}{suffix}'}.json"
    )
    write_json(out, document)
    for row in document["rows"]:
        error = row["error"]["diagonal"]
        low, high = error["ci95"]
        skill = "" if row["skill"] is None else f"  skill {row['skill']:+.2f}"
        print(f"{row['name']:32} {error['mean']:.3f} [{low:.3f}, {high:.3f}]{skill}")


if __name__ == "__main__":
    main()
