"""Colours: a species' markings laid on the visible surface, feathered and lit."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from partscope.synthetic.anatomy import Anatomy, Organ
from partscope.synthetic.noise import noise
from partscope.synthetic.raycast import Surface
from partscope.synthetic.species import Colour, Species

Array = NDArray[np.float32]

_TABLE = 384
_CELL = 6


def paint(
    surface: Surface, anatomy: Anatomy, light: NDArray[np.float64], soft: float, rng: np.random.Generator
) -> Array:
    """Return (N, 3) colours in [0, 1] of the visible pixels.

    Parameters
    ----------
    surface: what is seen of the anatomy's ellipsoids.
    light: (3,) unit vector towards the light in the surface's frame (x right, y down, z towards the viewer).
    soft: width in pixels over which the ellipsoids of a body melt into each other.
    """
    species = anatomy.species
    organ = anatomy.organ[surface.owner]
    q = surface.local
    place = (anatomy.place[surface.owner] + anatomy.reach[surface.owner] * q[:, 0]).astype(np.float32)
    colour = np.zeros((len(q), 3), dtype=np.float32)
    # A place of its own in the table for every bird.
    feathers = np.roll(_feathers(), tuple(rng.integers(0, _TABLE, 2)), axis=(0, 1))
    normals = _softened(surface, (organ == Organ.BODY) | (organ == Organ.NECK) | (organ == Organ.BEAK), soft)
    painters = (
        ((Organ.BODY, Organ.NECK), _body),
        ((Organ.HEAD,), _head),
        ((Organ.CREST,), _crest),
        ((Organ.BEAK,), _beak),
        ((Organ.LEFT_WING, Organ.RIGHT_WING), _wing),
        ((Organ.TAIL,), _tail),
        ((Organ.LEFT_LEG, Organ.RIGHT_LEG), _leg),
    )
    for organs, painter in painters:
        here = np.flatnonzero(np.isin(organ, organs))
        if len(here):
            colour[here] = painter(species, q[here], place[here], feathers)
    diffuse = normals @ light.astype(np.float32)
    # Half-Lambert: feathers scatter light around the edge of the shadow.
    shade = (
        0.42 + 0.62 * np.clip(0.5 + 0.5 * diffuse, 0, 1) ** 1.5 + 0.10 * normals[:, 2] - 0.10 * normals[:, 1]
    )
    half = light + np.array([0.0, 0.0, 1.0])
    half /= np.linalg.norm(half)
    colour *= shade[:, None]
    horn = np.flatnonzero(organ == Organ.BEAK)
    colour[horn] += 0.25 * np.clip(normals[horn] @ half.astype(np.float32), 0, 1)[:, None] ** 24
    eyes = np.flatnonzero((organ == Organ.LEFT_EYE) | (organ == Organ.RIGHT_EYE))
    if len(eyes):
        colour[eyes] = _eye(species, q[eyes], surface.normals[eyes] @ half.astype(np.float32))
    np.clip(colour, 0, 1, out=colour)
    return colour


def _body(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    around = np.arctan2(np.abs(q[:, 1]), q[:, 2])  # 0 at the back, π at the belly
    streak = _look_up(feathers, place * 38, around * 26)
    patch = _look_up(feathers, place * 12 + 40, around * 7 + 11)
    colour = _flat(species.under, len(q))
    _blend(colour, species.breast, _step(place, 0.50, 0.60) * _step(around, 1.1, 1.4))
    _blend(colour, species.throat, _step(place, 0.84, 0.90) * _step(around, 1.2, 1.5))
    if species.band:
        chest = _ridge(place + 0.02 * patch, 0.74, 0.045) * _step(around, 1.2, 1.5)
        _blend(colour, species.stripe, species.band * chest)
    marks = _step(around, 1.3, 1.7) * _step(place, 0.22, 0.4)
    if species.streaks:
        _blend(
            colour,
            species.stripe,
            0.8 * species.streaks * marks * (_look_up(feathers, place * 14, around * 30) > 0.35),
        )
    if species.spots:
        grid = np.sin(place * 95) * np.sin(around * 16 + 2.0 * np.floor(place * 95 / np.pi))
        _blend(colour, species.stripe, 0.85 * species.spots * marks * (grid > 0.45))
    _blend(colour, species.upper, 1 - _step(around + 0.12 * patch, 1.05, 1.55))
    back = 1 - _step(around, 1.0, 1.5)
    if species.scales:
        grid = np.abs(np.sin(place * 60 + 1.2 * np.abs(np.sin(around * 11))))
        _blend(colour, species.bar, 0.45 * species.scales * back * (grid < 0.22))
    if species.hood:
        _blend(colour, species.crown, species.hood * _step(place, 0.82, 0.86))
    elif species.cap:
        _blend(colour, species.crown, species.cap * back * _step(place, 0.93, 0.97))
    if species.collar:
        _blend(colour, species.bar, species.collar * _ridge(place, 0.88, 0.03))
    colour *= (1 + 0.16 * streak + 0.10 * patch)[:, None]
    return colour


def _head(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    forward, side, up = q[:, 0], np.abs(q[:, 1]), q[:, 2]
    fluff = _look_up(feathers, forward * 22 + 50, up * 30 + 50)
    edge = up + 0.05 * fluff
    colour = _flat(species.face, len(q))
    _blend(colour, species.upper, _step(-forward, 0.1, 0.5) * _step(edge, -0.3, 0.1))
    if species.hood:
        _blend(colour, species.crown, np.full(len(q), species.hood, dtype=np.float32))
    _blend(colour, species.throat, max(species.bib, 0.75) * _step(-edge, 0.35, 0.5))
    if species.cap:
        _blend(colour, species.crown, species.cap * _step(edge, 0.40, 0.52))
    if species.brow:
        _blend(colour, species.bar, species.brow * _ridge(edge, 0.45, 0.10) * _step(side, 0.3, 0.5))
    if species.eye_stripe:
        _blend(
            colour,
            species.stripe,
            species.eye_stripe * _ridge(edge - 0.06 * forward, 0.20, 0.11) * _step(side, 0.2, 0.4),
        )
    near = (forward - 0.46) ** 2 + (side - 0.84) ** 2 + (up - 0.24) ** 2
    if species.eye_ring:
        _blend(colour, species.bar, species.eye_ring * (near < (1.4 * species.eye / species.head) ** 2))
    else:
        _blend(colour, species.stripe, 0.6 * (near < (1.3 * species.eye / species.head) ** 2))
    colour *= (1 + 0.13 * fluff)[:, None]
    return colour


def _crest(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    colour = _flat(species.crown if species.cap or species.hood else species.upper, len(q))
    colour *= (0.9 + 0.15 * _look_up(feathers, q[:, 0] * 8, q[:, 1] * 20))[:, None]
    return colour


def _beak(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    colour = _flat(species.beak_colour, len(q))
    colour *= (1.05 - 0.3 * place)[:, None]
    _blend(colour, (0.05, 0.04, 0.04), 0.75 * _ridge(q[:, 2], -0.12, 0.10))
    return colour


def _wing(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    along, across = q[:, 0], q[:, 1]
    colour = _flat(species.wings, len(q))
    flight = place > 0.75
    greater = (place > 0.25) & ~flight
    scale = np.abs(np.sin(along * 9 + 1.3 * np.abs(np.sin(across * 7))))
    _blend(colour, species.bar, np.where(flight, 0.0, max(0.25, species.scales) * 0.5) * (scale < 0.22))
    colour[greater] *= 0.9
    _blend(colour, species.flight, flight * np.float32(1))
    if species.wing_bars:
        _blend(colour, species.bar, species.wing_bars * greater * _step(along, 0.55, 0.7))
    # A flight feather: pale outer edge, dark inner edge, a shaft between.
    _blend(colour, species.wings, 0.65 * flight * _step(across, 0.45, 0.75))
    _blend(colour, (0.03, 0.03, 0.03), 0.45 * flight * _step(-across, 0.55, 0.95))
    _blend(colour, species.bar, 0.25 * flight * (np.abs(across) < 0.07))
    colour *= (1 + 0.12 * _look_up(feathers, along * 20, across * 14))[:, None]
    return colour


def _tail(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    along, across = q[:, 0], q[:, 1]
    colour = _flat(species.tail_colour, len(q))
    if species.tail_bars:
        _blend(colour, species.bar, 0.6 * species.tail_bars * (np.sin(along * 15) > 0.5))
    _blend(colour, species.bar, 0.5 * (species.wing_bars > 0) * _step(along, 0.88, 0.95))
    _blend(colour, (0.03, 0.03, 0.03), 0.4 * _step(np.abs(across), 0.6, 1.0))
    colour *= (1 + 0.12 * _look_up(feathers, along * 20, across * 14))[:, None]
    return colour


def _leg(species: Species, q: Array, place: Array, feathers: Array) -> Array:
    colour = _flat(species.leg_colour, len(q))
    thigh = place < 0.5
    _blend(colour, species.under, thigh * np.float32(1))
    colour *= (1 + 0.12 * _look_up(feathers, q[:, 0] * 16, q[:, 1] * 12))[:, None]
    return colour


def _eye(species: Species, q: Array, towards_light: Array) -> Array:
    colour = _flat(species.iris, len(q))
    _blend(colour, (0.02, 0.02, 0.02), np.float32(1) * (q[:, 0] > 0.62))
    _blend(colour, (0.03, 0.03, 0.03), np.float32(1) * (q[:, 0] < 0.40))
    _blend(colour, (1.0, 1.0, 1.0), 0.95 * _step(towards_light, 0.90, 0.95))
    return colour


def _flat(colour: Colour, count: int) -> Array:
    return np.tile(np.array(colour, dtype=np.float32), (count, 1))


def _blend(colours: Array, over: Colour, weight: Array | NDArray[np.float64]) -> None:
    colours += (np.array(over, dtype=np.float32) - colours) * np.asarray(weight, dtype=np.float32)[:, None]


def _step(value: Array, low: float, high: float) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    s = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(s * s * (3 - 2 * s), dtype=np.float32)


def _ridge(value: Array, at: float, half_width: float) -> Array:
    """Return 1 on the line `value = at`, falling smoothly to 0 at about `half_width`."""
    return 1 - _step(np.abs(value - np.float32(at)), 0.6 * half_width, 1.2 * half_width)


def _look_up(table: Array, u: Array, v: Array) -> Array:
    """Read the table of noise, repeated in both directions, at rows `v` and columns `u` in its cells."""
    rows, columns = table.shape
    picked: Array = table[(v * _CELL).astype(np.intp) % rows, (u * _CELL).astype(np.intp) % columns]
    return picked


@cache
def _feathers() -> Array:
    """Return a fixed table of noise with cells of `_CELL` entries; every bird looks at another place of it."""
    return noise(np.random.default_rng(0), (_TABLE, _TABLE), (_TABLE // _CELL, _TABLE // _CELL), octaves=2)


def _softened(surface: Surface, where: NDArray[np.bool_], radius: float) -> Array:
    """Return the normals, averaged over their neighbours `where` the seams between ellipsoids would show."""
    height, width = surface.mask.shape
    coded = np.full((height, width, 3), 128, dtype=np.uint8)
    pixels = np.flatnonzero(surface.mask)[where]
    normals: Array = surface.normals.copy()
    coded.reshape(-1, 3)[pixels] = (normals[where] * 127 + 128).astype(np.uint8)
    blurred = np.asarray(Image.fromarray(coded).filter(ImageFilter.BoxBlur(float(radius))))
    chosen = blurred.reshape(-1, 3)[pixels].astype(np.float32) - 128
    normals[where] = chosen / (np.sqrt(np.einsum("ij,ij->i", chosen, chosen))[:, None] + 1e-6)
    return normals
