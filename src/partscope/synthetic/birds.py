"""Drawn birds: one picture with everything that is known about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from partscope.errors import OptionError
from partscope.synthetic.anatomy import Anatomy
from partscope.synthetic.camera import view
from partscope.synthetic.composition import (
    SUPERSAMPLING,
    Subject,
    draw_extent,
    draw_place,
    draw_size,
    hide_pieces,
    set_stage,
)
from partscope.synthetic.noise import noise
from partscope.synthetic.parts import label_parts, locate_parts
from partscope.synthetic.plumage import paint
from partscope.synthetic.pose import Pose, draw_pose
from partscope.synthetic.raycast import Surface, cast
from partscope.synthetic.scenery import Layer, background
from partscope.synthetic.species import Species, draw_species

_FINE = SUPERSAMPLING
_MOST_PICTURES = 10_000_000
# A picture is drawn again with fewer things in the way unless this share of the bird and so many parts can be seen.
_LEAST_SHOWN = 0.5
_LEAST_PARTS = 6


@dataclass(frozen=True, eq=False)
class DrawnBird:
    """One drawn bird.

    Attributes
    ----------
    image: (height, width, 3) uint8 RGB.
    points: (15, 2) float64 positions of `PARTS` in pixels, x right, y down, NaN where not visible.
    visible: (15,) bool.
    box: `(x, y, width, height)` in pixels, tight around what is seen of the bird.
    species: what it looks like; `label` is its number, from 0.
    pose: how it stands.
    labels: (2·height, 2·width) int8, the part seen at each half pixel, -1 for the rest of the bird and -2 elsewhere.
    occluded: (2·height, 2·width) bool, the half pixels in which something stands before the bird.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float64]
    visible: NDArray[np.bool_]
    box: tuple[float, float, float, float]
    species: Species
    label: int
    pose: Pose
    labels: NDArray[np.int8]
    occluded: NDArray[np.bool_]


def synthesize_birds(
    images: int, *, classes: int = 8, random_state: int = 0, size: int = 320
) -> Iterator[DrawnBird]:
    """Yield drawn birds one after the other; see :mod:`partscope.synthetic` for what they are.

    Bird number i is of class i modulo `classes`, and the same whatever the number of images: it depends on
    `random_state`, i, `classes` and `size` alone. Nothing is taken from numpy's global generator.

    Parameters
    ----------
    images: how many.
    classes: how many species; species c of a seed is the same whatever their number.
    random_state: seed, a non-negative integer.
    size: upper bound of the longer side of an image in pixels; the lower bound is 75 % of it.

    Raises
    ------
    OptionError: a number is not an integer or out of range.
    """
    images = _whole("images", images, 1, _MOST_PICTURES)
    _check(classes, random_state, size)
    return (draw_bird(i, classes=classes, random_state=random_state, size=size) for i in range(images))


def draw_bird(index: int, *, classes: int = 8, random_state: int = 0, size: int = 320) -> DrawnBird:
    """Draw the bird number `index` (from 0) of a seed; parameters and errors as :func:`synthesize_birds`."""
    index = _whole("index", index, 0, _MOST_PICTURES)
    _check(classes, random_state, size)
    label = index % classes
    rng = np.random.default_rng([random_state, 1, index])
    return render_bird(draw_species(random_state, label), draw_pose(rng), rng, size=size, label=label)


def render_bird(
    species: Species, pose: Pose, rng: np.random.Generator, *, size: int = 320, label: int = 0
) -> DrawnBird:
    """Draw one bird of a given species in a given pose; `rng` draws size, place, light, surroundings and occlusion."""
    width, height = draw_size(rng, size)
    anatomy = Anatomy(species, pose)
    camera = view(pose)
    solids = anatomy.solids.transformed(camera, np.zeros(3))
    lowers, uppers = solids.extents()
    lower = lowers.min(axis=0)
    extent = uppers.max(axis=0) - lower
    unit = _FINE * draw_extent(rng, width, height, (float(extent[0]), float(extent[1])))
    # One pixel of margin on each side keeps the window's border free.
    window = tuple(int(_FINE * np.ceil((side * unit + 2) / _FINE)) for side in extent[:2])
    origin = 1.0 - lower * unit
    surface = cast(solids.transformed(np.eye(3) * unit, origin), window[0], window[1])
    light = _light(rng)
    colours = paint(surface, anatomy, light, 0.03 * unit, rng)
    parts = label_parts(surface, anatomy)
    rows, columns = np.nonzero(surface.mask)
    fine = (_FINE * width, _FINE * height)
    swimming = pose.stance == "swimming"
    waterline = float(camera[1] @ _hip(anatomy)) * unit + origin[1] if swimming else np.inf
    ripple = np.sin(np.arange(window[0]) * (9.0 / unit) + rng.uniform(0, 6)) * 0.015 * unit
    above_water = rows < waterline + ripple[columns]

    # What stands in the way is drawn again where it leaves too little of the bird; the last attempt has nothing.
    cut, hidden = rng.random() < 0.16, rng.random() < 0.45
    for attempt in range(4):
        x0, y0 = draw_place(rng, (window[0], window[1]), fine, cut and attempt < 2)
        subject = _subject(anatomy, camera, unit, origin, (x0, y0), window)
        front = Layer(*fine)
        if hidden and attempt < 3:
            hide_pieces(front, rng, subject)
        covered = front.covered()
        inside = (columns + x0 >= 0) & (columns + x0 < fine[0]) & (rows + y0 >= 0) & (rows + y0 < fine[1])
        seen = np.flatnonzero(inside & above_water)
        shown = np.zeros(len(rows), dtype=np.bool_)
        shown[seen] = ~covered[rows[seen] + y0, columns[seen] + x0]
        pixels = np.stack([columns + x0 + 0.5, rows + y0 + 0.5], axis=1) / _FINE
        points, visible = locate_parts(parts, pixels, shown, 1.0 / unit**2)
        if shown.sum() >= _LEAST_SHOWN * above_water.sum() and visible.sum() >= _LEAST_PARTS:
            break

    labels = np.full((fine[1], fine[0]), -2, dtype=np.int8)
    labels[rows[shown] + y0, columns[shown] + x0] = parts[shown]
    left, top = pixels[shown].min(axis=0) - 0.5 / _FINE
    right, bottom = pixels[shown].max(axis=0) + 0.5 / _FINE
    behind = Layer(*fine)
    set_stage(behind, rng, subject, pose.stance)
    picture = background(rng, width, height, pose.stance)
    if pose.stance == "ground":
        _shadow(picture, subject.feet.mean(axis=0) / _FINE, unit / _FINE)
    grain = 1 + 0.10 * noise(rng, (height, width), (height // 6 + 2, width // 6 + 2), octaves=2)[:, :, None]
    _lay_over(picture, behind, grain)
    _lay_bird(picture, surface, colours, above_water, (x0 // _FINE, y0 // _FINE))
    _lay_over(picture, front, grain)
    return DrawnBird(
        image=_develop(picture, rng),
        points=points,
        visible=visible,
        box=(float(left), float(top), float(right - left), float(bottom - top)),
        species=species,
        label=label,
        pose=pose,
        labels=labels,
        occluded=covered,
    )


def _subject(
    anatomy: Anatomy,
    camera: NDArray[np.float64],
    unit: float,
    origin: NDArray[np.float64],
    corner: tuple[int, int],
    window: tuple[int, ...],
) -> Subject:
    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((points @ camera.T * unit + origin)[..., :2] + corner, dtype=np.float64)

    lean = np.radians(anatomy.pose.pitch)
    forward = np.array([np.cos(lean), 0.0, np.sin(lean)])
    under = np.array([np.sin(lean), 0.0, -np.cos(lean)])
    return Subject(
        box=(corner[0], corner[1], corner[0] + window[0], corner[1] + window[1]),
        feet=project(anatomy.feet),
        forward=(camera @ forward)[:2],
        under=(camera @ under)[:2],
        unit=unit,
    )


def _hip(anatomy: Anatomy) -> NDArray[np.float64]:
    """Return the point of the heading frame up to which a swimming bird is under water."""
    return np.array([-0.04, 0.0, -0.14 * anatomy.species.girth])


def _light(rng: np.random.Generator) -> NDArray[np.float64]:
    light = np.array([rng.normal(0.0, 0.5), rng.uniform(-1.0, -0.3), rng.uniform(0.3, 1.0)])
    return np.asarray(light / np.linalg.norm(light), dtype=np.float64)


def _lay_over(picture: NDArray[np.float32], layer: Layer, grain: NDArray[np.float32]) -> None:
    if not layer.used:
        return
    # The ground of a layer is black, so that its reduced colours are already multiplied by their cover.
    colours = np.asarray(layer.colours.reduce(_FINE), dtype=np.float32)
    cover = np.asarray(layer.mask.reduce(_FINE), dtype=np.float32)[:, :, None] / 255
    picture *= 1 - cover
    picture += colours * grain


def _lay_bird(
    picture: NDArray[np.float32],
    surface: Surface,
    colours: NDArray[np.float32],
    kept: NDArray[np.bool_],
    corner: tuple[int, int],
) -> None:
    height, width = surface.mask.shape
    fine = np.zeros((height, width, 3), dtype=np.uint8)
    cover = np.zeros((height, width), dtype=np.uint8)
    rows, columns = (index[kept] for index in np.nonzero(surface.mask))
    fine[rows, columns] = colours[kept] * 255 + 0.5
    cover[rows, columns] = 255
    bird = np.asarray(Image.fromarray(fine).reduce(_FINE), dtype=np.float32)
    alpha = np.asarray(Image.fromarray(cover).reduce(_FINE), dtype=np.float32)[:, :, None] / 255
    (x, y), (rows_in, columns_in) = corner, picture.shape[:2]
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + len(bird), rows_in), min(x + bird.shape[1], columns_in)
    place = picture[top:bottom, left:right]
    inner = (slice(top - y, bottom - y), slice(left - x, right - x))
    place *= 1 - alpha[inner]
    place += bird[inner]


def _shadow(picture: NDArray[np.float32], feet: NDArray[np.float64], unit: float) -> None:
    height, width = picture.shape[:2]
    x = (np.arange(width, dtype=np.float32) - feet[0])[None, :] / (0.55 * unit)
    y = (np.arange(height, dtype=np.float32) - feet[1])[:, None] / (0.12 * unit)
    picture *= (1 - 0.45 * np.exp(-(x**2) - y**2))[:, :, None].astype(np.float32)


def _develop(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Treat the picture as a camera would: tint, contrast, a soft lens, noise of the sensor."""
    picture *= (rng.normal(1.0, 0.05, 3) * rng.uniform(0.92, 1.18)).astype(np.float32)
    contrast, mean = np.float32(rng.uniform(0.8, 1.1)), np.float32(picture.mean())
    picture = mean + (picture - mean) * contrast
    soft = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    soft = soft.filter(ImageFilter.BoxBlur(float(rng.uniform(0.05, 0.5))))
    speckle = rng.standard_normal(picture.shape[:2], dtype=np.float32) * np.float32(rng.uniform(0.5, 4.0))
    grainy = np.clip(np.asarray(soft, dtype=np.float32) + speckle[:, :, None], 0, 255)
    return np.asarray(grainy, dtype=np.uint8)


def _check(classes: int, random_state: int, size: int) -> None:
    _whole("classes", classes, 1, 999)
    _whole("random_state", random_state, 0, 2**63 - 1)
    _whole("size", size, 64, 4096)


def _whole(name: str, value: int, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise OptionError(f"{name} must be an integer from {least} to {most}, not {value!r}.")
    return int(value)
