"""Tables of centres, drawn at random, that searches run on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partscope.dataset import PartDataset, Sample
from partscope.search import RecordedCells, Screening
from partscope.search.charges import Charges
from partscope.search.guide import Guide
from partscope.search.tally import Tally

PARTS = ("beak", "tail", "crest")


def marked(seed: int, count: int, hidden: float = 0.2) -> PartDataset:
    """Images with three parts, some of them hidden; the crest is shown by none where the seed is a multiple of 3."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        width, height = (int(v) for v in rng.integers(20, 60, 2))
        visible = rng.random(3) >= hidden
        visible[2] &= bool(seed % 3)
        points = rng.uniform(0, 1, (3, 2)) * (width, height)
        samples.append(Sample(f"{i}", Path(f"{i}.png"), (width, height), points, visible, None))
    return PartDataset(PARTS, tuple(samples))


def table(
    seed: int,
    data: PartDataset,
    channels: int,
    missing: float = 0.3,
    spread: float = 0.5,
    rounded: bool = False,
) -> np.ndarray:
    """Centres (N, K, 2): each channel follows a part at its own distance; `rounded` ones, in pixels, make ties."""
    rng = np.random.default_rng(seed + 1)
    images = len(data)
    part = rng.integers(0, 3, channels)
    noise = rng.uniform(0.02, spread, channels)
    centres = (
        data.points[:, part] + rng.normal(size=(images, channels, 2)) * noise[:, None] * data.sizes[:, None]
    )
    centres = np.clip(centres, 0, data.sizes[:, None])
    if rounded:
        centres = np.round(centres / 10) * 10
        centres[:, channels // 2 :] = centres[:, : channels - channels // 2]
    rate = rng.uniform(0, 2 * missing, channels)
    centres[rng.random((images, channels)) < rate] = np.nan
    return centres.astype(np.float32)


def screened(seed: int, centres: np.ndarray, error: float = 10.0, known: float = 0.7) -> Screening:
    """A forward pass that knows most of the missing centres and roughly where the others lie."""
    rng = np.random.default_rng(seed + 2)
    guess = centres + rng.normal(size=centres.shape) * error
    silent = np.isnan(centres[..., 0]) & (rng.random(centres.shape[:2]) < known)
    return Screening(guess.astype(np.float32), silent)


class NotedCells(RecordedCells):
    """Counts how often each cell is asked for."""

    def __init__(self, centres: np.ndarray) -> None:
        super().__init__(centres)
        self.asked = np.zeros(self.shape, dtype=int)

    def look(self, images: np.ndarray, channels: np.ndarray) -> np.ndarray:
        assert list(zip(images.tolist(), channels.tolist(), strict=True)) == sorted(
            zip(images.tolist(), channels.tolist(), strict=True)
        )
        self.asked[images, channels] += 1
        return super().look(images, channels)


def tally_of(
    data: PartDataset, centres: np.ndarray, screening: Screening, rule: str = "squared", top: int = 1
) -> Tally:
    return Tally(RecordedCells(centres), Charges(data, rule), screening.silent, top)


def sampled(
    seed: int, data: PartDataset, centres: np.ndarray, images: list[int]
) -> tuple[Tally, Guide, np.ndarray]:
    """A search that knows channel 0 and a sample of images of all others; the last is (N, K), the cells of the sample."""
    screening = screened(seed, centres, known=0.0)
    tally = tally_of(data, centres, screening)
    guide = Guide(screening, tally)
    tally.finish(np.arange(centres.shape[1]) == 0)
    guide.measure_images()
    guide.learn()
    before = tally.known.copy()
    sample = np.zeros(centres.shape[:2], dtype=bool)
    sample[images] = True
    tally.look(sample)
    return tally, guide, tally.known & ~before
