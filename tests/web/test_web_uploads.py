"""Uploads: limits of bytes, pixels and types, and names that stay in the folder."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partscope.web import uploads
from partscope.web.uploads import free_name, plain_name


def png(size: tuple[int, int] = (9, 7)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "green").save(out, "PNG")
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def test_an_upload_lands_in_the_folder_and_in_the_list(client: TestClient, folder: Path) -> None:
    answer = client.post("/api/upload", params={"name": "new bird.jpeg"}, content=png()).json()
    assert answer["name"] == "new bird.png"  # the ending is that of what it is
    assert (folder / "new bird.png").read_bytes() == png()
    assert [entry["name"] for entry in answer["new"]] == ["new bird.png"]
    assert client.get(f"/api/pictures/{answer['new'][0]['id']}").json()["size"] == [9, 7]


def test_an_upload_never_replaces_a_picture(client: TestClient, folder: Path) -> None:
    names = [
        client.post("/api/upload", params={"name": "x.png"}, content=png((5, n))).json()["name"]
        for n in (1, 2, 3)
    ]
    assert names == ["x.png", "x-2.png", "x-3.png"]
    assert Image.open(folder / "x.png").size == (5, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no picture of a known type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture of a known type"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture of a known type"),
        (png()[:50], "damaged"),
        (bomb(60_000, 60_000), "more than 100,000,000 pixels"),
        (bomb(12_000, 12_000), "more than 100,000,000 pixels"),
    ],
    ids=["empty", "svg", "eps", "truncated", "bomb", "large"],
)
def test_what_is_no_harmless_picture_is_refused(
    client: TestClient, folder: Path, content: bytes, words: str
) -> None:
    before = sorted(folder.iterdir())
    answer = client.post("/api/upload", params={"name": "a.png"}, content=content)
    assert answer.status_code == 422
    assert words in answer.json()["error"]
    assert str(folder) not in answer.json()["error"]
    assert sorted(folder.iterdir()) == before


def test_an_upload_beyond_the_limit_is_stopped(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.iterdir())
    monkeypatch.setattr(uploads, "check_size", lambda size, limit=100: _check(size, 100))
    answer = client.post("/api/upload", params={"name": "a.png"}, content=png((300, 300)) + b"\0" * 200)
    assert answer.status_code == 413
    assert sorted(folder.iterdir()) == before
    stated = client.post(
        "/api/upload", params={"name": "a.png"}, content=b"", headers={"Content-Length": str(1 << 40)}
    )
    assert stated.status_code == 413


_check = uploads.check_size


@pytest.mark.parametrize(
    "name",
    ["../../evil.png", "..\\..\\evil.png", "/etc/evil.png", "C:\\evil.png", ".evil.png", "..", "\0.png", ""],
)
def test_names_stay_in_the_folder(client: TestClient, folder: Path, name: str) -> None:
    answer = client.post("/api/upload", params={"name": name}, content=png())
    assert answer.status_code == 200
    kept = folder / answer.json()["name"]
    assert kept.parent == folder
    assert kept.is_file()
    assert not kept.name.startswith(".")


@settings(max_examples=40)
@given(st.text(max_size=100))
def test_plain_names_are_harmless(name: str) -> None:
    plain = plain_name(name)
    assert not set(plain) & set('/\\\0\n:*?"<>|')
    assert not plain.startswith(".")
    assert len(plain) <= 80
    assert free_name(Path("/nowhere"), (plain or "picture") + ".png").parent == Path("/nowhere")
