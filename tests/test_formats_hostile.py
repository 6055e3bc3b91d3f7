"""Whatever a file holds, a reader answers with a data set or with one of partscope's own errors that names the file."""

from __future__ import annotations

import json
import random
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, write_pictures
from partscope import load_dataset
from partscope.dataset import PartDataset, Sample
from partscope.errors import AnnotationError, PartscopeError
from partscope.formats import save_dataset
from partscope.formats.lsp import JOINTS

#: What takes the place of a value in JSON.
JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**400, 1e308, float("nan"), "", "a", "\x00", "../a", "/etc/passwd", "1_0"),
    *([], {}, [None], [[]], {"id": {}}, "x" * 10_000),
)
PLACES = {
    "csv": "parts.csv",
    "coco": "parts.json",
    "label-studio": "tasks.json",
    "label-studio-min": "minimal.json",
    "cvat": "annotations.xml",
    "deeplabcut": "CollectedData_me.csv",
    "deeplabcut h5": "CollectedData_me.h5",
    "300w": "im0001.pts",
    "lsp": "joints.mat",
    "cub": "images.txt",
    "nabirds": "sizes.txt",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound annotation in each format."""
    root = tmp_path_factory.mktemp("hostile")
    folder = write_pictures(root / "pictures", ["im0001.png", "im0002.png"])
    samples = [
        Sample(
            f"im000{i}.png#{k}" if i == 2 else f"im000{i}.png",
            folder / f"im000{i}.png",
            (40, 30),
            [[p + 1, p + 2.5] for p in range(14)],  # type: ignore[arg-type]
            [p != k for p in range(14)],  # type: ignore[arg-type]
            (1.0, 2.0, 20.0, 20.0),
        )
        for i, k in ((1, 1), (2, 1), (2, 2))
    ]
    for name, file in PLACES.items():
        format = name.split()[0]
        place = root / name
        place.mkdir()
        if name.endswith("h5"):
            pytest.importorskip("tables", reason="PyTables is in the extra formats")
        one = format in ("300w", "lsp", "cub", "nabirds")
        made = PartDataset(JOINTS, tuple(samples[: 1 if one else 3]), "sound")
        written = save_dataset(made, format, place if one else place / file)
        for image, source in written.images.items():
            (place / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place / image)
    return root


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.xml", "a.pts", "CollectedData_me.csv"])
def test_files_that_are_empty_or_utf_16_are_said_so(tmp_path: Path, name: str) -> None:
    """And not, that they are of no known format."""
    file = tmp_path / name
    format = {".json": "coco", ".xml": "cvat", ".pts": "300w"}.get(file.suffix, "csv")
    for content, message in (
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf \r\n", "the file is empty"),
        ("image,part\n".encode("utf-16"), "UTF-16.*save it as UTF-8"),
        (b"\xfe\xff\x00a", "UTF-16.*save it as UTF-8"),
    ):
        file.write_bytes(content)
        for wanted in ("auto", format):
            with pytest.raises(AnnotationError, match=message) as caught:
                load_dataset(wanted, file)
            assert str(file) in str(caught.value)


def test_names_of_images_as_other_systems_write_them(tmp_path: Path) -> None:
    """Backslashes of Windows, and letters composed otherwise (macOS) find their images; nothing leaves the folder."""
    composed = unicodedata.normalize("NFC", "vögel/é.png")
    write_pictures(tmp_path / "data", ["birds/a.png", composed])
    file = tmp_path / "data" / "parts.csv"
    for written, meant in (
        ("birds\\a.png", "birds/a.png"),
        (".\\birds\\a.png", "birds/a.png"),
        (unicodedata.normalize("NFD", composed), composed),
        (unicodedata.normalize("NFD", composed).replace("/", "\\"), composed),
    ):
        file.write_text(f"image,part,x,y\n{written},beak,1,2\n", "utf-8")
        (sample,) = load_dataset("csv", file)
        assert (sample.id, sample.image) == (meant, tmp_path / "data" / meant)
    write_pictures(tmp_path, ["secret.png"])
    for written in (
        "..\\secret.png",
        "birds\\..\\..\\secret.png",
        f"\\{tmp_path}\\secret.png",
        "birds\\b.png",
    ):
        file.write_text(f"image,part,x,y\n{written},beak,1,2\n", "utf-8")
        with pytest.raises(PartscopeError, match=r"there is no image|leaves the data set's folder"):
            load_dataset("csv", file)


def test_a_name_that_is_really_of_a_backslash_is_taken_as_it_is(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a\\b.png", "a/b.png"])
    (tmp_path / "parts.csv").write_text("image,part,x,y\na\\b.png,beak,1,2\na/b.png,beak,1,2\n", "utf-8")
    assert load_dataset("auto", tmp_path).ids == ("a\\b.png", "a/b.png")


def test_another_encoding_is_named_where_an_image_is_missing(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["vögel.png"])
    (tmp_path / "parts.csv").write_text("image,part,x,y\nvögel.png,beak,1,2\n", "latin-1")
    with pytest.raises(AnnotationError, match=r"line 2: .*is not UTF-8.*save the file as UTF-8") as caught:
        load_dataset("csv", tmp_path / "parts.csv")
    str(caught.value).encode()  # it can be printed


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON document as a container and a key."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from nodes(value[key])


def spoilt(content: bytes, is_json: bool, chance: random.Random) -> bytes:
    """Return a document with other values, or with bytes changed, cut out, doubled or cut off."""
    if is_json and chance.random() < 0.8:
        document = json.loads(content)
        for _ in range(chance.randint(1, 3)):
            places = list(nodes(document))
            if not places:
                break
            container, key = chance.choice(places)
            if chance.random() < 0.2:
                del container[key]
            else:
                container[key] = chance.choice(JUNK)
        return json.dumps(document).encode()
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(data) + 1), chance.randint(1, 40)
        kind = chance.random()
        if kind < 0.3:
            data[at : at + 1] = chance.choice(
                (b"\x00", b"\xff", b"-", b",", b"\n", b'"', b"9", b"nan", b"e999", b"<")
            )
        elif kind < 0.6:
            del data[at : at + length]
        elif kind < 0.9:
            data[at:at] = data[at : at + length]
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=2 * ROUND_TRIPS)
@given(seed=st.integers(0, 2**32), on_error=st.sampled_from(("raise", "skip")))
def test_spoilt_files(sound: Path, name: str, seed: int, on_error: str) -> None:
    format, chance = name.split()[0], random.Random(seed)
    file = sound / name / PLACES[name]
    content = file.read_bytes()
    folder = format in ("300w", "lsp", "cub", "nabirds")
    try:
        file.write_bytes(spoilt(content, file.suffix == ".json", chance))
        for wanted in (format, "auto"):
            try:
                read = load_dataset(wanted, file.parent if folder else file, on_error=on_error)
            except PartscopeError as error:
                message = str(error)
                if str(sound) not in message or "\n" in message:
                    raise AssertionError(f"the file is not named in one line: {message!r}") from error
            else:
                assert len(read)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize("name", ["csv", "coco", "label-studio", "label-studio-min", "cvat", "deeplabcut"])
def test_a_name_longer_than_the_file_system_takes(
    sound: Path, tmp_path: Path, name: str, on_error: str
) -> None:
    content = (sound / name / PLACES[name]).read_bytes()
    assert b"im0001.png" in content
    file = tmp_path / PLACES[name]
    file.write_bytes(content.replace(b"im0001.png", b"x" * 300 + b".png"))
    with pytest.raises(PartscopeError, match="xxx"):
        load_dataset(name, file, on_error=on_error)
