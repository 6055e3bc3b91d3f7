"""How the page looks: accessibility by axe-core, light and dark, and folders of very many pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
)

from PIL import Image
from playwright.sync_api import BrowserContext, Page

from driving import Served, find, mark_all, marked, name_parts, open_page, opened, shoot, until
from partscope.dataset import PartDataset

pytestmark = pytest.mark.browser
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def check(page: Page, where: str) -> None:
    """Assert that axe-core has nothing to say."""
    results = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": TAGS}})
    found = [
        f"{where}: {violation['id']}: {violation['help']}: {[node['target'] for node in violation['nodes']][:4]}"
        for violation in results.response["violations"]
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing(
    contexts: Callable[..., BrowserContext],
    served: Served,
    birds: PartDataset,
    truth: dict[str, Any],
    scheme: str,
) -> None:
    page = contexts(color_scheme=scheme, reduced_motion="reduce").new_page()
    open_page(page, served.url)
    check(page, "at the beginning")
    page.click("#parts-edit")
    check(page, "naming parts")
    page.keyboard.press("Escape")
    name_parts(page)
    for _ in range(3):
        mark_all(page, truth[opened(page)], birds.parts)
        page.keyboard.press("PageDown")
        until(lambda: marked(page) == 0, "the next picture is open")
    find(page)
    page.keyboard.press("w")
    until(lambda: page.locator("#why .channels button").count() == 6, "why")
    page.get_by_role("button", name="Compare with single channels").click()
    until(lambda: page.locator("#why .way").count() == 3, "three ways")
    shoot(page, f"looks-{scheme}")
    check(page, "with everything open")
    page.locator("#why .channels button").first.click()
    until(lambda: page.locator("#channel-dialog .hits li").count(), "a channel")
    check(page, "a channel's page")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    check(page, "the keys")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 820, "height": 1180})
    check(page, "on a tablet")
    shoot(page, f"looks-{scheme}-tablet")


def test_dark_is_dark(contexts: Callable[..., BrowserContext], served: Served) -> None:
    page = contexts(color_scheme="light").new_page()
    open_page(page, served.url)

    def brightness() -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(value) for value in colour.removeprefix("rgb(").removesuffix(")").split(",")) / 765

    assert brightness() > 0.9
    page.emulate_media(color_scheme="dark")
    assert brightness() < 0.15


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "many"
    folder.mkdir()
    first = folder / "picture_0000.jpg"
    Image.effect_noise((320, 240), 60).convert("RGB").save(first)
    for i in range(1, 5000):
        os.link(first, folder / f"picture_{i:04d}.jpg")
    served = Served(folder).start()
    yield served
    served.kill()


def test_five_thousand_pictures_cost_what_is_seen(page: Page, many: Served) -> None:
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if request.url.endswith("/thumbnail") else None
    )
    open_page(page, many.url)
    assert page.inner_text("#counts").startswith("5,000 pictures")
    page.wait_for_timeout(500)
    assert page.locator("#grid .cell").count() < 60
    assert len(set(asked)) < 60
    page.evaluate("document.getElementById('grid').scrollTop = 1e9")
    until(lambda: "picture_4999.jpg" in page.locator("#grid").inner_text(), "the end is reached", 10)
    page.wait_for_timeout(500)
    assert page.locator("#grid .cell").count() < 60
    assert len(set(asked)) < 120
