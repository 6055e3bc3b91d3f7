"""The viewer: from the bird's heading frame to the picture's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.synthetic.pose import Pose


def view(pose: Pose) -> NDArray[np.float64]:
    """Return the 3×3 matrix from the heading frame (forward, left, up) to the picture's (right, down, towards the viewer).

    Orthographic: a bird in a telephoto picture shows next to no perspective.
    """
    heading, elevation, roll = np.radians([pose.heading, pose.elevation, pose.roll])
    turned = np.array(
        [[np.cos(heading), np.sin(heading), 0.0], [0.0, 0.0, 1.0], [np.sin(heading), -np.cos(heading), 0.0]]
    )  # rows: right, up, towards
    raised = np.array(
        [[1, 0, 0], [0, np.cos(elevation), -np.sin(elevation)], [0, np.sin(elevation), np.cos(elevation)]]
    )
    rolled = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(np.diag([1.0, -1.0, 1.0]) @ rolled @ raised @ turned, dtype=np.float64)
