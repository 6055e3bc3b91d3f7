"""A bird as solid ellipsoids: body, head, beak, eyes, wings, tail and legs of one species in one pose.

The heading frame has x forward, y to the bird's left and z up; its unit is the length of the body.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partscope.synthetic.pose import Pose
from partscope.synthetic.raycast import Ellipsoids
from partscope.synthetic.species import Species
from partscope.synthetic.vectors import cross, frame_along, norm, smooth, turned

FloatArray = NDArray[np.float64]


class Organ(IntEnum):
    """What an ellipsoid is a piece of."""

    BODY = 0
    NECK = 1
    HEAD = 2
    CREST = 3
    BEAK = 4
    LEFT_EYE = 5
    RIGHT_EYE = 6
    LEFT_WING = 7
    RIGHT_WING = 8
    TAIL = 9
    LEFT_LEG = 10
    RIGHT_LEG = 11


# Position from rump to shoulder, along the body's axis and above it, and radius of the body's cross-section.
_BODY = np.array(
    [
        (0.00, -0.60, 0.05, 0.075),
        (0.12, -0.50, 0.03, 0.135),
        (0.30, -0.30, 0.00, 0.215),
        (0.50, -0.04, -0.02, 0.262),
        (0.70, 0.16, 0.00, 0.262),
        (0.85, 0.31, 0.05, 0.225),
        (1.00, 0.40, 0.11, 0.180),
    ]
)


class Anatomy:
    """The ellipsoids of one bird in its heading frame.

    Attributes
    ----------
    solids: K ellipsoids.
    organ: (K,) the :class:`Organ` that each belongs to.
    place: (K,) where in its organ: rump 0 to head 1 on body and neck, root 0 to tip 1 on a beak, 0 coverts, 0.5 greater
        coverts and 1 flight feathers on a wing, 0 thigh and 1 foot on a leg.
    reach: (K,) how much of `place` the ellipsoid's first half axis spans.
    feet: (2, 3) left and right foot.
    """

    def __init__(self, species: Species, pose: Pose) -> None:
        self._rows: list[tuple[FloatArray, FloatArray, int, float, float]] = []
        self.species = species
        self.pose = pose
        lean = np.radians(pose.pitch)
        self._body = np.array(
            [[np.cos(lean), 0, -np.sin(lean)], [0, 1, 0], [np.sin(lean), 0, np.cos(lean)]], dtype=np.float64
        )
        self._add_body()
        self._add_head()
        for side in (1, -1):
            self._add_wing(side)
        self._add_tail()
        self.feet = np.array([self._add_leg(1), self._add_leg(-1)])
        self.solids = Ellipsoids(
            np.array([row[0] for row in self._rows]), np.array([row[1] for row in self._rows])
        )
        self.organ = np.array([row[2] for row in self._rows], dtype=np.intp)
        self.place = np.array([row[3] for row in self._rows])
        self.reach = np.array([row[4] for row in self._rows])

    def _add(
        self,
        centre: ArrayLike,
        axes: FloatArray,
        radii: ArrayLike,
        organ: Organ,
        place: float = 0.0,
        reach: float = 0.0,
    ) -> None:
        half = np.asarray(axes) * np.asarray(radii, dtype=np.float64)[None, :]
        self._rows.append((np.asarray(centre, dtype=np.float64), half, int(organ), place, reach))

    def _add_body(self) -> None:
        girth = self.species.girth
        steps = np.linspace(0.0, 1.0, 13)
        along, above, radius = (smooth(_BODY[:, 0], _BODY[:, i], steps) for i in (1, 2, 3))
        path = np.stack([along, np.zeros_like(along), above], axis=1) @ self._body.T
        directions = np.gradient(path, axis=0)
        up = self._body[:, 2]
        for i, step in enumerate(steps):
            r = float(radius[i]) * girth
            self._add(
                path[i],
                frame_along(directions[i], up),
                (max(0.14, 0.85 * r), 0.93 * r, r),
                Organ.BODY,
                0.8 * step,
                0.12,
            )
        pose, species = self.pose, self.species
        start, elevation, yaw = path[-2], np.radians(pose.neck), np.radians(0.35 * pose.head_yaw)
        length = species.neck * pose.neck_stretch + 0.10
        reach = np.array(
            [np.cos(elevation) * np.cos(yaw), np.cos(elevation) * np.sin(yaw), np.sin(elevation)]
        )
        # The neck leaves along the body and bends to its own direction: a quadratic Bézier curve.
        control = start + 0.45 * length * self._body[:, 0]
        self.head = start + length * reach + 0.06 * self._body[:, 0]
        left = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        t = np.linspace(0.15, 1.0, 9)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * self.head
        bend = np.gradient(curve, axis=0)
        thick = species.head * (0.62 if species.neck > 0.4 else 0.86)
        for i, s in enumerate(t[:, 0]):
            r = float((1 - s) ** 1.6 * 0.19 * girth + (1 - (1 - s) ** 1.6) * thick)
            # However far the neck bends back, its own left stays the body's; an "up" would flip where it stands upright.
            forward = bend[i] / norm(bend[i])
            self._add(
                curve[i],
                frame_along(forward, cross(forward, left)),
                (max(0.1, r), 0.95 * r, r),
                Organ.NECK,
                0.8 + 0.2 * float(s),
                0.04,
            )

    def _add_head(self) -> None:
        species, pose = self.species, self.pose
        frame = turned(pose.head_yaw, pose.head_pitch, pose.head_roll)
        forward, _, up = frame.T
        r = species.head
        self._add(self.head, frame, (1.1 * r, 0.9 * r, 0.97 * r), Organ.HEAD)
        length, radius, droop, flat = species.beak
        root = self.head + (0.72 * r) * forward - (0.12 * r) * up
        length += 0.35 * r
        count = 16
        for s in np.linspace(0.0, 1.0, count):
            width = radius * (1 - s) ** 0.75 + 0.005
            at = root + length * s * forward - length * droop * s**2.2 * up
            tangent = forward - 2.2 * droop * s**1.2 * up
            size = (1.7 * length / count, width * flat, width)
            self._add(at, frame_along(tangent, up), size, Organ.BEAK, float(s), 1 / count)
        for side, organ in ((1, Organ.LEFT_EYE), (-1, Organ.RIGHT_EYE)):
            outward = np.array([0.46, side * 0.84, 0.24])
            at = self.head + frame @ (outward * np.array([1.1, 0.9, 0.97]) * r * 0.93)
            self._add(at, frame_along(frame @ outward, up), (species.eye,) * 3, organ)
        if species.crest:
            for i in range(4):
                lift = 0.35 + 0.22 * i
                direction = -np.cos(lift) * forward + np.sin(lift) * up
                at = self.head + 0.75 * r * up - 0.2 * r * forward + 0.5 * species.crest * direction
                self._add(at, frame_along(direction, up), (0.62 * species.crest, 0.028, 0.045), Organ.CREST)

    def _add_wing(self, side: int) -> None:
        organ = Organ.LEFT_WING if side > 0 else Organ.RIGHT_WING
        index = 0 if side > 0 else 1
        lift, length = self.pose.wing_lift[index], self.species.wing
        if lift is None:
            self._add_folded_wing(side, organ, np.radians(self.pose.wing_droop[index]), length)
        else:
            self._add_spread_wing(side, organ, np.radians(lift), 1.15 * length)

    def _add_folded_wing(self, side: int, organ: Organ, droop: float, length: float) -> None:
        girth = self.species.girth
        shoulder = np.array([0.26, side * 0.215 * girth, 0.085])
        along = np.array([-1.0, -side * 0.115, -0.02 - np.sin(droop)])
        frame = self._body @ frame_along(along, np.array([0.0, side * 0.88, 0.47]))
        # The plane's normal points outward; across it the feathers lie from the back (below 0) down to the flank.
        along, across, normal = frame[:, 0], -side * frame[:, 1], frame[:, 2]
        plane = np.stack([along, across, normal], axis=1)
        shoulder = self._body @ shoulder
        self._add(shoulder + 0.19 * along + 0.045 * across, plane, (0.27, 0.145, 0.062), organ, 0.0)
        self._add(shoulder + 0.31 * along + 0.055 * across, plane, (0.25, 0.135, 0.056), organ, 0.5)
        for i in range(8):
            order = i / 7
            # The innermost feather, along the back, is the shortest and lies on top of the others.
            root = shoulder + (0.16 + 0.05 * order) * along + (-0.06 + 0.21 * order) * across
            tip = shoulder + length * (0.60 + 0.40 * order) * along + (-0.05 + 0.09 * order) * across
            middle = 0.5 * (root + tip) + (0.032 - 0.030 * order) * normal
            self._add(
                middle, frame_along(tip - root, normal), (0.54 * norm(tip - root), 0.048, 0.026), organ, 1.0
            )

    def _add_spread_wing(self, side: int, organ: Organ, lift: float, length: float) -> None:
        shoulder = self._body @ np.array([0.24, side * 0.16 * self.species.girth, 0.12])
        sweep = np.radians(self.pose.wing_sweep)
        out = self._body @ np.array(
            [np.sin(sweep), side * np.cos(lift) * np.cos(sweep), np.sin(lift) * np.cos(sweep)]
        )
        back = self._body @ np.array([-1.0, 0.0, 0.0])
        back = back - (back @ out) * out
        back /= np.linalg.norm(back)
        normal = side * cross(back, out)
        arm = 0.46 * length
        wrist = shoulder + arm * out
        for i in range(3):
            at = shoulder + arm * (0.18 + 0.36 * i) * out + 0.07 * back
            self._add(at, np.stack([out, back, normal], axis=1), (0.26 * arm + 0.03, 0.10, 0.045), organ, 0.0)
            self._add(
                at + 0.09 * back, np.stack([out, back, normal], axis=1), (0.28 * arm, 0.11, 0.026), organ, 0.5
            )
        for i in range(8):
            angle = np.radians(6.0 + 74.0 * i / 7)
            direction = np.cos(angle) * out + np.sin(angle) * back
            size = 0.66 * length * (1 - 0.05 * i)
            at = wrist + 0.5 * size * direction + (0.004 * i) * normal
            self._add(at, frame_along(direction, normal), (0.52 * size, 0.052, 0.014), organ, 1.0)
        for i in range(7):
            angle = np.radians(86.0 + 16.0 * i / 6)
            direction = np.cos(angle) * out + np.sin(angle) * back
            size = 0.46 * length
            at = shoulder + arm * (1 - i / 6.5) * out + 0.5 * size * direction + (0.03 + 0.003 * i) * normal
            self._add(at, frame_along(direction, normal), (0.52 * size, 0.058, 0.014), organ, 1.0)

    def _add_tail(self) -> None:
        species, pose = self.species, self.pose
        root = self._body @ np.array([-0.50, 0.0, 0.04])
        rise, yaw = np.radians(pose.tail), np.radians(pose.tail_yaw)
        normal = self._body @ np.array([np.sin(rise), 0.0, np.cos(rise)])
        for i in range(7):
            order = (i - 3) / 3
            angle = order * np.radians(pose.tail_spread) + yaw
            direction = self._body @ np.array(
                [-np.cos(angle) * np.cos(rise), np.sin(angle), np.cos(angle) * np.sin(rise)]
            )
            size = (species.tail + 0.12) * (1 + species.fork * abs(order) - max(species.fork, 0.0) * 0.5)
            # The middle feathers lie on top.
            at = root + 0.5 * size * direction - 0.012 * abs(order) * normal
            self._add(
                at, frame_along(direction, normal), (0.52 * size, species.tail_width, 0.02), Organ.TAIL, 1.0
            )

    def _add_leg(self, side: int) -> FloatArray:
        species, pose = self.species, self.pose
        organ = Organ.LEFT_LEG if side > 0 else Organ.RIGHT_LEG
        swing = np.radians(pose.legs[0 if side > 0 else 1])
        hip = self._body @ np.array([-0.06, side * 0.11 * species.girth, -0.15 * species.girth])
        if pose.stance == "flying":
            knee = hip + self._body @ np.array([-0.08, 0.0, -0.10])
            foot = knee + self._body @ np.array(
                [-species.leg, 0.01 * side, -0.02 - 0.08 * abs(np.sin(swing))]
            )
        elif pose.stance == "clinging":
            knee = hip + self._body @ np.array([0.05, side * 0.05, -0.10])
            foot = knee + self._body @ np.array(
                [0.5 * np.sin(swing), side * 0.05, -0.10 - 0.35 * species.leg]
            )
        else:
            # A perched bird holds its feet below its weight, however steeply it sits.
            knee = hip + np.array([0.05 + 0.10 * np.sin(swing), 0.01 * side, -0.14])
            foot = knee + species.leg * np.array(
                [np.sin(0.7 * swing) - 0.05, 0.02 * side, -np.cos(0.7 * swing)]
            )
        thick = species.leg_width
        thigh = knee - hip
        self._add(
            hip + 0.5 * thigh,
            frame_along(thigh, np.array([1.0, 0.0, 0.1])),
            (0.5 * norm(thigh) + 0.05, 0.058, 0.066),
            organ,
        )
        shank = foot - knee
        for i in range(5):
            at = knee + (0.1 + 0.2 * i) * shank
            self._add(
                at,
                frame_along(shank, np.array([1.0, 0.0, 0.1])),
                (0.16 * norm(shank) + 0.01, thick, thick),
                organ,
                1.0,
            )
        for angle in (-35.0, 0.0, 35.0, 180.0):
            turn = np.radians(angle)
            size = 0.075 + 1.6 * thick if angle < 90 else 0.05 + thick
            direction = np.array([np.cos(turn), np.sin(turn), -0.18])
            if pose.stance == "flying":
                direction = self._body @ np.array([-np.cos(turn), np.sin(turn), -0.3])
            elif pose.stance == "clinging":
                direction = self._body @ np.array([np.cos(turn), np.sin(turn), -0.18])
            self._add(
                foot + 0.8 * size * direction, frame_along(direction, np.array([0.0, 0.1, 1.0])), (size, 0.75 * thick, 0.7 * thick),
                organ, 1.0,
            )  # fmt: skip
        return np.asarray(foot, dtype=np.float64)
