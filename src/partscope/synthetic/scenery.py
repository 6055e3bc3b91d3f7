"""What is around a bird: out-of-focus backgrounds, in-focus things behind it, and things that hide a piece of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from partscope.synthetic.noise import noise
from partscope.synthetic.pose import Stance

Colour = tuple[int, int, int]
Point = tuple[float, float]
FloatArray = NDArray[np.float32]

_LEAF: tuple[Colour, ...] = (
    (70, 110, 40),
    (95, 130, 55),
    (45, 85, 40),
    (130, 140, 60),
    (150, 110, 50),
    (110, 60, 40),
)
_BARK: tuple[Colour, ...] = ((95, 78, 62), (120, 110, 100), (70, 55, 45), (135, 105, 75), (85, 85, 80))
_REED: tuple[Colour, ...] = ((120, 130, 60), (160, 140, 85), (80, 110, 50), (190, 170, 110))
_FRUIT: tuple[Colour, ...] = (
    (170, 40, 35),
    (215, 130, 40),
    (70, 60, 120),
    (225, 205, 80),
    (235, 235, 230),
    (190, 90, 140),
)
_STONE: tuple[Colour, ...] = ((130, 125, 120), (95, 90, 88), (160, 150, 135))
# Dark, middle and light tone of each kind of place.
_PLACES: dict[str, tuple[tuple[Colour, Colour, Colour], ...]] = {
    "foliage": (
        ((25, 45, 20), (80, 115, 50), (165, 185, 110)),
        ((40, 40, 20), (120, 110, 55), (200, 180, 110)),
    ),
    "sky": (
        ((80, 130, 190), (140, 180, 220), (225, 235, 245)),
        ((120, 130, 145), (170, 178, 188), (225, 225, 225)),
    ),
    "water": (
        ((35, 60, 75), (80, 115, 130), (170, 195, 205)),
        ((50, 60, 45), (95, 105, 85), (165, 170, 150)),
    ),
    "ground": (
        ((90, 75, 55), (150, 130, 100), (205, 190, 160)),
        ((70, 75, 50), (120, 120, 85), (175, 170, 130)),
    ),
    "wood": (((35, 28, 22), (85, 70, 55), (140, 125, 105)), ((50, 50, 50), (100, 98, 95), (160, 155, 150))),
}
_WHERE: dict[Stance, tuple[str, ...]] = {
    "perched": ("foliage", "foliage", "sky", "wood", "ground", "water"),
    "ground": ("ground", "ground", "foliage", "water"),
    "clinging": ("foliage", "wood", "sky"),
    "swimming": ("water",),
    "flying": ("sky", "sky", "foliage", "water", "ground"),
}


def background(rng: np.random.Generator, width: int, height: int, stance: Stance) -> FloatArray:
    """Return an out-of-focus place as (height, width, 3) colours in [0, 255]."""
    kind = _WHERE[stance][int(rng.integers(len(_WHERE[stance])))]
    tones = _PLACES[kind][int(rng.integers(len(_PLACES[kind])))]
    dark, middle, light = (
        np.array(tone, dtype=np.float32) * np.float32(rng.uniform(0.8, 1.2)) for tone in tones
    )
    stretch = {"water": (6, 1), "ground": (3, 1), "wood": (1, 3)}.get(kind, (1, 1))
    cells = int(rng.integers(2, 7))
    # Half the size is enough for what is blurred anyway.
    w, h = max(width // 2, 8), max(height // 2, 8)
    field = noise(rng, (h, w), (cells * stretch[0], cells * stretch[1]), octaves=int(rng.integers(1, 5)))
    slope = rng.normal(0.0, 0.5, 2)
    field *= rng.uniform(0.3, 0.8)
    field += (slope[0] * np.linspace(-1, 1, w)[None, :] + slope[1] * np.linspace(-1, 1, h)[:, None]).astype(
        np.float32
    )
    field = np.clip(field, -1, 1)[:, :, None]
    colours = middle + np.where(field > 0, (light - middle) * field, (middle - dark) * field)
    image = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(0, 40))):
        radius = float(rng.uniform(0.02, 0.14)) * max(w, h)
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        tone = (light if rng.random() < 0.5 else dark) * rng.uniform(0.7, 1.15) + rng.normal(0, 7, 3)
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + rng.uniform(0.3, 1.0) * radius), fill=_rgb(tone)
        )
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 7))):
            ends = [(float(rng.uniform(-0.2, 1.2) * w), float(rng.uniform(-0.2, 1.2) * h)) for _ in range(2)]
            draw.line(
                ends, fill=_rgb(dark * rng.uniform(0.7, 1.5)), width=int(rng.integers(2, max(3, w // 15)))
            )
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 6.0))))
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


class Layer:
    """Things in focus, drawn at twice the picture's size on a transparent ground.

    Attributes
    ----------
    colours: RGB, black where nothing is drawn.
    mask: 255 where something is drawn.
    """

    def __init__(self, width: int, height: int) -> None:
        self.colours = Image.new("RGB", (width, height))
        self.mask = Image.new("L", (width, height))
        self._paint = ImageDraw.Draw(self.colours)
        self._cover = ImageDraw.Draw(self.mask)
        self.used = False

    def covered(self) -> NDArray[np.bool_]:
        """Return (height, width) bool: something is drawn here."""
        return np.asarray(self.mask) > 127

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self.used = True
        self._paint.polygon(points, fill=colour)
        self._cover.polygon(points, fill=255)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an axis-parallel ellipse."""
        self.used = True
        self._paint.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)
        self._cover.ellipse((x - rx, y - ry, x + rx, y + ry), fill=255)

    def branch(
        self, rng: np.random.Generator, start: Point, end: Point, width: float, bend: float = 0.06
    ) -> NDArray[np.float64]:
        """Draw a branch, lit from above, as three strips along a quadratic curve; return the curve, (24, 2)."""
        a, b = np.array(start), np.array(end)
        normal = np.array([-(b - a)[1], (b - a)[0]]) / (np.linalg.norm(b - a) + 1e-9)
        t = np.linspace(0, 1, 24)[:, None]
        sag = 4 * t * (1 - t) * bend * float(rng.normal()) * np.linalg.norm(b - a)
        path = a + t * (b - a) + sag * normal
        across = normal * (0.5 * width * (1.1 - 0.4 * t + 0.07 * rng.normal(size=(24, 1))))
        down = 1.0 if normal[1] >= 0 else -1.0
        base = np.array(_BARK[int(rng.integers(len(_BARK)))]) * rng.uniform(0.75, 1.2)
        for low, high, tone in ((-1.0, 1.0, 0.85), (-0.75, 0.3, 1.15), (-0.45, -0.05, 1.35)):
            strip = np.concatenate([path + down * low * across, (path + down * high * across)[::-1]])
            self.polygon([(float(x), float(y)) for x, y in strip], _rgb(base * tone))
        return np.asarray(path, dtype=np.float64)

    def leaf(self, rng: np.random.Generator, x: float, y: float, length: float) -> None:
        """Draw a pointed leaf in two halves of different light."""
        angle = float(rng.uniform(0, 2 * math.pi))
        along = np.array([math.cos(angle), math.sin(angle)])
        across = np.array([-along[1], along[0]]) * float(rng.uniform(0.18, 0.4))
        base = np.array(_LEAF[int(rng.integers(len(_LEAF)))]) * rng.uniform(0.7, 1.3)
        s = np.linspace(0, 1, 9)[:, None]
        for side, tone in ((1, 1.15), (-1, 0.85)):
            edge = np.array([x, y]) + length * (s * along + side * np.sin(math.pi * s**0.8) * across)
            self.polygon([(float(px), float(py)) for px, py in edge], _rgb(base * tone))

    def reed(self, rng: np.random.Generator, x: float, bottom: float, length: float, width: float) -> None:
        """Draw a blade that rises from `bottom` and bends over."""
        lean = float(rng.normal(0, 0.25)) * length
        s = np.linspace(0, 1, 12)[:, None]
        path = np.array([x, bottom]) + np.concatenate([lean * s**2, -length * s], axis=1)
        half = 0.5 * width * (1 - s**3) * np.array([[1.0, 0.0]])
        base = np.array(_REED[int(rng.integers(len(_REED)))]) * rng.uniform(0.7, 1.2)
        for left, right, tone in ((-1.0, 1.0, 0.85), (-0.6, 0.3, 1.15)):
            blade = np.concatenate([path + left * half, (path + right * half)[::-1]])
            self.polygon([(float(px), float(py)) for px, py in blade], _rgb(base * tone))

    def decoy(self, rng: np.random.Generator, x: float, y: float, size: float) -> None:
        """Draw a round thing that is no bird: a fruit, a flower, a stone with a light side."""
        kind = int(rng.choice(3, p=(0.4, 0.15, 0.45)))
        base = np.array((_FRUIT if kind < 2 else _STONE)[int(rng.integers(3))]) * rng.uniform(0.6, 1.0)
        if kind == 1:
            for i in range(6):
                angle = i * math.pi / 3
                self.ellipse(
                    x + 0.5 * size * math.cos(angle),
                    y + 0.5 * size * math.sin(angle),
                    0.35 * size,
                    0.35 * size,
                    _rgb(base),
                )
            base = base * 0.5
        flat = 1.0 if kind == 0 else float(rng.uniform(0.5, 0.9))
        for shrink, tone in ((1.0, 0.75), (0.8, 0.95), (0.5, 1.15)):
            offset = 0.25 * size * (1 - shrink)
            self.ellipse(
                x - offset, y - offset, 0.5 * shrink * size, 0.5 * shrink * flat * size, _rgb(base * tone)
            )


def _rgb(colour: NDArray[np.float64] | NDArray[np.float32]) -> Colour:
    red, green, blue = (int(min(max(value, 0), 255)) for value in colour)
    return red, green, blue
