"""`partscope serve`: what it says where it cannot start, and its addresses."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from command_line import run
from partscope.errors import OptionError
from partscope.web.serving import address, hosts_of, listen


def test_without_the_extra_the_message_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run(capsys, "serve", tmp_path)
    assert result.code == 2
    assert "pip install 'partscope[web]'" in result.error


def test_what_cannot_be_served_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "nowhere" in run(capsys, "serve", tmp_path / "nowhere").error
    assert "no.partscope" in run(capsys, "serve", tmp_path, "--model", tmp_path / "no.partscope").error
    assert "8 letters" in run(capsys, "serve", tmp_path, "--token", "short", "--port", "0").error
    assert (
        "no address" in run(capsys, "serve", tmp_path, "--host", "no.such.host.invalid", "--port", "0").error
    )


def test_a_busy_port_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert (
            f"port {port} on 127.0.0.1 cannot be used" in run(capsys, "serve", tmp_path, "--port", port).error
        )


def test_only_this_machine_is_listened_to_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Host, token and names as the server gets them; the server itself is not run."""
    from partscope.web import Session, serving

    seen: list[tuple[str, bool, bool]] = []

    def note(session: Session, *, hosts: tuple[str, ...], token: str | None, addresses: bool) -> None:
        seen.append((hosts[0], token is not None, addresses))

    listened: list[str] = []
    monkeypatch.setattr(serving, "create_app", note)
    monkeypatch.setattr(serving.uvicorn, "Config", lambda *args, **kwargs: None)
    monkeypatch.setattr(
        serving.uvicorn,
        "Server",
        lambda config: type(
            "Server", (), {"run": lambda self, sockets: listened.append(sockets[0].getsockname()[0])}
        )(),
    )
    session = Session(tmp_path)
    said: list[str] = []
    serving.serve(session, port=0, say=said.append)
    serving.serve(session, port=0, host="0.0.0.0", say=said.append)
    session.close()
    assert listened == ["127.0.0.1", "0.0.0.0"]
    assert seen == [("127.0.0.1", False, False), ("127.0.0.1", True, True)]
    assert "token=" not in said[0]
    assert any("token=" in line for line in said[1:])


def test_addresses() -> None:
    assert address(None, 80, None) == "http://127.0.0.1:80/"
    assert address("::1", 80, "t") == "http://[::1]:80/?token=t"
    assert address("0.0.0.0", 80, "t") == f"http://{socket.gethostname()}:80/?token=t"
    assert "10.0.0.5" in hosts_of("10.0.0.5")
    with pytest.raises(OptionError):
        listen("999.999.1.1", 0)
