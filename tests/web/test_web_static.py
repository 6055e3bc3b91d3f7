"""The page's own files: complete, short, and loading nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from partscope.web.app import STATIC
from web_sessions import FoundSession

FILES = sorted(path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html", ".svg"))


@pytest.fixture
def client(searched: FoundSession) -> TestClient:
    """Nothing here changes the session, so all tests share one."""
    return searched.client


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_short_and_load_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) < 300
    elsewhere = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
    assert not {found for found in elsewhere if found.startswith("http")}
    assert "eval(" not in text
    assert "innerHTML" not in text, "names of files are text, never markup"


def test_every_file_that_is_asked_for_is_there(client: TestClient) -> None:
    page = client.get("/").text
    wanted = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    for path in STATIC.glob("*.js"):
        wanted |= {f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', path.read_text("utf-8"))}
    assert {f"/static/{path.name}" for path in FILES if path.suffix in (".js", ".css")} <= wanted, (
        "a file that nobody loads"
    )
    for address in sorted(wanted):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["content-type"].split(";")[0] in (
            "text/javascript",
            "text/css",
            "image/svg+xml",
        )


def test_every_element_that_a_script_looks_for_is_on_the_page() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    made = {"several"}  # the dialog of the parts makes it
    for path in STATIC.glob("*.js"):
        for name in re.findall(r'\$\("([\w-]+)"\)', path.read_text("utf-8")):
            assert f'id="{name}"' in page or name in made, f"{path.name} looks for #{name}"
