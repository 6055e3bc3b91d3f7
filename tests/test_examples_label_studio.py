from __future__ import annotations

import base64
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

pytest.importorskip("fastapi", reason="fastapi (extra web) is not installed")
pytest.importorskip("uvicorn", reason="uvicorn (extra web) is not installed")
pytest.importorskip("httpx", reason="httpx, which FastAPI's test client needs, is not installed")

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

from fastapi.testclient import TestClient  # noqa: E402

from drawn import PARTS, drawn_dataset  # noqa: E402
from label_studio_backend.labelling import read_labelling  # noqa: E402
from label_studio_backend.model import Model  # noqa: E402
from label_studio_backend.pictures import Pictures  # noqa: E402
from label_studio_backend.server import make_app  # noqa: E402
from networks import backbone_of, seeded  # noqa: E402
from partscope.backbones import Backbone  # noqa: E402
from partscope.dataset import PartDataset  # noqa: E402
from partscope.detectors import LinearDetector, PartDetector, PriorDetector  # noqa: E402
from partscope.errors import AnnotationError, ImageError, OptionError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]
CONFIG = (
    '<View><Image name="img" value="$photo"/><KeyPointLabels name="kp" toName="img">'
    + "".join(f'<Label value="{part}"/>' for part in PARTS if part != "crest")
    + "</KeyPointLabels></View>"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def data(root: Path) -> PartDataset:
    return drawn_dataset(root / "birds", 12)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    network = nn.Sequential(nn.Conv2d(3, 12, 5, stride=4, padding=2), nn.ReLU())
    return backbone_of(seeded(network).eval(), "1", 48)


@pytest.fixture(scope="module")
def file(data: PartDataset, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "birds.partscope"
    LinearDetector(backbone=backbone, layers=["1"], flips=True, shrinkage=0.3).fit(data[:8]).save(path)
    return path


@pytest.fixture
def model(file: Path, root: Path, backbone: Backbone, tmp_path: Path) -> Model:
    return Model(file, tmp_path / "versions", Pictures(root), backbone)


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(make_app(model, max_tasks=3, limit=50_000), base_url="http://localhost") as client:
        yield client


def local(name: str) -> str:
    return f"/data/local-files/?d=birds/{name}"


def ask(*addresses: str) -> dict[str, Any]:
    """A request as Label Studio sends it."""
    return {
        "tasks": [{"id": i, "data": {"photo": address}} for i, address in enumerate(addresses, start=1)],
        "project": "7.1700000000",
        "label_config": CONFIG,
        "params": {"login": None, "password": None, "context": None},
    }


def event(
    data: PartDataset, i: int, action: str = "ANNOTATION_CREATED", shift: float = 0.0
) -> dict[str, Any]:
    sample = data[i]
    result = [
        {
            "id": f"r{p}",
            "type": "keypointlabels",
            "from_name": "kp",
            "to_name": "img",
            "original_width": sample.size[0],
            "original_height": sample.size[1],
            "image_rotation": 0,
            "value": {
                "x": float(sample.points[p, 0] / sample.size[0] * 100 + shift),
                "y": float(sample.points[p, 1] / sample.size[1] * 100),
                "width": 0.6,
                "keypointlabels": [PARTS[p]],
            },
        }
        for p in np.flatnonzero(sample.visible).tolist()
    ]
    return {
        "action": action,
        "task": {"id": 100 + i, "data": {"photo": local(sample.id)}},
        "annotation": {"id": 5, "result": result, "was_cancelled": False},
        "project": {"id": 7, "label_config": CONFIG},
    }


def finished(model: Model) -> None:
    end = time.monotonic() + 20
    while model.pending:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_predictions_are_the_detectors_in_per_cent_under_the_projects_names(
    client: TestClient, model: Model, data: PartDataset
) -> None:
    setup = {"project": "7.17", "schema": CONFIG, "hostname": "http://localhost:8080", "access_token": "x"}
    assert client.post("/setup", json=setup).json() == {"model_version": "linear-0000"}
    assert client.get("/health").json()["status"] == "UP"
    answer = client.post("/predict", json=ask(local(data.ids[9]))).json()
    assert answer["model_version"] == "linear-0000"
    (prediction,) = answer["results"]
    found = model.detector.predict([data[9].image])
    wanted = {
        part: (found.points[0, p] / data[9].size * 100, found.score[0, p])
        for p, part in enumerate(PARTS)
        if found.found[0, p] and found.visible[0, p] and part != "crest"
    }
    assert wanted
    got = {region["value"]["keypointlabels"][0]: region for region in prediction["result"]}
    assert got.keys() == wanted.keys()
    for part, (place, score) in wanted.items():
        value = got[part]["value"]
        np.testing.assert_allclose((value["x"], value["y"]), place)
        assert got[part]["score"] == pytest.approx(score)
        assert (got[part]["from_name"], got[part]["to_name"]) == ("kp", "img")
    assert prediction["score"] == pytest.approx(np.mean([score for _, score in wanted.values()]))


def test_an_unreadable_picture_has_an_empty_prediction_and_the_rest_goes_on(
    client: TestClient, data: PartDataset
) -> None:
    embedded = "data:image/png;base64," + base64.b64encode(data[9].image.read_bytes()).decode()
    body = ask(local("missing.png"), embedded, local(data.ids[9]))
    missing, from_data, from_file = client.post("/predict", json=body).json()["results"]
    assert missing["result"] == []
    assert "no such file" in missing["error"]
    assert from_data == from_file


def test_corrections_are_learned_saved_and_found_again_after_a_restart(
    client: TestClient, model: Model, data: PartDataset, file: Path, backbone: Backbone, root: Path
) -> None:
    assert client.post("/webhook", json=event(data, 9)).status_code == 201
    finished(model)
    assert model.failures == []
    assert client.get("/versions").json()["versions"] == ["linear-0000", "linear-0001"]
    # The event holds no rectangle; the id decides where the background is sampled.
    sample = dataclasses.replace(data[9], id="109.png", box=None)
    marked = dataclasses.replace(data, samples=(sample,))
    wanted = PartDetector.load(file, backbone).partial_fit(marked).predict(data[10:])
    np.testing.assert_allclose(model.detector.predict(data[10:]).points, wanted.points, atol=1e-6)

    assert client.post("/train", json=event(data, 9, "ANNOTATION_UPDATED", 1.0)).status_code == 201
    finished(model)
    assert model.failures == []
    assert len(model.detector.train_ids_) == 9
    moved = model.detector.record_.as_dataset(model.detector.parts_, model.detector.mirror_)
    shift = np.nanmean(moved.points[-1, :, 0] - data[9].points[:, 0])
    assert shift == pytest.approx(data[9].size[0] / 100, abs=1e-3)

    again = Model(file, model.folder, Pictures(root), backbone)
    assert again.version == "linear-0002"
    assert set(again.learned) == {"109.png"}
    np.testing.assert_allclose(
        again.detector.predict(data[10:]).points, model.detector.predict(data[10:]).points, atol=1e-6
    )


def test_an_annotation_that_cannot_be_learned_changes_nothing_and_is_told(
    client: TestClient, model: Model, data: PartDataset
) -> None:
    wrong = event(data, 9)
    wrong["annotation"]["result"][0]["value"]["keypointlabels"] = ["wing"]
    assert client.post("/webhook", json=wrong).status_code == 201
    finished(model)
    metrics = client.get("/metrics").json()
    assert "'wing' is not one of the parts" in metrics["failures"][0]
    assert (metrics["model_version"], metrics["learned"]) == ("linear-0000", 0)
    ignored = client.post("/webhook", json={"action": "PROJECT_UPDATED"})
    assert ignored.json()["status"] == "ignored"


def test_bad_requests_are_refused(client: TestClient, data: PartDataset) -> None:
    good = ask(local(data.ids[9]))
    assert client.post("/predict", content=json.dumps(good)).status_code == 415
    json_type = {"content-type": "application/json"}
    assert client.post("/predict", content=b"{", headers=json_type).status_code == 400
    assert client.post("/predict", content=b" " * 50_001, headers=json_type).status_code == 413
    assert client.post("/predict", json={**good, "tasks": [{}] * 4}).status_code == 400
    bomb = '<!DOCTYPE v [<!ENTITY a "b">]>' + CONFIG
    answer = client.post("/predict", json={**good, "label_config": bomb})
    assert answer.status_code == 400
    assert "document type" in answer.json()["detail"]
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_a_password_is_asked_for(model: Model) -> None:
    with TestClient(make_app(model, auth="me:secret"), base_url="http://localhost") as client:
        assert client.get("/health").status_code == 401
        assert client.get("/health", auth=("me", "wrong")).status_code == 401
        assert client.get("/health", auth=("me", "secret")).status_code == 200


def test_names_come_from_the_configuration() -> None:
    names = read_labelling(
        CONFIG.replace(
            "</View>", '<RectangleLabels name="b" toName="img"><Label value="bird"/></RectangleLabels></View>'
        ),
        PARTS,
    )
    assert (names.field, names.image, names.points, names.boxes, names.box_label) == (
        "photo",
        "img",
        "kp",
        "b",
        "bird",
    )
    with pytest.raises(AnnotationError, match="no KeyPointLabels"):
        read_labelling(CONFIG, ["wheel"])


@pytest.mark.parametrize(
    "way", ["../secret.png", "%2e%2e/secret.png", "birds/../../secret.png", "link.png", "/absolute"]
)
def test_nothing_outside_the_document_root_is_read(data: PartDataset, tmp_path: Path, way: str) -> None:
    inside = tmp_path / "in"
    (inside / "birds").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(data[0].image.read_bytes())
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    way = str(tmp_path / "secret.png") if way == "/absolute" else way
    with pytest.raises(ImageError, match="no such file below the document root"):
        Pictures(inside).read(f"/data/local-files/?d={way}")


def test_the_token_goes_to_the_configured_host_alone(data: PartDataset) -> None:
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            away = self.path == "/away"
            self.send_response(302 if away else 200)
            if away:
                self.send_header("Location", "/data/upload/1/a.png")
            self.end_headers()
            if not away:
                self.wfile.write(data[0].image.read_bytes())

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    try:
        pictures = Pictures(host=host, token="t0ken")
        assert pictures.read("/data/upload/1/a.png").size == data[0].size
        assert asked == [("/data/upload/1/a.png", "Token t0ken")]
        with pytest.raises(ImageError, match="not followed"):
            pictures.read(host + "/away")
        assert len(asked) == 2
        with pytest.raises(ImageError, match="more than 10 bytes"):
            Pictures(host=host, limit=10).read("/data/upload/1/a.png")
        count = len(asked)
        for other in (
            f"http://localhost:{server.server_port}/a.png",
            "http://127.0.0.1:1/a.png",
            "file:///etc/passwd",
        ):
            with pytest.raises(ImageError, match="only local files"):
                pictures.read(other)
        with pytest.raises(ImageError, match="only local files"):
            pictures.read(f"http://127.0.0.1:{server.server_port}@evil.example/a.png")
        assert len(asked) == count
    finally:
        server.shutdown()
        server.server_close()


def test_a_model_that_needs_boxes_is_refused(data: PartDataset, tmp_path: Path) -> None:
    path = tmp_path / "crop.partscope"
    PriorDetector(region="box").fit(data[:3]).save(path)
    with pytest.raises(OptionError, match="needs boxes"):
        Model(path, tmp_path / "versions", Pictures())


@pytest.mark.slow  # a second Python has to import torch
def test_the_server_runs_as_a_process(data: PartDataset, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "prior.partscope"
    PriorDetector(region="image").fit(data[:3]).save(path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "label_studio_backend",
        str(path),
        "--folder",
        str(tmp_path / "versions"),
    ]
    paths = os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent / "src")])
    environment = {**os.environ, "PYTHONPATH": paths}
    environment.pop("PARTSCOPE_BACKEND_AUTH", None)
    process = subprocess.Popen([*command, "--root", str(root), "--port", str(port)], env=environment)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict",
            json.dumps(ask(local(data.ids[9]))).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = json.load(answer)
        assert content["model_version"] == "prior-0000"
        assert content["results"][0]["result"]
    finally:
        process.terminate()
        process.wait(20)
