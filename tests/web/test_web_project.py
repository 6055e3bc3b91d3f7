"""What is marked: revisions, keys, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from partscope.dataset import PartDataset
from partscope.errors import OptionError, PartscopeError
from partscope.web import Session
from partscope.web.faults import ConflictError
from partscope.web.project import Project
from web_sessions import id_of, mark, name_parts


def test_changes_with_an_old_revision_are_refused_and_show_what_is_there(
    client: TestClient, session: Session, animals: PartDataset
) -> None:
    key, *_ = name_parts(session, animals)
    address = f"/api/pictures/{id_of(session, animals[0])}/marks"
    first = client.put(address, json={"marks": {key: [1, 2]}}, headers={"If-Match": '"0"'})
    assert (first.status_code, first.json()["revision"]) == (200, 1)
    second = client.put(address, json={"marks": {key: [5, 6]}}, headers={"If-Match": '"0"'})
    assert second.status_code == 409
    assert second.json()["current"] == {"revision": 1, "marks": {key: [1.0, 2.0]}}
    third = client.put(address, json={"marks": {key: None}}, headers={"If-Match": '"1"'})
    assert third.json() == {"revision": 2, "marks": {key: None}, "state": "part"}


def test_parts_have_a_revision_too(client: TestClient) -> None:
    body = {"parts": [{"name": "left ear"}, {"name": "right ear"}, {"name": "nose"}], "pairs": [[0, 1]]}
    answer = client.put("/api/parts", json=body, headers={"If-Match": "0"}).json()
    keys = [part["key"] for part in answer["parts"]]
    assert answer["pairs"] == [keys[:2]]
    assert client.put("/api/parts", json=body, headers={"If-Match": "0"}).status_code == 409
    assert client.post("/api/parts/guess", json={"names": ["left ear", "nose", "right ear"]}).json() == {
        "pairs": [[0, 2]]
    }


def test_other_tabs_hear_of_changes(client: TestClient, session: Session, animals: PartDataset) -> None:
    name_parts(session, animals)
    since = client.get("/api/changes").json()["sequence"]
    assert client.get(f"/api/changes?since={since}").json()["pictures"] == []
    ids = [mark(session, sample) for sample in animals[:2]]
    news = client.get(f"/api/changes?since={since}").json()
    assert {entry["id"]: entry["state"] for entry in news["pictures"]} == dict.fromkeys(ids, "done")
    assert client.get(f"/api/changes?since={news['sequence']}").json()["pictures"] == []


def test_points_outside_the_picture_and_unknown_parts_are_refused(
    client: TestClient, session: Session, animals: PartDataset
) -> None:
    key, *_ = name_parts(session, animals)
    width, height = animals[0].size
    address = f"/api/pictures/{id_of(session, animals[0])}/marks"
    for marks in ({key: [width + 1, 0]}, {key: [0, -0.1]}, {"p99": [1, 1]}, {"../x": [1, 1]}):
        assert client.put(address, json={"marks": marks}, headers={"If-Match": "0"}).status_code == 422
    nan = client.put(
        address,
        content=b'{"marks": {"%s": [NaN, 1]}}' % key.encode(),
        headers={"If-Match": "0", "Content-Type": "application/json"},
    )
    assert nan.status_code == 422
    corner = client.put(address, json={"marks": {key: [width, height]}}, headers={"If-Match": "0"})
    assert corner.status_code == 200


def test_everything_is_there_again_after_a_crash(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    parts = project.set_parts([(None, "a"), (None, "b")], [(0, 1)], 0)
    a, b = parts.names
    project.set_marks("0" * 16, {a: (1.25, 2.0), b: None}, 0, (10, 10))
    project.note({"error": 0.5})
    project.close()  # the lock goes with the process; nothing else is done at the end
    again = Project(tmp_path / "p")
    assert (again.parts, again.history) == (parts, [{"error": 0.5}])
    assert again.marks("0" * 16).points == {a: (1.25, 2.0), b: None}
    assert again.marks("0" * 16).revision == 1
    again.close()


def test_a_project_is_open_once(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    with pytest.raises(PartscopeError, match="open in another"):
        Project(tmp_path / "p")
    project.close()
    Project(tmp_path / "p").close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"revision": 1, "marks": {"p1": [1]}}',
        '{"revision": 1, "marks": {"../x": null}}',
        '{"marks": {}}',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    Project(tmp_path / "p").close()
    (tmp_path / "p" / "marks" / "abc.json").write_text(text)
    with pytest.raises(PartscopeError, match=r"abc\.json: the project's file is damaged"):
        Project(tmp_path / "p")


def test_a_project_that_was_put_right_opens_in_the_same_process(tmp_path: Path) -> None:
    Project(tmp_path / "p").close()
    (tmp_path / "p" / "history.json").write_text("{")
    for _ in range(2):  # the lock of the first failure is gone
        with pytest.raises(PartscopeError, match=r"history\.json: the project's file is damaged"):
            Project(tmp_path / "p")
    (tmp_path / "p" / "history.json").unlink()
    Project(tmp_path / "p").close()


def test_what_a_mac_leaves_beside_files_is_no_damage(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    (key,) = project.set_parts([(None, "a")], [], 0).names
    project.set_marks("x", {key: (1, 1)}, 0, (9, 9))
    project.close()
    (tmp_path / "p" / "marks" / "._x.json").write_bytes(b"\x00\x05\x16\x07")
    again = Project(tmp_path / "p")
    assert list(again.marked()) == ["x"]
    again.close()


def test_a_new_name_keeps_the_marks_and_a_key_is_never_used_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "p")
    (a, b) = project.set_parts([(None, "a"), (None, "b")], [], 0).names
    project.set_marks("x", {a: (1, 1), b: (2, 2)}, 0, (9, 9))
    parts = project.set_parts([(a, "better")], [], 1)
    assert dict(parts.names) == {a: "better"}
    assert project.is_complete("x")
    (_, new) = project.set_parts([(a, "better"), (None, "b")], [], 2).names
    assert new not in (a, b)
    assert not project.is_complete("x")
    project.close()


@pytest.mark.parametrize(
    "parts",
    [[(None, " ")], [(None, "a"), (None, "a")], [("p7", "a")], [(None, "x" * 61)], [(None, "a\x00b")]],
)
def test_parts_that_make_no_sense_are_refused(tmp_path: Path, parts: list[tuple[str | None, str]]) -> None:
    project = Project(tmp_path / "p")
    with pytest.raises(OptionError):
        project.set_parts(parts, [], 0)
    project.close()


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 1), st.floats(0, 9)), max_size=12))
def test_writers_with_the_seen_revision_never_lose_another_change(
    changes: list[tuple[int, int, float]],
) -> None:
    """Against a plain dictionary: a change is taken where its revision is the current one, else nothing changes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "p")
        (key,) = project.set_parts([(None, "a")], [], 0).names
        expected: dict[str, tuple[int, float | None]] = {}
        for picture, behind, value in changes:
            id = str(picture)
            revision, _ = expected.get(id, (0, None))
            if behind == 0:
                project.set_marks(id, {key: (value, value)}, revision, (9, 9))
                expected[id] = (revision + 1, value)
            else:
                with pytest.raises(ConflictError):
                    project.set_marks(id, {key: (value, value)}, revision + behind, (9, 9))
        project.close()
        again = Project(Path(folder) / "p")
        for id, (revision, value) in expected.items():
            assert again.marks(id).revision == revision
            assert again.marks(id).points == {key: (value, value)}
            assert json.loads((again.folder / "marks" / f"{id}.json").read_text())["revision"] == revision
        again.close()
