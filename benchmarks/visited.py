"""How much of a backward pass is needed: multiplications between elements that a gradient can reach, over all of them.

    python benchmarks/visited.py --data CUB_FOLDER

Counted exactly, for the default layer and input size, in the convolutions between all channels (depthwise ones are left out),
on training photographs spread over the classes. Networks of random weights are there for comparison; their activations' zeros
are not those of trained ones.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from gradient_maps import NETWORKS, make_backbone, spread_pictures
from partscope.backward import linearise
from partscope.views import view
from record import environment, write_json


def measure(name: str, pictures: Sequence[Image.Image]) -> dict[str, Any]:
    backbone = make_backbone(name, leaky=False)
    shares = []
    for picture in pictures:
        image = view(backbone.preprocessing, picture, "image").inputs.unsqueeze(0).requires_grad_(True)
        with torch.enable_grad():
            network = linearise(backbone.activations(image), image, sparse=True)
        assert network is not None
        every, some = network.multiplications()
        shares.append(some / every)
    return {
        "network": backbone.name,
        "layer": backbone.layer,
        "input size": backbone.input_size,
        "multiplications per channel": int(every),
        "share needed": {
            "mean": round(statistics.mean(shares), 3),
            "range": [round(min(shares), 3), round(max(shares), 3)],
        },
        "pictures": len(shares),
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder in the CUB layout; drawn birds without it")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "visited.json")
    settings = parser.parse_args(arguments)
    pictures = spread_pictures(settings.data, settings.pictures)
    rows = [measure(name, pictures) for name in settings.networks]
    result = {**environment(settings.data), "rows": rows}
    write_json(settings.json, result)
    for row in rows:
        print("{network}: {share needed}".format(**row))
    return result


if __name__ == "__main__":
    main()
