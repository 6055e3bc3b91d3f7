"""Downloads from a server of the test's own: complete, stopped, broken, wrong, too large, hostile."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from command_line import run
from partscope.download import SOURCES, Source, download, fetch, fetching, unpack
from partscope.download import sources as sources_module
from partscope.errors import MissingExtraError, OptionError, PartscopeError

pytest.importorskip("pooch", reason="pooch is in the extra download")


class Server(ThreadingHTTPServer):
    """Serves one file, with Range unless told otherwise, and breaks connections on demand."""

    content: bytes
    version = '"one"'
    ranges = True
    breaks: list[int]  # after how many bytes to break each of the next answers
    asked: list[str]  # the Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/birds.tgz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.asked.append(asked)
        content, start = self.server.content, 0
        if self.path != "/birds.tgz":
            self.send_error(404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", asked)
        if wanted and self.server.ranges and self.headers.get("If-Range") == self.server.version:
            start = int(wanted[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.version:
            self.send_header("ETag", self.server.version)
        self.end_headers()
        end = start + self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *args: Any) -> None:
        pass


def archive(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


BIRDS = archive(("birds/images.txt", b"1 a.png\n"), ("birds/images/a.png", os.urandom(300_000)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.content, server.breaks, server.asked = BIRDS, [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    source = Source("Birds", server.url, len(BIRDS), sha256(BIRDS), "birds", "cub", "none")
    monkeypatch.setattr(sources_module, "SOURCES", {"birds": source})
    monkeypatch.setitem(SOURCES, "birds", source)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_known_sources_are_complete() -> None:
    for source in SOURCES.values():
        assert source.url.startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.size > 0


def test_a_download(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = download("birds", tmp_path, progress=lambda done, total: told.append((done, total)))
    assert folder == tmp_path / "birds"
    assert (folder / "images.txt").read_text() == "1 a.png\n"
    assert names(tmp_path) == ["birds"]
    assert told[-1] == (len(BIRDS), len(BIRDS))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    # What is there is complete and is not downloaded again.
    assert download("birds", tmp_path) == folder
    assert len(server.asked) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000, 0]
    file = fetch(server.url, tmp_path / "birds.tgz", sha256(BIRDS))
    assert file.read_bytes() == BIRDS
    assert server.asked[0] == ""
    starts = [int(text.removeprefix("bytes=").removesuffix("-")) for text in server.asked[1:]]
    # A chunk that was not complete is asked for again.
    assert 80_000 < starts[0] <= 100_000 < starts[1] <= 150_000
    assert starts[2] == starts[1]
    assert names(tmp_path) == ["birds.tgz"]


def test_a_stopped_download_is_continued_by_the_next_call(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000] + [0] * 20
    with pytest.raises(PartscopeError, match=r"breaks again and again \(.* bytes are kept\); run the same"):
        download("birds", tmp_path)
    assert names(tmp_path) == ["birds.tgz.partial", "birds.tgz.partial.version"]
    kept = (tmp_path / "birds.tgz.partial").stat().st_size
    assert kept > 80_000
    server.breaks, server.asked = [], []
    download("birds", tmp_path)
    assert server.asked == [f"bytes={kept}-"]
    assert names(tmp_path) == ["birds"]


def test_ctrl_c_keeps_what_has_arrived(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("birds", tmp_path, progress=interrupt)
    assert (tmp_path / "birds.tgz.partial").stat().st_size > 0
    download("birds", tmp_path)
    assert server.asked[1].startswith("bytes=")


@pytest.mark.parametrize("how", ["no ranges", "another version", "no version"])
def test_starting_over_where_the_server_asks_for_it(server: Server, tmp_path: Path, how: str) -> None:
    if how == "no version":
        server.version = ""
    server.breaks = [100_000] + [0] * 20
    with pytest.raises(PartscopeError, match="again and again"):
        fetch(server.url, tmp_path / "a", sha256(BIRDS))
    server.breaks = []
    server.ranges = how != "no ranges"
    if how == "another version":
        server.content, server.version = BIRDS[::-1], '"two"'
    assert fetch(server.url, tmp_path / "a", sha256(server.content)).read_bytes() == server.content


def test_a_partial_file_that_is_complete(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.partial").write_bytes(BIRDS)
    (tmp_path / "a.partial.version").write_text('"one"')
    assert fetch(server.url, tmp_path / "a", sha256(BIRDS)).read_bytes() == BIRDS


def test_another_checksum(server: Server, tmp_path: Path) -> None:
    server.content = BIRDS[:-1] + b"x"
    with pytest.raises(PartscopeError, match=r"another checksum .* was removed"):
        download("birds", tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_refuses_or_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PartscopeError, match=r"the server refuses .*404"):
        fetch(server.url + "x", tmp_path / "a", sha256(BIRDS))
    server.shutdown()
    server.server_close()
    with pytest.raises(PartscopeError, match=r"again and again .*nothing has arrived"):
        fetch(server.url, tmp_path / "a", sha256(BIRDS))
    assert names(tmp_path) == []


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PartscopeError, match="bytes are still to come and the disk has less"):
        fetch(server.url, tmp_path / "a", sha256(BIRDS), size=10**18)

    def full(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode in ("wb", "r+b"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, mode, *args, **options)

    real = Path.open
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(PartscopeError, match=r"birds\.tgz\.partial: the disk is full; .* to continue"):
        download("birds", tmp_path)


def test_a_full_disk_while_unpacking(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: tarfile.TarFile, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = tarfile.TarFile.extract
    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    with pytest.raises(PartscopeError, match="the disk is full"):
        download("birds", tmp_path)
    assert names(tmp_path) == ["birds.tgz"]  # nothing that could pass for the data set
    monkeypatch.setattr(tarfile.TarFile, "extract", real)
    download("birds", tmp_path)
    assert len(server.asked) == 1


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "above": (("../evil", b"x"),),
    "deep above": (("birds/../../evil", b"x"),),
    "a link out": (link("birds/evil", "../../evil"),),
    "an absolute link": (link("birds/evil", "/etc/passwd"),),
    "a hard link out": (link("birds/evil", "../evil", tarfile.LNKTYPE),),
    "through a link": (link("birds/to", ".."), ("birds/to/../../evil", b"x")),
    "a device": (link("birds/null", "", tarfile.CHRTYPE),),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives(tmp_path: Path, case: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tgz").write_bytes(archive(("birds/a", b"x"), *HOSTILE[case]))
    with pytest.raises(PartscopeError, match=r"a\.tgz: refused, because an entry would reach outside"):
        unpack(tmp_path / "in" / "a.tgz", tmp_path / "in" / "out")
    assert (names(tmp_path), names(tmp_path / "in")) == (["in"], ["a.tgz"])


def test_absolute_names_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(archive(("/etc/partscope-evil", b"x")))
    unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert (tmp_path / "out/etc/partscope-evil").exists()
    assert not Path("/etc/partscope-evil").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", BIRDS[:1000], BIRDS[:50_000] + b"x" + BIRDS[50_001:]])
def test_damaged_archives(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(PartscopeError, match=r"a\.tgz"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert names(tmp_path) == ["a.tgz"]


def test_archives_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tgz").write_bytes(BIRDS)
    monkeypatch.setattr("partscope.download.unpacking.MOST_BYTES", 1000)
    with pytest.raises(PartscopeError, match="holds more than"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert names(tmp_path) == ["a.tgz"]


def test_an_archive_without_the_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dataclasses.replace(SOURCES["birds"], folder="fish")
    monkeypatch.setattr(sources_module, "SOURCES", {"birds": source})
    with pytest.raises(PartscopeError, match="holds no folder fish"):
        download("birds", tmp_path)
    assert names(tmp_path) == ["birds.tgz"]


def test_places_that_do_not_do(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no data set 'bird' .*'birds'"):
        download("bird", tmp_path)
    with pytest.raises(PartscopeError, match="there is no such folder"):
        download("birds", tmp_path / "nowhere")
    (tmp_path / "birds").write_text("mine")
    with pytest.raises(PartscopeError, match="this is a file"):
        download("birds", tmp_path)


def test_without_pooch(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"partscope\[download\]"):
        download("birds", tmp_path)


def test_the_command(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "download")
    assert "cub" in listed.out
    ran = run(capsys, "download", "birds", "--out", tmp_path, "--keep-archive")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [f"{tmp_path / 'birds'}: Birds", "terms: none"]
    assert names(tmp_path) == ["birds", "birds.tgz"]
