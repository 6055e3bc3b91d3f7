"""How far activation centres move as noise and clutter are added to gradient maps: mixture, maximum, smoothed, centroid.

The paper says that the mixture "is much more robust to noise" than the maximum (section 2). This measures it on

- drawn maps, whose true centre is known: the error is the distance from it;
- real gradient maps of random channels (`--data`, a folder in the CUB layout; training images only), or maps from a file
  (`--maps FILE.npz` with `maps` (M, H, W) and, if known, `points` (M, 2)): without a known centre the error is the
  distance from where *the same method* found the centre on the undisturbed map.

Noise adds |ε|, ε normal with a standard deviation of `level` times the map's maximum, to every pixel. Clutter adds small
Gaussian spots at uniform places whose peak is `level` times the map's maximum. All methods see the same disturbed maps.
Writes JSON and one figure per source.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from partscope.backbones import get_backbone
from partscope.centres import find_centres
from partscope.figures import figure_robustness, save_figure
from partscope.formats import load_dataset
from partscope.images import load_image
from partscope.maps import gradient_maps
from partscope.views import view

METHODS = ("mixture", "maximum", "smoothed", "centroid")
NOISE = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
CLUTTER = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
SPOTS = 5
SPOT_SIGMA = 0.015  # of the map's longer side: 3 pixels of 224
BATCH = 32

Maps = NDArray[np.float32]
Disturbance = Callable[[Maps, float, np.random.Generator], Maps]


def drawn_maps(count: int, side: int, seed: int) -> tuple[Maps, NDArray[np.float64]]:
    """Draw maps that look like gradients: a speckled oriented spot in a wide, weak halo, over a diffuse background.

    Returns maps (M, side, side) with maximum 1, and the spots' centres (M, 2) in map pixels.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] + 0.5
    maps = np.empty((count, side, side), np.float32)
    centres = rng.uniform(0.15 * side, 0.85 * side, (count, 2))
    for m, (x, y) in enumerate(centres):
        angle = rng.uniform(0, np.pi)
        long, short = side * rng.uniform(0.05, 0.1), side * rng.uniform(0.03, 0.06)
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        spot = np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))
        halo_x, halo_y = x + rng.normal(0, 0.1 * side), y + rng.normal(0, 0.1 * side)
        halo = np.exp(-0.5 * ((columns - halo_x) ** 2 + (rows - halo_y) ** 2) / (0.2 * side) ** 2)
        # The magnitude of a gradient of three colours with random signs: a χ distribution with three degrees of freedom.
        speckle = np.linalg.norm(rng.normal(size=(3, side, side)), axis=0)
        values = (spot + 0.08 * halo + 0.02) * speckle
        maps[m] = values / values.max()
    return maps, centres


def real_maps(
    data: Path, backbone_name: str, images: int, channels: int, seed: int
) -> tuple[Maps, dict[str, object]]:
    """Return gradient maps of random channels of random training images, and what they were made with."""
    rng = np.random.default_rng(seed)
    backbone = get_backbone(backbone_name)
    training = load_dataset("cub", data).train
    chosen = np.sort(rng.choice(len(training), min(images, len(training)), replace=False))
    maps = []
    for i in chosen:
        which = np.sort(rng.choice(backbone.channels, channels, replace=False)).tolist()
        seen = view(backbone.preprocessing, load_image(training[int(i)].image), "image")
        maps.append(gradient_maps(backbone, seen.inputs, which).cpu().float().numpy())
    made = {
        "backbone": backbone_name, "layer": backbone.layer, "input_size": backbone.input_size, "images": len(chosen),
        "channels_per_image": channels, "split": "train", "drawn_from": len(training),
        "classes": len({sample.label for sample in training}),
    }  # fmt: skip
    return np.concatenate(maps), made


def add_noise(maps: Maps, level: float, rng: np.random.Generator) -> Maps:
    """Add the magnitude of normal noise whose standard deviation is `level` times each map's maximum."""
    peak = maps.max(axis=(1, 2), keepdims=True)
    return maps + level * peak * np.abs(rng.standard_normal(maps.shape, dtype=np.float32))


def add_clutter(maps: Maps, level: float, rng: np.random.Generator) -> Maps:
    """Add `SPOTS` Gaussian spots at uniform places with a peak of `level` times each map's maximum."""
    count, height, width = maps.shape
    sigma = SPOT_SIGMA * max(height, width)
    x = rng.uniform(0, width, (count, SPOTS, 1))
    y = rng.uniform(0, height, (count, SPOTS, 1))
    across = np.exp(-0.5 * ((np.arange(width) + 0.5 - x) / sigma) ** 2)
    down = np.exp(-0.5 * ((np.arange(height) + 0.5 - y) / sigma) ** 2)
    spots = np.einsum("msh,msw->mhw", down, across)
    return np.asarray(maps + level * maps.max(axis=(1, 2), keepdims=True) * spots, np.float32)


def centres_of(maps: Maps, method: str) -> NDArray[np.float64]:
    """Return the centres (M, 2) of maps in map pixels, NaN where there is none."""
    pieces = [
        find_centres(torch.from_numpy(maps[start : start + BATCH]), method).points
        for start in range(0, len(maps), BATCH)
    ]
    return torch.cat(pieces).double().numpy()


def displacements(
    maps: Maps,
    truth: NDArray[np.float64] | None,
    disturb: Disturbance,
    levels: tuple[float, ...],
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Return for each method the errors (levels, M) as shares of the map's diagonal.

    The error is the distance from `truth` (M, 2) or, without it, from the method's own centre on the undisturbed maps.
    """
    diagonal = float(np.hypot(*maps.shape[1:]))
    reference = {method: centres_of(maps, method) if truth is None else truth for method in METHODS}
    errors: dict[str, list[NDArray[np.float64]]] = {method: [] for method in METHODS}
    for number, level in enumerate(levels):
        disturbed = disturb(maps, level, np.random.default_rng([seed, number]))
        for method in METHODS:
            away = centres_of(disturbed, method) - reference[method]
            errors[method].append(np.hypot(away[:, 0], away[:, 1]) / diagonal)
    return {method: np.stack(values) for method, values in errors.items()}


def summary(levels: tuple[float, ...], errors: dict[str, NDArray[np.float64]]) -> dict[str, object]:
    """Return what the JSON keeps of one disturbance; each mean with its standard error over maps."""
    rows: dict[str, object] = {"levels": list(levels)}
    for method, values in errors.items():
        count = np.isfinite(values).sum(axis=1)
        rows[method] = {
            "mean": np.round(np.nanmean(values, axis=1), 5).tolist(),
            "standard_error": np.round(np.nanstd(values, axis=1, ddof=1) / np.sqrt(count), 5).tolist(),
            "median": np.round(np.nanmedian(values, axis=1), 5).tolist(),
            "maps": count.tolist(),
        }
    return rows


def measure(
    maps: Maps, truth: NDArray[np.float64] | None, seed: int
) -> tuple[dict[str, object], dict[str, tuple[tuple[float, ...], dict[str, NDArray[np.float64]]]]]:
    """Return one source's rows for the JSON and its curves for the figure."""
    noise = displacements(maps, truth, add_noise, NOISE, seed)
    clutter = displacements(maps, truth, add_clutter, CLUTTER, seed + 1)
    rows = {
        "maps": len(maps),
        "side": list(maps.shape[1:]),
        "reference": "the method's own centre on the undisturbed map" if truth is None else "the true centre",
        "noise": summary(NOISE, noise),
        "clutter": summary(CLUTTER, clutter),
    }
    curves = {
        "standard deviation of the noise\n(share of the map's maximum)": (NOISE, noise),
        f"peak of {SPOTS} spots of clutter\n(share of the map's maximum)": (CLUTTER, clutter),
    }
    return rows, curves


def main() -> None:
    root = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder in the CUB layout, for real gradient maps")
    parser.add_argument(
        "--backbone", action="append", help="may be repeated; default: both embedded networks"
    )
    parser.add_argument("--maps", type=Path, help="an .npz file with `maps` and, if known, `points`")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--channels", type=int, default=8, help="random channels per image")
    parser.add_argument("--drawn", type=int, default=160, help="number of drawn maps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=root / "results" / "robustness.json")
    parser.add_argument("--figures", type=Path, default=root.parent / "docs" / "figures")
    options = parser.parse_args()

    result: dict[str, object] = {"seed": options.seed, "spots": SPOTS, "spot_sigma": SPOT_SIGMA}
    maps, truth = drawn_maps(options.drawn, 224, options.seed)
    sources: list[tuple[str, str, dict[str, object], Maps, NDArray[np.float64] | None]] = [
        ("drawn", "drawn maps, distance from the true centre", {}, maps, truth)
    ]
    if options.maps is not None:
        with np.load(options.maps, allow_pickle=False) as file:
            points = file["points"].astype(np.float64) if "points" in file else None
            sources.append(("file", "maps of a file", {}, file["maps"].astype(np.float32), points))
    if options.data is not None:
        for name in options.backbone or ["efficientnet_lite0", "squeezenet1_1"]:
            real, made = real_maps(options.data, name, options.images, options.channels, options.seed)
            sources.append((name, f"gradient maps of {name}, displacement", made, real, None))
    for name, title, made, values, points in sources:
        rows, curves = measure(values, points, options.seed)
        result[name] = {**made, **rows}
        figure = figure_robustness(curves, title=f"Centres under noise and clutter: {title}")
        options.figures.mkdir(parents=True, exist_ok=True)
        save_figure(figure, options.figures / f"robustness-{name}.png")
        for kind in ("noise", "clutter"):
            print(name, kind, *(f"{method} {rows[kind][method]['mean']}" for method in METHODS), sep="\n  ")  # type: ignore[index]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
