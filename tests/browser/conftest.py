"""A Chromium, drawn birds, and a server over a copy of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'partscope[browser]'")

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from driving import Served, chromium
from partscope.dataset import PartDataset
from partscope.synthetic import write_synthetic_birds


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed (Debian and Ubuntu: apt-get install chromium)")
    switches = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=switches)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def birds(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return write_synthetic_birds(tmp_path_factory.mktemp("birds") / "cub", 18, 3, size=240)


@pytest.fixture
def folder(birds: PartDataset, tmp_path: Path) -> Path:
    target = tmp_path / "birds"
    target.mkdir()
    for sample in birds:
        shutil.copy(sample.image, target)
    return target


@pytest.fixture
def truth(birds: PartDataset) -> dict[str, Any]:
    return {sample.image.name: sample for sample in birds}


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    server = Served(folder).start()
    yield server
    server.kill()


@pytest.fixture
def contexts(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        made.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        return made[-1]

    yield make
    for context in made:
        context.close()


@pytest.fixture
def page(contexts: Callable[..., BrowserContext]) -> Iterator[Page]:
    """A page on which nothing may go wrong: no error in its scripts, nothing loaded from elsewhere."""
    page = contexts(accept_downloads=True).new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("http://127.0.0.1:", "blob:")) else faults.append(request.url)
        ),
    )
    yield page
    assert not faults
