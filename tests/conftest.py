"""Fixtures that several test files share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from cub_parts import CUB_PARTS

# A loaded machine must not fail a test; a function-scoped tmp_path is fine where each example overwrites its files.
settings.register_profile(
    "partscope",
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("partscope")


@pytest.fixture(scope="session")
def cub_folder() -> Path:
    """The folder of CUB-200-2011 or a subset, from the environment variable PARTSCOPE_CUB; for tests marked `cub`."""
    folder = os.environ.get("PARTSCOPE_CUB")
    if not folder:
        pytest.skip("PARTSCOPE_CUB is not set: it names the folder of CUB-200-2011")
    return Path(folder)


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Pressing Ctrl-C. A job in the background ignores SIGINT, and Python then installs no handler: the test does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tiny_cub(tmp_path: Path) -> Path:
    """A folder of twelve small images in the CUB layout, the test's own to change.

    Three classes (`001.Red`, `002.Green`, `003.Blue`) of four images, of which the first two are for training; CUB's
    fifteen parts. Each image is a 64×48 noise picture with a bright rectangle, the box `(x, y, 32, 24)`. The visible parts
    lie on a 5×3 grid inside the box at the same relative places in every image; in image i (from 0) part i mod 15 is not
    visible. Image ids are 5, 8, 11, … as in a subset of the data set. Image file: `<class>/bird_<id>.png`.
    """
    folder = tmp_path / "tiny_cub"
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
