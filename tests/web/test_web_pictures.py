"""The folder: what is listed, and that no request leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from partscope.dataset import PartDataset
from partscope.errors import ImageError, OptionError
from partscope.web import Session
from partscope.web.faults import UnknownPictureError
from partscope.web.pictures import PictureFolder, picture_id


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with pictures, a secret beside it, and links that lead there."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / ".hidden").mkdir()
    secret = tmp_path / "secret.png"
    for path in (root / "a.png", root / "sub" / "b.JPG", root / ".hidden" / "c.png", root / ".d.png", secret):
        Image.new("RGB", (8, 6)).save(path, "PNG")
    (root / "notes.txt").write_text("no picture")
    os.symlink(secret, root / "out.png")
    os.symlink(tmp_path, root / "away")
    os.symlink(root / "a.png", root / "alias.png")
    os.symlink(tmp_path / "nowhere.png", root / "dangling.png")
    return root


def test_pictures_are_listed_without_hidden_files_and_linked_folders(tree: Path) -> None:
    names = [picture.name for picture in PictureFolder(tree)]
    assert names == ["a.png", "alias.png", "dangling.png", "out.png", "sub/b.JPG"]


def test_links_are_followed_inside_the_folder_only(tree: Path) -> None:
    folder = PictureFolder(tree)
    assert folder.path(picture_id("alias.png")) == (tree / "a.png").resolve()
    with pytest.raises(ImageError, match="out of the folder"):
        folder.path(picture_id("out.png"))
    with pytest.raises(ImageError):
        folder.path(picture_id("dangling.png"))


def test_a_file_that_becomes_a_link_later_is_refused(tree: Path) -> None:
    folder = PictureFolder(tree)
    (tree / "a.png").unlink()
    os.symlink(tree.parent / "secret.png", tree / "a.png")
    with pytest.raises(ImageError, match="out of the folder"):
        folder.path(picture_id("a.png"))


@pytest.mark.parametrize(
    "id",
    [
        "../secret.png",
        "..%2Fsecret.png",
        "%2e%2e%2fsecret.png",
        "/etc/passwd",
        "a.png",
        "",
        "\0",
        picture_id("../secret.png"),
    ],
)
def test_only_ids_of_the_listing_name_pictures(tree: Path, id: str) -> None:
    with pytest.raises(UnknownPictureError):
        PictureFolder(tree).path(id)


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "..%2fsecret.png", "%2e%2e/secret.png", "....//secret.png", "%00", "..%5csecret.png"],
)
def test_no_address_leads_out_of_the_folder(client: TestClient, folder: Path, name: str) -> None:
    Image.new("RGB", (8, 6)).save(folder.parent / "secret.png")
    for path in (
        f"/api/pictures/{name}",
        f"/api/pictures/{name}/thumbnail",
        f"/api/pictures/{name}/preview",
        f"/static/{name}",
    ):
        assert client.get(path).status_code == 404, path
    put = client.put(f"/api/pictures/{name}/marks", json={"marks": {}}, headers={"If-Match": "0"})
    assert put.status_code in (404, 405)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="nowhere"):
        PictureFolder(tmp_path / "nowhere")


def test_unreadable_pictures_are_shown_as_such_and_the_rest_goes_on(
    client: TestClient, session: Session, folder: Path, animals: PartDataset
) -> None:
    (folder / "broken.png").write_bytes(b"no picture at all")
    session.folder.refresh()
    broken, fine = picture_id("broken.png"), picture_id(animals[0].image.name)
    answer = client.get(f"/api/pictures/{broken}/thumbnail")
    assert answer.status_code == 422
    assert "broken.png" in answer.json()["error"]
    assert str(folder) not in answer.json()["error"]
    states = {entry["id"]: entry["state"] for entry in client.get("/api/pictures").json()["pictures"]}
    assert states.pop(broken) == "bad"
    assert set(states.values()) == {"open"}
    assert client.get(f"/api/pictures/{broken}").json()["reason"]
    assert client.get(f"/api/pictures/{fine}/thumbnail").headers["content-type"] == "image/jpeg"


def test_thumbnails_are_small_upright_and_kept(client: TestClient, session: Session, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (900, 300), "red").save(folder / "turned.jpg", exif=exif)
    session.folder.refresh()
    id = picture_id("turned.jpg")
    data = client.get(f"/api/pictures/{id}/thumbnail").content
    from io import BytesIO

    assert Image.open(BytesIO(data)).size == (80, 240)
    assert client.get(f"/api/pictures/{id}").json()["size"] == [300, 900]
    kept = len(list((session.project.folder / "thumbnails").iterdir()))
    assert client.get(f"/api/pictures/{id}/thumbnail").content == data
    assert len(list((session.project.folder / "thumbnails").iterdir())) == kept == 1
