"""A pose: how one drawn bird stands, sits, clings, flies and is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Stance = Literal["perched", "ground", "clinging", "swimming", "flying"]


@dataclass(frozen=True)
class Pose:
    """Angles of one bird, in degrees.

    `heading` is the direction of the body as the viewer sees it: 0 to the right, 90 towards the viewer, 180 to the left,
    270 away. `elevation` and `roll` turn the camera, `pitch` lifts the breast above the tail. Head angles are relative
    to the heading, `head_yaw` positive to the bird's left. A wing's lift is the elevation of a spread wing above the
    horizontal, or None for a folded one; its sweep turns it forward. `legs` are the swings of left and right leg, forward
    positive.
    """

    stance: Stance
    heading: float
    elevation: float
    roll: float
    pitch: float
    neck: float
    neck_stretch: float
    head_yaw: float
    head_pitch: float
    head_roll: float
    wing_lift: tuple[float | None, float | None]
    wing_sweep: float
    wing_droop: tuple[float, float]
    tail: float
    tail_yaw: float
    tail_spread: float
    legs: tuple[float, float]

    def mirrored(self) -> Pose:
        """Return the pose whose picture is this pose's mirror image, left and right exchanged."""
        return replace(
            self,
            heading=180.0 - self.heading,
            roll=-self.roll,
            head_yaw=-self.head_yaw,
            head_roll=-self.head_roll,
            tail_yaw=-self.tail_yaw,
            wing_lift=self.wing_lift[::-1],
            wing_droop=self.wing_droop[::-1],
            legs=self.legs[::-1],
        )


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: mostly side views of perched birds, with every other view and stance among them."""
    stances: tuple[Stance, ...] = ("perched", "ground", "clinging", "swimming", "flying")
    stance = stances[int(rng.choice(5, p=[0.44, 0.2, 0.13, 0.07, 0.16]))]
    view = rng.random()
    if view < 0.6:
        off_side = rng.normal(0.0, 16.0)
    elif view < 0.8:
        off_side = rng.uniform(20.0, 75.0)
    elif view < 0.87:
        off_side = rng.uniform(65.0, 90.0)
    else:
        off_side = rng.uniform(-85.0, -20.0)
    heading = off_side if rng.random() < 0.5 else 180.0 - off_side
    pitch = {
        "perched": rng.uniform(-10.0, 75.0),
        "ground": rng.uniform(-35.0, 45.0),
        "clinging": rng.uniform(60.0, 95.0) if rng.random() < 0.65 else rng.uniform(-80.0, -45.0),
        "swimming": rng.uniform(-4.0, 12.0),
        "flying": rng.uniform(-45.0, 65.0),
    }[stance]
    neck = {
        "perched": rng.uniform(25.0, 95.0),
        "ground": rng.uniform(-35.0, 80.0),
        "clinging": pitch + rng.uniform(-15.0, 25.0),
        "swimming": rng.uniform(40.0, 95.0),
        "flying": pitch + rng.uniform(-10.0, 25.0),
    }[stance]
    spread = stance == "flying" or (stance in ("perched", "ground") and rng.random() < 0.12)
    lift = rng.uniform(-35.0, 80.0)
    return Pose(
        stance=stance,
        heading=float(heading),
        elevation=float(rng.uniform(-30.0, 35.0) if stance == "flying" else rng.normal(4.0, 9.0)),
        roll=float(rng.normal(0.0, 25.0) if stance == "flying" else rng.normal(0.0, 10.0)),
        pitch=float(pitch),
        neck=float(neck),
        neck_stretch=float(rng.uniform(0.7, 1.15)),
        head_yaw=float(rng.normal(0.0, 12.0) if rng.random() < 0.5 else rng.uniform(-95.0, 95.0)),
        head_pitch=float(rng.normal(0.0, 12.0) + 0.35 * min(neck - 40.0, 0.0)),
        head_roll=float(rng.normal(0.0, 7.0)),
        wing_lift=(float(lift + rng.normal(0, 8)), float(lift + rng.normal(0, 8)))
        if spread
        else (None, None),
        wing_sweep=float(rng.uniform(-20.0, 25.0)),
        wing_droop=(float(rng.normal(0, 4)), float(rng.normal(0, 4))),
        tail=float(rng.uniform(10.0, 75.0) if rng.random() < 0.15 else rng.normal(-4.0, 12.0)),
        tail_yaw=float(rng.normal(0.0, 8.0)),
        tail_spread=float(rng.uniform(20.0, 50.0) if spread else rng.uniform(3.0, 16.0)),
        legs=(float(rng.normal(0.0, 14.0)), float(rng.normal(0.0, 14.0))),
    )
