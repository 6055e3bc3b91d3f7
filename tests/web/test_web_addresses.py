"""Whatever a request holds, nothing is fetched: addresses of other machines and schemes never reach the decoder or fsspec."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from drawn import drawn_dataset
from partscope import images, places
from partscope.web import Session, create_app
from web_sessions import PAGE, FoundSession, finish, id_of, mark, name_parts, tiny_options

ADDRESSES = (
    "http://127.0.0.1:9/a.png",
    "memory://hidden/a.png",
    "file:///etc/passwd",
    "s3://bucket/a.png",
    "simplecache::memory://hidden/a.png",
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that anybody tries to open by way of fsspec, which is refused; a picture waits for it in memory."""
    seen: list[str] = []

    def note(url: object, *args: object, **kwargs: object) -> object:
        seen.append(str(url))
        raise AssertionError(f"{url} was opened")

    data = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(data, "PNG")
    fsspec.filesystem("memory").pipe_file("/hidden/a.png", data.getvalue())
    for module, name in (
        (places, "_opened"),
        (images, "read_bytes"),
        (fsspec, "open"),
        (fsspec, "filesystem"),
        (fsspec, "url_to_fs"),
        (fsspec.core, "url_to_fs"),
    ):
        monkeypatch.setattr(module, name, note)
    return seen


@pytest.fixture
def outside(searched: FoundSession) -> Iterator[set[str]]:
    """The folder as it was; what a request puts there is taken away again."""
    root = searched.session.folder.root
    before = {path.name for path in root.iterdir()}
    yield before
    for path in root.iterdir():
        if path.name not in before:
            path.unlink()
    searched.session.folder.refresh()


def routes(client: TestClient) -> list[tuple[str, str]]:
    documented = client.app.openapi()["paths"]  # type: ignore[attr-defined]
    found = [(method.upper(), path) for path, methods in documented.items() for method in methods]
    assert {
        "/api/pictures/{id}/preview",
        "/api/exports/{name}",
        "/api/upload",
        "/api/channels/{layer}/{channel}",
    } <= {path for _, path in found}
    return found


def filled(path: str, value: str) -> str:
    """Return a route's path with `value` for each of its parameters."""
    steps = []
    for step in path.split("/"):
        start, _, rest = step.partition("{")
        steps.append(start + value + rest.partition("}")[2] if rest else step)
    return "/".join(steps)


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_endpoint_opens_an_address(
    searched: FoundSession, opened: list[str], outside: set[str], address: str
) -> None:
    """In every parameter of every route, as it is, encoded once and twice; as a query, and in every field of a body."""
    client = searched.client
    bodies = (
        {
            "parts": [{"key": address, "name": address}],
            "pairs": [],
            "names": [address],
            "marks": {address: [1, 1]},
        },
        {
            "id": address,
            "picture": address,
            "path": address,
            "folder": address,
            "url": address,
            "model": address,
        },
        [address],
        address,
    )
    once = quote(address, safe="")
    for method, path in routes(client):
        if path == "/api/parts":
            continue  # a part may be called anything; see below
        values = (address, once, quote(once, safe="")) if "{" in path else ("",)
        for value in values:
            query = f"?name={once}&since={once}&path={once}&url={once}&folder={once}&model={once}"
            sent = [None] if method == "GET" else [json.dumps(body).encode() for body in bodies]
            for content in sent:
                answer = client.request(
                    method, filled(path, value) + query, content=content, headers={"If-Match": "0"}
                )
                assert answer.status_code < 500, (method, path, value)
                if "{" in path:
                    assert answer.status_code in (404, 405, 422), (method, path, value, answer.text[:200])
    assert opened == []
    finish(searched.session)
    assert {path.name for path in searched.session.folder.root.iterdir()} == outside


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_upload_named_like_an_address_is_a_file_of_the_folder(
    searched: FoundSession, opened: list[str], outside: set[str], address: str
) -> None:
    client, root = searched.client, searched.session.folder.root
    data = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(data, "PNG")
    answer = client.post(f"/api/upload?name={quote(address, safe='')}", content=data.getvalue())
    assert answer.status_code == 200
    (new,) = answer.json()["new"]
    assert client.get(f"/api/pictures/{new['id']}/preview").status_code == 200
    assert (root / answer.json()["name"]).is_file()
    assert opened == []


def test_pictures_and_parts_that_look_like_addresses_stay_here(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders called `memory:` and `http:`, served from the folder itself: shown, marked, found, explained, exported."""
    animals = drawn_dataset(tmp_path / "animals", 6)
    root = animals[0].image.parent
    moved = []
    for sample, name in zip(
        animals, ("memory:/hidden/a.png", "http:/evil.example/b.png", "file:/etc/c.png"), strict=False
    ):
        (root / name).parent.mkdir(parents=True)
        os.rename(sample.image, root / name)
        moved.append(name)
    monkeypatch.chdir(root)
    session = Session(Path("."), options=tiny_options())
    client = TestClient(create_app(session), base_url=PAGE, headers={"X-Partscope": "1"})
    try:
        keys = name_parts(session, animals)
        addresses = [(key, f"http://evil.example/{i}") for i, key in enumerate(keys)]
        session.set_parts(addresses, [], session.project.parts.revision)  # type: ignore[arg-type]
        for sample in animals[3:]:
            mark(session, sample)
        for picture in session.folder:
            for what in ("", "/thumbnail", "/preview"):
                assert client.get(f"/api/pictures/{picture.id}{what}").status_code == 200
        session.find()
        assert finish(session) == "done"
        for name in moved:
            id = next(picture.id for picture in session.folder if picture.name == name)
            assert client.get(f"/api/why/{id}/{keys[0]}/evidence.png").status_code == 200
            points = dict.fromkeys(keys, (1.0, 1.0))
            session.set_marks(id, points, 0)  # type: ignore[arg-type]
        offered = [one["name"] for one in client.get("/api/exports").json()["exports"]]
        answers = {name: client.get(f"/api/exports/{name}") for name in offered}
        assert {answer.status_code for answer in answers.values()} <= {200, 422}
        assert answers["csv"].status_code == answers["model"].status_code == 200
    finally:
        session.close()
    again = Session(
        Path("."), options=tiny_options()
    )  # the project, its findings and its model are read again
    try:
        assert len(again.project.marked()) == 6
        assert id_of(again, animals[3])
    finally:
        again.close()
    assert opened == []
