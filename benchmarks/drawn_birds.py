"""The error of the static prior on drawn birds: what a detector has to beat there, beside that on photographs.

python benchmarks/drawn_birds.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from partscope import PriorDetector
from partscope.synthetic import write_synthetic_birds
from record import environment, write_json


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            birds = write_synthetic_birds(
                Path(folder) / "birds", images=options.images, classes=options.classes, random_state=seed
            )
            for region in ("image", "box"):
                row = PriorDetector(region).fit(birds.train).evaluate(birds.test).row()
                rows.append({"seed": seed, "region": region, "images": row["images"], "error": row["error"]})
                print(seed, region, row["error"]["diagonal"])
    facts = environment(None, drawn=options.images, classes=options.classes)
    write_json(Path(__file__).parent / "results" / "drawn_birds.json", {**facts, "rows": rows})


if __name__ == "__main__":
    main()
