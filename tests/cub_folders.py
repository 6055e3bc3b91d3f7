"""A small folder in the layout of CUB-200-2011."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cub_parts import CUB_PARTS


def write_tiny_cub(folder: Path) -> Path:
    """Write twelve small images in the CUB layout into a new folder and return it.

    Three classes (`001.Red`, `002.Green`, `003.Blue`) of four images, of which the first two are for training; CUB's
    fifteen parts. Each image is a 64×48 noise picture with a bright rectangle, the box `(x, y, 32, 24)`. The visible parts
    lie on a 5×3 grid inside the box at the same relative places in every image; in image i (from 0) part i mod 15 is not
    visible. Image ids are 5, 8, 11, … as in a subset of the data set. Image file: `<class>/bird_<id>.png`.
    """
    rng = np.random.default_rng(0)
    tables: dict[str, list[str]] = {
        "images.txt": [],
        "bounding_boxes.txt": [],
        "image_class_labels.txt": [],
        "train_test_split.txt": [],
        "classes.txt": ["1 001.Red", "2 002.Green", "3 003.Blue"],
        "parts/parts.txt": [f"{p} {name}" for p, name in enumerate(CUB_PARTS, start=1)],
        "parts/part_locs.txt": [],
    }
    for i in range(12):
        image_id, label = 5 + 3 * i, ("001.Red", "002.Green", "003.Blue")[i // 4]
        file = folder / "images" / label / f"bird_{image_id}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 80, (48, 64, 3), dtype=np.uint8)
        x, y = int(rng.integers(0, 33)), int(rng.integers(0, 25))
        pixels[y : y + 24, x : x + 32, i // 4] += 150
        Image.fromarray(pixels).save(file)
        tables["images.txt"].append(f"{image_id} {label}/{file.name}")
        tables["bounding_boxes.txt"].append(f"{image_id} {x}.0 {y}.0 32.0 24.0")
        tables["image_class_labels.txt"].append(f"{image_id} {i // 4 + 1}")
        tables["train_test_split.txt"].append(f"{image_id} {int(i % 4 < 2)}")
        for p in range(15):
            place = f"{x + 4.0 + 6 * (p % 5)} {y + 4.0 + 8 * (p // 5)} 1" if p != i % 15 else "0.0 0.0 0"
            tables["parts/part_locs.txt"].append(f"{image_id} {p + 1} {place}")
    (folder / "parts").mkdir()
    for name, lines in tables.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder
