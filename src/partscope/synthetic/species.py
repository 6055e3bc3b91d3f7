"""A species: the proportions, colours and markings that every drawn bird of one class shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]

_ADJECTIVES = (
    "Amber", "Ashen", "Banded", "Barred", "Bright", "Bronze", "Capped", "Dusky", "Gilded", "Hooded", "Ivory", "Masked",
    "Mottled", "Pale", "Painted", "Rusty", "Sable", "Scarlet", "Shining", "Silver", "Spotted", "Streaked", "Umber", "Veiled",
)  # fmt: skip
_PLACES = (
    "Bog", "Brook", "Canyon", "Cliff", "Dune", "Fen", "Field", "Forest", "Garden", "Glade", "Heath", "Hill", "Island", "Lake",
    "Meadow", "Moor", "Orchard", "Prairie", "Reed", "River", "Scrub", "Shore", "Thicket", "Willow",
)  # fmt: skip
# Feathers of birds, not a colour wheel: mostly browns and greys, with the saturated hues that birds do wear.
_MUTED: tuple[Colour, ...] = (
    (0.42, 0.33, 0.24), (0.55, 0.45, 0.33), (0.30, 0.24, 0.20), (0.45, 0.45, 0.46), (0.62, 0.60, 0.57), (0.28, 0.30, 0.34),
    (0.50, 0.47, 0.30), (0.14, 0.14, 0.16), (0.60, 0.42, 0.26),
)  # fmt: skip
_VIVID: tuple[Colour, ...] = (
    (0.75, 0.14, 0.10), (0.90, 0.74, 0.12), (0.15, 0.33, 0.68), (0.88, 0.45, 0.10), (0.30, 0.52, 0.20), (0.20, 0.52, 0.62),
    (0.50, 0.16, 0.12), (0.32, 0.26, 0.55),
)  # fmt: skip
_PALE: tuple[Colour, ...] = (
    (0.93, 0.92, 0.88), (0.86, 0.80, 0.68), (0.92, 0.85, 0.55), (0.78, 0.78, 0.78), (0.88, 0.72, 0.55), (0.96, 0.96, 0.96),
)  # fmt: skip
_HORN: tuple[Colour, ...] = (
    (0.12, 0.12, 0.13), (0.28, 0.26, 0.25), (0.85, 0.55, 0.12), (0.82, 0.72, 0.45), (0.72, 0.25, 0.15), (0.50, 0.45, 0.40),
)  # fmt: skip
_EYES: tuple[Colour, ...] = (
    (0.06, 0.04, 0.03),
    (0.10, 0.06, 0.04),
    (0.22, 0.11, 0.05),
    (0.45, 0.12, 0.06),
    (0.75, 0.58, 0.15),
)
# Length, radius at the base, droop of the tip and width over height of the beak, in lengths of the body: seed eater,
# insect eater, crow, prober, bird of prey, flat bill.
_BEAKS = (
    (0.17, 0.075, 0.10, 0.9), (0.18, 0.042, 0.03, 0.9), (0.30, 0.065, 0.12, 0.8), (0.50, 0.040, 0.10, 0.8),
    (0.19, 0.080, 0.50, 0.8), (0.30, 0.055, -0.06, 1.8),
)  # fmt: skip


@dataclass(frozen=True)
class Species:
    """Proportions in lengths of the body, colours as RGB in [0, 1], strengths of markings in [0, 1].

    A marking that a species does not have has strength 0.
    """

    name: str
    girth: float
    head: float
    neck: float
    beak: tuple[float, float, float, float]
    eye: float
    crest: float
    wing: float
    tail: float
    tail_width: float
    fork: float
    leg: float
    leg_width: float
    upper: Colour
    under: Colour
    breast: Colour
    throat: Colour
    crown: Colour
    face: Colour
    stripe: Colour
    wings: Colour
    flight: Colour
    bar: Colour
    tail_colour: Colour
    beak_colour: Colour
    leg_colour: Colour
    iris: Colour
    cap: float
    eye_stripe: float
    brow: float
    eye_ring: float
    bib: float
    hood: float
    band: float
    streaks: float
    spots: float
    scales: float
    wing_bars: float
    tail_bars: float
    collar: float


def draw_species(random_state: int, index: int) -> Species:
    """Return the species number `index` (from 0) of a seed; it does not depend on how many there are."""
    rng = np.random.default_rng([random_state, 0, index])
    vivid = rng.random() < 0.55
    upper = _pick(rng, _VIVID if vivid and rng.random() < 0.6 else _MUTED)
    under = _pick(rng, _PALE if rng.random() < 0.75 else _MUTED)
    accent = _pick(rng, _VIVID if vivid else _MUTED + _PALE)
    dark = _pick(rng, ((0.08, 0.08, 0.09), (0.20, 0.15, 0.12)))
    pale = _pick(rng, _PALE)
    length, radius, droop, flat = _BEAKS[int(rng.integers(len(_BEAKS)))]
    wader = rng.random() < 0.2
    same = rng.random() < 0.5

    def marking(probability: float) -> float:
        return float(rng.uniform(0.6, 1.0)) if rng.random() < probability else 0.0

    return Species(
        name=_name(rng),
        girth=float(rng.uniform(0.86, 1.16)),
        head=float(rng.uniform(0.165, 0.22)) * (0.85 if wader else 1.0),
        neck=float(rng.uniform(0.45, 0.7) if wader else rng.uniform(0.17, 0.33)),
        beak=(float(length * rng.uniform(0.85, 1.2)), float(radius * rng.uniform(0.9, 1.1)), droop, flat),
        eye=float(rng.uniform(0.034, 0.046)),
        crest=float(rng.uniform(0.12, 0.28)) if rng.random() < 0.2 else 0.0,
        wing=float(rng.uniform(0.82, 1.1)),
        tail=float(rng.uniform(0.28, 0.45) if rng.random() < 0.4 else rng.uniform(0.45, 0.95)),
        tail_width=float(rng.uniform(0.045, 0.075)),
        fork=float(rng.uniform(-0.35, 0.35)),
        leg=float(rng.uniform(0.6, 0.95) if wader else rng.uniform(0.22, 0.42)),
        leg_width=float(rng.uniform(0.017, 0.027)),
        upper=upper,
        under=under,
        breast=accent if rng.random() < 0.45 else under,
        throat=pale if same else accent,
        crown=_pick(rng, (dark, accent, pale)),
        face=upper if rng.random() < 0.6 else under,
        stripe=dark,
        wings=upper if same else _pick(rng, _MUTED),
        flight=dark if rng.random() < 0.6 else _pick(rng, _MUTED),
        bar=pale,
        tail_colour=dark if rng.random() < 0.4 else upper,
        beak_colour=_pick(rng, _HORN),
        leg_colour=_pick(rng, _HORN),
        iris=_pick(rng, _EYES),
        cap=marking(0.45),
        eye_stripe=marking(0.4),
        brow=marking(0.3),
        eye_ring=marking(0.25),
        bib=marking(0.35),
        hood=marking(0.15),
        band=marking(0.2),
        streaks=marking(0.35),
        spots=marking(0.2),
        scales=marking(0.3),
        wing_bars=marking(0.5),
        tail_bars=marking(0.35),
        collar=marking(0.15),
    )


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    colour: NDArray[np.float64] = np.asarray(colours[int(rng.integers(len(colours)))])
    varied = np.clip(colour * rng.uniform(0.88, 1.12) + rng.normal(0.0, 0.02, 3), 0.02, 0.98)
    return float(varied[0]), float(varied[1]), float(varied[2])


def _name(rng: np.random.Generator) -> str:
    """Return an invented name in the data set's manner, such as `Dusky_Fen_Bird`."""
    return f"{_ADJECTIVES[rng.integers(len(_ADJECTIVES))]}_{_PLACES[rng.integers(len(_PLACES))]}_Bird"
