"""What leaves the page reads back as what was marked and found."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from drawn import drawn_dataset
from partscope.dataset import PartDataset
from partscope.detectors import PartDetector
from partscope.formats import load_dataset, read_predictions_coco, read_predictions_csv, registry
from partscope.web import Session, create_app
from web_sessions import PAGE, FoundSession, finish, id_of, name_parts, tiny_options

pytestmark = pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")


def test_nothing_marked_is_said(client: TestClient, session: Session, animals: PartDataset) -> None:
    name_parts(session, animals)
    for name in ("cub", "predictions-csv"):
        assert "nothing to export" in client.get(f"/api/exports/{name}").json()["error"]
    assert client.get("/api/exports/model").status_code == 422
    assert "nearest names" in client.get("/api/exports/nonsense").json()["error"]


def test_every_registered_writer_is_offered(searched: FoundSession, monkeypatch: pytest.MonkeyPatch) -> None:
    client = searched.client

    class Written:
        lost = ("2 things – lost.",)

    def write(dataset: PartDataset, path: Path) -> Written:
        path.write_text(",".join(dataset.ids))
        return Written()

    monkeypatch.setattr(registry, "WRITERS", {"own": write}, raising=False)
    monkeypatch.setattr(registry, "TARGETS", {"own": ((".txt",), False)}, raising=False)
    names = [one["name"] for one in client.get("/api/exports").json()["exports"]]
    assert {"cub", "own", "predictions-csv", "predictions-coco", "predictions-json", "model"} <= set(names)
    answer = client.get("/api/exports/own")
    assert answer.text.split(",") == [f"0_{i:02d}.png" for i in range(8)]
    assert json.loads(answer.headers["x-partscope-lost"]) == ["2 things – lost."]
    assert answer.headers["content-disposition"].endswith("-own.txt")
    assert "attachment" in answer.headers["content-disposition"]


def test_names_that_are_no_text_are_learned_from_and_exported_or_refused(tmp_path: Path) -> None:
    """A folder and a picture of it whose names are bytes of another encoding."""
    animals = drawn_dataset(tmp_path / "animals", 4)
    root = tmp_path / "v\udcf6gel"
    try:
        os.rename(animals[0].image.parent, root)
        os.rename(root / animals[0].image.name, root / "m\udcf6we.png")
    except (OSError, UnicodeError):
        pytest.skip("the file system holds no such names")
    session = Session(root, options=tiny_options())
    client = TestClient(create_app(session), base_url=PAGE, headers={"X-Partscope": "1"})
    try:
        keys = name_parts(session, animals)
        for picture in list(session.folder)[:3]:
            session.set_marks(picture.id, dict.fromkeys(keys, (3.0, 4.0)), 0)
        id = next(picture.id for picture in session.folder if "\udcf6" in picture.name)
        session.set_marks(id, dict.fromkeys(keys, (3.0, 4.0)), session.project.marks(id).revision)
        session.find()
        assert finish(session) == "done", session.jobs.progress.what
        assert client.get("/api/project").json()["folder"] == "v?gel"
        for name in (one["name"] for one in client.get("/api/exports").json()["exports"]):
            answer = client.get(f"/api/exports/{name}")
            assert answer.status_code in (200, 422), name
            assert answer.status_code == 200 or answer.json()["error"].endswith("."), name
    finally:
        session.close()


def test_marks_as_cub_read_back(searched: FoundSession, tmp_path: Path) -> None:
    client, animals = searched.client, searched.animals
    data = client.get("/api/exports/cub").content
    zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path / "cub")
    for sample in animals[:8]:
        (tmp_path / "cub" / "images").mkdir(exist_ok=True)
        Image.open(sample.image).save(tmp_path / "cub" / "images" / sample.id)
    again = load_dataset("cub", tmp_path / "cub")
    marked = {sample.id: sample for sample in animals[:8]}
    assert set(again.ids) == set(marked)
    for sample in again:
        np.testing.assert_allclose(sample.points, marked[sample.id].points)


def test_predictions_hold_marks_first(searched: FoundSession, tmp_path: Path) -> None:
    client, session, animals, found = searched.client, searched.session, searched.animals, searched.keys
    for name, read in (
        ("predictions-csv", read_predictions_csv),
        ("predictions-coco", read_predictions_coco),
    ):
        file = tmp_path / name
        file.write_bytes(client.get(f"/api/exports/{name}").content)
        table = read(file)
        assert table.parts == animals.parts
        assert set(table.ids) == set(animals.ids)
        for row, id in enumerate(table.ids):
            sample = animals[animals.ids.index(id)]
            if sample.id in animals[:8].ids:
                np.testing.assert_allclose(table.points[row], sample.points)
                assert table.score[row].tolist() == sample.visible.astype(float).tolist()
            else:
                own = session.findings.get(id_of(session, sample))
                assert own is not None
                points = [
                    (np.nan, np.nan) if own.points[key] is None else own.points[key][:2] for key in found
                ]  # type: ignore[index]
                np.testing.assert_allclose(table.points[row], points)
    records = client.get("/api/exports/predictions-json").json()["records"]
    assert len(records) == len(animals) * len(animals.parts)


def test_the_model_file_finds_what_the_page_finds(searched: FoundSession, tmp_path: Path) -> None:
    client, session, animals = searched.client, searched.session, searched.animals
    (tmp_path / "m.partscope").write_bytes(client.get("/api/exports/model").content)
    own = session.learner.detector
    assert own is not None
    model = PartDetector.load(tmp_path / "m.partscope", backbone=own.backbone_)
    np.testing.assert_allclose(model.predict(animals[10:]).points, own.predict(animals[10:]).points, atol=0.5)


def test_every_export_leaves_a_file_or_says_in_one_sentence_why_not(searched: FoundSession) -> None:
    left = set()
    for one in searched.client.get("/api/exports").json()["exports"]:
        answer = searched.client.get(f"/api/exports/{one['name']}")
        assert answer.status_code in (200, 422), (one, answer.text)
        if answer.status_code == 200:
            assert answer.content
            left.add(one["name"])
        else:
            assert answer.json()["error"]
    assert {"cub", "coco", "csv", "cvat", "label-studio", "deeplabcut"} <= left
    assert {
        "predictions-csv",
        "predictions-coco",
        "predictions-label-studio",
        "predictions-deeplabcut",
    } <= left
