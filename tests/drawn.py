"""Small drawn animals with known parts, for tests that need pictures whose content matters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from partscope.dataset import PartDataset, Sample

PARTS = ("beak", "left eye", "right eye", "tail", "crest")


def draw(rng: np.random.Generator) -> tuple[Image.Image, np.ndarray, tuple[float, float, float, float]]:
    """Draw one animal that faces right: picture, (5, 2) positions (NaN where hidden), and box `(x, y, width, height)`."""
    width, height = int(rng.integers(90, 160)), int(rng.integers(90, 160))
    noise = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    w, h = rng.uniform(45, 80, size=2)
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    tilt = rng.uniform(-0.25, 0.25)
    tail = (x + 2, y + h * (0.5 + tilt))
    beak = (x + w - 2, y + h * (0.45 - tilt))
    head = (x + 0.7 * w, y + h * (0.4 - tilt))
    pen.ellipse((x + 0.15 * w, y + 0.3 * h, x + 0.75 * w, y + 0.9 * h), fill=(40, 30, 200))
    pen.polygon([tail, (x + 0.3 * w, y + 0.5 * h), (x + 0.3 * w, y + 0.75 * h)], fill=(230, 220, 40))
    pen.ellipse((head[0] - 9, head[1] - 9, head[0] + 9, head[1] + 9), fill=(200, 40, 40))
    pen.polygon([beak, (head[0] + 6, head[1] - 5), (head[0] + 6, head[1] + 5)], fill=(250, 250, 250))
    eye = (head[0] + 2, head[1] - 2)
    points = np.array([beak, (np.nan, np.nan), eye, tail, (head[0], head[1] - 8)])
    if rng.random() < 0.3:
        points[4] = np.nan
    return image, points, (x, y, w, h)


def mirrored(
    image: Image.Image, points: np.ndarray, box: tuple[float, float, float, float]
) -> tuple[Image.Image, np.ndarray, tuple[float, float, float, float]]:
    """Mirror a picture left to right, and its parts and box with it; the eyes change sides."""
    flipped = points[[0, 2, 1, 3, 4]].copy()
    flipped[:, 0] = image.width - flipped[:, 0]
    return ImageOps.mirror(image), flipped, (image.width - box[0] - box[2], *box[1:])


def drawn_dataset(folder: Path, count: int, seed: int = 0, mirror_odd: bool = True) -> PartDataset:
    """Write `count` drawn pictures into `folder` and return them as a data set; every other one faces left."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for i in range(count):
        image, points, box = draw(rng)
        if mirror_odd and i % 2:
            image, points, box = mirrored(image, points, box)
        path = folder / f"{seed}_{i:02d}.png"
        image.save(path)
        samples.append(Sample(path.name, path, image.size, points, np.isfinite(points).all(axis=1), box))
    return PartDataset(PARTS, tuple(samples), "drawn")
