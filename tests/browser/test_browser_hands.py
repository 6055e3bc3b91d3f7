"""Ways to work: keys alone, fingers, two tabs, and a server that goes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import BrowserContext, Page

from driving import PARTS, Served, marked, name_parts, on_screen, open_page, opened, shoot, until
from partscope.web.pictures import picture_id

pytestmark = pytest.mark.browser


def detail(page: Page, name: str) -> dict[str, Any]:
    """Return what the server knows of a picture."""
    answer = page.request.get(f"{page.url}api/pictures/{picture_id(name)}")
    content: dict[str, Any] = answer.json()
    return content


def tab_to(page: Page, selector: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached with Tab")


def test_keys_alone_do_it(page: Page, served: Served) -> None:
    open_page(page, served.url)
    tab_to(page, "#parts-edit")
    page.keyboard.press("Enter")
    tab_to(page, "#several")
    page.keyboard.type("beak, left eye, right eye")
    page.keyboard.press("Enter")
    until(lambda: page.locator("#parts-dialog select").count() == 3, "the parts are in the dialog")
    # The pair was guessed from the names.
    assert (
        page.locator("#parts-dialog select").nth(1).evaluate("(select) => select.selectedOptions[0].text")
        == "↔ right eye"
    )
    while page.evaluate("document.activeElement.textContent") != "Save parts":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    until(lambda: page.locator("#parts li").count() == 3, "the parts are saved")

    tab_to(page, "#canvas")
    name = opened(page)
    width, height = detail(page, name)["size"]
    scale = page.evaluate("document.getElementById('svg').getScreenCTM().a")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    until(lambda: marked(page) == 1, "the first part is set")
    expected = [width / 2 + 12 / scale, height / 2 - 30 / scale]
    until(lambda: detail(page, name)["marks"], "the mark is saved")
    assert detail(page, name)["marks"]["p1"] == pytest.approx(expected, abs=0.02)
    page.keyboard.press("h")
    until(lambda: marked(page) == 2, "the second part is not visible")
    page.keyboard.press("u")
    until(lambda: marked(page) == 1, "undone")
    page.keyboard.press("Control+y")
    until(lambda: marked(page) == 2, "done again")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    until(lambda: marked(page) == 3, "the third part is set")
    page.keyboard.press("Delete")
    until(lambda: marked(page) == 2, "taken away")
    before = page.evaluate("document.getElementById('svg').getAttribute('viewBox')")
    page.keyboard.press("+")
    page.keyboard.press("Alt+ArrowLeft")
    assert page.evaluate("document.getElementById('svg').getAttribute('viewBox')") != before
    page.keyboard.press("0")
    assert page.evaluate("document.getElementById('svg').getAttribute('viewBox')") == before
    page.keyboard.press("PageDown")
    until(lambda: opened(page) != name, "the next picture")
    until(lambda: detail(page, name)["marks"].get("p2", 0) is None, "everything is saved")
    tab_to(page, "#grid")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    until(lambda: opened(page) == name, "the first picture again, from the list")


def test_wheel_zooms_at_the_pointer_and_dragging_moves(page: Page, served: Served) -> None:
    open_page(page, served.url)
    name_parts(page)
    x, y = on_screen(page, [60.0, 80.0])
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    until(
        lambda: (
            on_screen(page, [60.0, 80.0]) == pytest.approx((x, y), abs=1)
            and on_screen(page, [61.0, 80.0])[0] - x > 2
        ),
        "zoomed at the pointer",
    )
    page.mouse.down()
    page.mouse.move(x + 50, y + 30, steps=3)
    page.mouse.up()
    assert on_screen(page, [60.0, 80.0]) == pytest.approx((x + 50, y + 30), abs=1)
    assert marked(page) == 0, "dragging the picture sets nothing"


def test_fingers_on_a_tablet(contexts: Callable[..., BrowserContext], served: Served) -> None:
    page = contexts(viewport={"width": 820, "height": 1180}, has_touch=True).new_page()
    open_page(page, served.url)
    name_parts(page)
    page.touchscreen.tap(*on_screen(page, [50.0, 60.0]))
    until(lambda: marked(page) == 1, "a tap sets the part")
    until(lambda: detail(page, opened(page))["marks"], "saved")
    assert detail(page, opened(page))["marks"]["p1"] == pytest.approx([50, 60], abs=2)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 820, "nothing sticks out to the side"
    shoot(page, "tablet")


def test_two_tabs_do_not_overwrite_each_other(
    contexts: Callable[..., BrowserContext], served: Served
) -> None:
    context = contexts()
    one, two = context.new_page(), context.new_page()
    open_page(one, served.url)
    name_parts(one)
    open_page(two, served.url)
    name = opened(one)
    assert opened(two) == name
    # The second tab does not hear of what the first does.
    two.route("**/api/changes*", lambda route: route.abort())
    two.wait_for_timeout(300)
    one.mouse.click(*on_screen(one, [30.0, 40.0]))  # beak
    until(lambda: detail(one, name)["revision"] == 1, "the first tab's mark is saved")
    two.keyboard.press("2")
    two.mouse.click(*on_screen(two, [70.0, 80.0]))  # crown
    until(lambda: detail(one, name)["revision"] == 2, "the second tab's mark is saved too")
    marks = detail(one, name)["marks"]
    assert marks["p1"] == pytest.approx([30, 40], abs=1)
    assert marks["p2"] == pytest.approx([70, 80], abs=1)
    until(lambda: marked(two) == 2, "the second tab shows both")
    until(lambda: marked(one) == 2, "the first tab hears of it")
    # Both move the same part: what is saved stays, and the second tab says so.
    one.keyboard.press("1")
    one.mouse.click(*on_screen(one, [100.0, 40.0]))
    until(lambda: detail(one, name)["revision"] == 3, "the first tab's change is saved")
    two.keyboard.press("1")
    two.mouse.click(*on_screen(two, [10.0, 120.0]))
    until(lambda: "Another tab has also changed beak" in two.inner_text("#toast"), "the clash is told")
    assert detail(one, name)["marks"]["p1"] == pytest.approx([100, 40], abs=1)


def test_marks_made_while_the_server_is_away_arrive_later(
    contexts: Callable[..., BrowserContext], served: Served
) -> None:
    page = contexts().new_page()
    open_page(page, served.url)
    name_parts(page)
    name = opened(page)
    page.mouse.click(*on_screen(page, [30.0, 40.0]))
    until(lambda: page.locator("#unsaved").is_hidden() and detail(page, name)["revision"] == 1, "saved")
    served.kill()  # a crash
    page.mouse.click(*on_screen(page, [70.0, 80.0]))
    until(lambda: page.locator("#unsaved").is_visible(), "the page says that it is not saved")
    served.start()
    until(lambda: page.locator("#unsaved").is_hidden(), "it is saved when the server is back")
    marks = detail(page, name)["marks"]
    assert sorted(marks) == ["p1", "p2"], "the crash has lost nothing"
    # And if the page is closed meanwhile, the browser keeps what is not saved.
    served.kill()
    page.mouse.click(*on_screen(page, [20.0, 120.0]))
    until(lambda: page.locator("#unsaved").is_visible(), "not saved")
    served.start()
    page.on("dialog", lambda dialog: dialog.accept())
    open_page(page, served.url)
    until(lambda: len(detail(page, name)["marks"]) == 3, "taken up from the browser")
    assert len(PARTS) == 5
