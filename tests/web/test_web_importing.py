"""Marks from an annotated data set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from partscope.dataset import PartDataset
from partscope.errors import OptionError
from partscope.web import Session, import_marks
from web_sessions import id_of


def test_marks_are_taken_once_and_never_over_those_that_are_there(
    session: Session, animals: PartDataset
) -> None:
    first = import_marks(session, animals[:4])
    assert (first.taken, first.marked, first.elsewhere) == (4, 0, 0)
    data = session.dataset()
    assert data.parts == animals.parts
    np.testing.assert_array_equal(data.mirror, animals.mirror)
    np.testing.assert_array_equal(data.points, animals[:4].points)
    session.set_marks(id_of(session, animals[0]), {"p1": (1.0, 1.0)}, 1)
    again = import_marks(session, animals[:6])
    assert (again.taken, again.marked, again.elsewhere) == (2, 4, 0)
    assert session.project.marks(id_of(session, animals[0])).points == {"p1": (1.0, 1.0)}


def test_pictures_elsewhere_are_counted_and_other_parts_refused(
    session: Session, animals: PartDataset, tmp_path: Path
) -> None:
    away = dataclasses.replace(animals[0], id="other.png", image=tmp_path / "other.png")
    mixed = PartDataset(animals.parts, (away, animals[1]))
    assert import_marks(session, mixed).elsewhere == 1
    with pytest.raises(OptionError, match="not one of its 1 pictures"):
        import_marks(session, PartDataset(animals.parts, (away,)))
    with pytest.raises(OptionError, match="not those of the project"):
        import_marks(session, animals.with_parts(animals.parts[:2]))
