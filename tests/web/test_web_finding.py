"""*Find parts*: what is learned and predicted, that it is updated and not recomputed, and how it ends."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector
from partscope.prior import StaticPrior
from partscope.web import Session
from web_sessions import finish, id_of, mark, name_parts, tiny_options

pytestmark = pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")


def find(session: Session, **options: bool) -> str:
    session.find(**options)
    return finish(session)


def test_a_picture_replaced_by_a_smaller_one_is_shown_as_bad_and_the_rest_goes_on(
    session: Session, client: TestClient, animals: PartDataset
) -> None:
    """Its marks lie outside it now; marking it again makes it good."""
    keys = name_parts(session, animals)
    ids = [mark(session, sample) for sample in animals[:6]]
    Image.new("RGB", (20, 20)).save(animals[0].image)
    assert client.post("/api/find", json={}).status_code == 200
    assert finish(session) == "done"
    assert [session.state(id) for id in ids] == ["bad", *["done"] * 5]
    assert "lies outside the image of 20×20 pixels" in session.unreadable[ids[0]]
    assert client.get("/api/exports/csv").text.count(animals[0].image.name) == 0
    revision = session.project.marks(ids[0]).revision
    session.set_marks(ids[0], dict.fromkeys(keys, (3.0, 4.0)), revision)
    assert session.state(ids[0]) == "done"
    assert client.get("/api/exports/csv").text.count(animals[0].image.name) == len(keys)


def test_nothing_to_learn_from_is_said(client: TestClient, session: Session, animals: PartDataset) -> None:
    assert "name the parts" in client.post("/api/find", json={}).json()["error"]
    name_parts(session, animals)
    assert "mark every part" in client.post("/api/find", json={}).json()["error"]


def test_predictions_are_those_of_the_detector_on_the_same_marks(
    client: TestClient, session: Session, animals: PartDataset
) -> None:
    keys = name_parts(session, animals)
    for sample in animals[:6]:
        mark(session, sample)
    assert client.post("/api/find", json={}).json()["state"] == "running"
    assert finish(session) == "done", session.jobs.progress.what
    expected = LinearDetector(**tiny_options()).fit(animals[:6]).predict(animals[6:])
    for row, sample in enumerate(animals[6:]):
        answer = client.get(f"/api/pictures/{id_of(session, sample)}").json()
        assert answer["state"] == "found"
        for p, key in enumerate(keys):
            found = answer["found"]["points"][key]
            if not expected.found[row, p]:
                assert found is None
                continue
            # The store keeps features in half precision.
            np.testing.assert_allclose(found[:2], expected.points[row, p], atol=0.5)
            assert found[2] == pytest.approx(expected.score[row, p], abs=0.02)


def test_a_second_search_updates_the_statistics_and_runs_the_network_on_nothing(
    session: Session, animals: PartDataset
) -> None:
    name_parts(session, animals)
    for sample in animals[:6]:
        mark(session, sample)
    assert find(session) == "done"
    passes = session.store.passes
    assert passes == len(animals)
    # One picture is corrected, one is new, one loses its marks.
    id = id_of(session, animals[0])
    marks = dict(session.project.marks(id).points)
    key = next(key for key, point in marks.items() if point is not None)
    x, y = marks[key]  # type: ignore[misc]
    session.set_marks(id, {**marks, key: (x / 2, y / 2)}, 1)
    mark(session, animals[6])
    session.set_marks(id_of(session, animals[1]), {}, 1)
    assert find(session) == "done"
    assert session.jobs.progress.what == "added 2 pictures, took 2 away; learned from 6 in all"
    assert session.store.passes == passes, "the network ran again on pictures that it had seen"
    updated = session.learner.detector
    assert updated is not None
    fresh = LinearDetector(**{**tiny_options(), "shrinkage": updated.shrinkage_}).fit(session.dataset())
    for name, values in fresh.statistics_.to_arrays().items():
        np.testing.assert_allclose(
            updated.statistics_.to_arrays()[name], values, rtol=2e-3, atol=1e-2, err_msg=name
        )


def test_learning_anew_chooses_the_shrinkage_again(session: Session, animals: PartDataset) -> None:
    name_parts(session, animals)
    for sample in animals[:5]:
        mark(session, sample)
    find(session)
    find(session, anew=True)
    assert session.jobs.progress.what == "learned from 5 pictures"
    assert session.learner.detector is not None
    assert len(session.learner.detector.shrinkage_errors_) > 1


def test_with_many_more_marks_everything_is_learned_anew_without_the_network(
    session: Session, animals: PartDataset
) -> None:
    name_parts(session, animals)
    for sample in animals[:4]:
        mark(session, sample)
    find(session)
    passes = session.store.passes
    mark(session, animals[4])
    find(session)
    assert session.jobs.progress.what == "added 1 picture, took 0 away; learned from 5 in all"
    mark(session, animals[5])
    find(session)
    assert session.jobs.progress.what == "learned from 6 pictures"
    assert session.store.passes == passes


def test_incomplete_pictures_are_not_learned_from(session: Session, animals: PartDataset) -> None:
    keys = name_parts(session, animals)
    for sample in animals[:4]:
        mark(session, sample)
    session.set_marks(id_of(session, animals[4]), {keys[0]: (1, 1)}, 0)
    find(session)
    assert session.learner.learned_from == 4
    assert session.findings.get(id_of(session, animals[4])) is not None


def test_unreadable_pictures_are_listed_and_the_rest_is_found(
    session: Session, animals: PartDataset, folder: Path
) -> None:
    (folder / "0_05b.png").write_bytes(animals[5].image.read_bytes()[:200])
    session.folder.refresh()
    name_parts(session, animals)
    for sample in animals[:4]:
        mark(session, sample)
    assert find(session) == "done"
    assert [session.folder.get(id).name for id in session.unreadable] == ["0_05b.png"]
    assert all(session.findings.get(id_of(session, sample)) for sample in animals[4:])


def test_cross_validation_leaves_groups_out(session: Session, animals: PartDataset) -> None:
    name_parts(session, animals)
    for sample in animals[:7]:
        mark(session, sample)
    find(session)
    learner = session.learner
    assert learner.detector is not None
    marked = session.dataset()
    for fold, (errors, static) in enumerate(learner.cross_validated()):
        rest = marked[[i for i in range(len(marked)) if i % 5 != fold]]
        group = marked[fold::5]
        other = LinearDetector(**{**tiny_options(), "shrinkage": learner.detector.shrinkage_}).fit(rest)
        length = np.linalg.norm(group.sizes, axis=1)[:, None]
        prior = StaticPrior.fit(rest).positions(group.sizes)
        expected = np.linalg.norm(prior - group.points, axis=2) / length
        np.testing.assert_allclose(static, expected, atol=1e-9)
        found = other.predict(group)
        expected = (
            np.linalg.norm(np.where(found.found[..., None], found.points, prior) - group.points, axis=2)
            / length
        )
        np.testing.assert_allclose(errors, expected, atol=0.01)
    assert fold == 4
    entry = session.project.history[-1]
    assert entry["pictures"] == 7
    assert entry["low"] <= entry["error"] <= entry["high"]


def test_one_search_at_a_time_and_it_can_be_cancelled(
    client: TestClient, session: Session, animals: PartDataset
) -> None:
    name_parts(session, animals)
    for sample in animals[:4]:
        mark(session, sample)
    go_on = threading.Event()
    put = session.findings.put

    def slowly(id: str, found: object) -> None:
        go_on.wait(10)
        put(id, found)  # type: ignore[arg-type]

    session.findings.put = slowly  # type: ignore[method-assign, assignment]
    session.find()
    busy = client.post("/api/find", json={})
    assert (busy.status_code, "still running" in busy.json()["error"]) == (409, True)
    assert client.post("/api/find/cancel").status_code == 200
    go_on.set()
    assert finish(session) == "cancelled"
    session.findings.put = put  # type: ignore[method-assign]
    assert find(session) == "done"


def test_other_parts_make_what_was_found_void(session: Session, animals: PartDataset) -> None:
    keys = name_parts(session, animals)
    for sample in animals[:4]:
        mark(session, sample)
    find(session)
    names = session.project.parts.names
    session.set_parts([(key, names[key]) for key in keys[:-1]], [], session.project.parts.revision)
    assert session.findings.get(id_of(session, animals[9])) is None
    assert find(session) == "done"
    assert session.learner.detector is not None
    assert session.learner.detector.parts_ == animals.parts[:-1]


def test_a_search_survives_a_restart(folder: Path, session: Session, animals: PartDataset) -> None:
    name_parts(session, animals)
    for sample in animals[:5]:
        mark(session, sample)
    find(session)
    before = session.findings.get(id_of(session, animals[9]))
    session.close()
    again = Session(folder, options=tiny_options())
    assert again.findings.get(id_of(again, animals[9])) == before
    assert again.state(id_of(again, animals[0])) == "done"
    passes = again.store.passes
    assert find(again) == "done"
    assert again.store.passes == passes, "the features are kept on disk"
    again.close()
