"""A session over a few drawn animals with a tiny network, and a client that behaves like the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from drawn import drawn_dataset
from partscope.dataset import PartDataset
from partscope.web import Session, create_app
from web_sessions import PAGE, FoundSession, finish, mark, name_parts, tiny_options


@pytest.fixture
def animals(tmp_path: Path) -> PartDataset:
    """Fourteen drawn animals in a folder of their own."""
    (tmp_path / "animals").mkdir()
    return drawn_dataset(tmp_path / "animals", 14)


@pytest.fixture
def folder(animals: PartDataset) -> Path:
    return animals[0].image.parent


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    session = Session(folder, options=tiny_options())
    yield session
    session.close()


@pytest.fixture
def client(session: Session) -> TestClient:
    return TestClient(create_app(session), base_url=PAGE, headers={"X-Partscope": "1"})


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FoundSession]:
    animals = drawn_dataset(tmp_path_factory.mktemp("searched"), 14)
    session = Session(animals[0].image.parent, options=tiny_options())
    keys = name_parts(session, animals)
    for sample in animals[:8]:
        mark(session, sample)
    session.find()
    assert finish(session) == "done"
    yield FoundSession(
        session, TestClient(create_app(session), base_url=PAGE, headers={"X-Partscope": "1"}), animals, keys
    )
    session.close()
