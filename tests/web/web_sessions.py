"""What tests of the page share: a tiny network, marking, and waiting for the search."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from torch import nn

from networks import backbone_of, seeded
from partscope.dataset import PartDataset
from partscope.web import Session

PAGE = "http://127.0.0.1:8765"


def tiny_options() -> dict[str, Any]:
    """Options of a linear detector that takes milliseconds."""
    network = nn.Sequential(
        nn.Conv2d(3, 12, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 16, 5, stride=2, padding=2),
        nn.ReLU(),
    )
    backbone = backbone_of(seeded(network).eval(), "3", 48)
    return {"backbone": backbone, "layers": ["1", "3"], "context": [], "arrangement": "none", "flips": False}


def name_parts(session: Session, animals: PartDataset) -> list[str]:
    """Give the session the animals' parts, and return their keys."""
    pairs = [(i, int(j)) for i, j in enumerate(animals.mirror) if i < j]
    session.set_parts([(None, part) for part in animals.parts], pairs, session.project.parts.revision)
    return list(session.project.parts.names)


def id_of(session: Session, sample: Any) -> str:
    return next(picture.id for picture in session.folder if picture.name == sample.image.name)


def mark(session: Session, sample: Any) -> str:
    """Mark every part of an animal as it was drawn, and return the picture's id."""
    id = id_of(session, sample)
    points = {
        key: tuple(point) if seen else None
        for key, point, seen in zip(
            session.project.parts.names, sample.points.tolist(), sample.visible, strict=True
        )
    }
    session.set_marks(id, points, session.project.marks(id).revision)  # type: ignore[arg-type]
    return id


def finish(session: Session) -> str:
    """Wait for the job and return its state."""
    for _ in range(3000):
        if session.jobs.progress.state != "running":
            return session.jobs.progress.state
        time.sleep(0.01)
    raise AssertionError("the job does not end")


@dataclass(frozen=True)
class FoundSession:
    """A session after a search, for tests that only look at it: the first eight animals are marked."""

    session: Session
    client: TestClient
    animals: PartDataset
    keys: list[str]
