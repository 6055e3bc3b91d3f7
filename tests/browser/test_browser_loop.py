"""The loop in a real browser: open, name parts, mark, find, correct, find again, export, reload."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page

from driving import (
    PARTS,
    Served,
    find,
    mark_all,
    marked,
    name_parts,
    on_screen,
    open_page,
    opened,
    shoot,
    until,
)
from partscope.dataset import PartDataset

pytestmark = pytest.mark.browser


def test_the_whole_loop(
    page: Page, served: Served, birds: PartDataset, truth: dict[str, Any], tmp_path: Path
) -> None:
    (served.folder / "zz_broken.jpg").write_bytes(b"no picture")
    served.kill()
    served.start()
    open_page(page, served.url)
    shoot(page, "loop-1-open")
    assert page.locator("#parts-none").is_visible()
    assert page.locator("#find").is_disabled()
    name_parts(page)
    shoot(page, "loop-2-parts")

    for _ in range(6):
        mark_all(page, truth[opened(page)], birds.parts)
        page.keyboard.press("PageDown")
        until(lambda: marked(page) == 0, "the next picture is open")
    shoot(page, "loop-3-marked")

    assert "learned from 6 pictures" in find(page)
    assert page.locator("#sort").input_value() == "doubt"
    order = page.locator("#grid .cell")
    doubts = [
        float(text.rsplit("doubt ", 1)[1])
        for text in (order.nth(i).get_attribute("aria-label") or "" for i in range(order.count()))
        if "doubt" in text
    ]
    shown = sorted(range(len(doubts)), key=lambda i: -doubts[i])
    assert len(shown) >= 6
    assert page.locator("#chart svg").is_visible()
    shoot(page, "loop-4-found")

    # The most doubtful picture is open; a part is dragged to its place, and the others are accepted.
    first = opened(page)
    sample = truth[first]
    part = next(
        name
        for name in PARTS
        if sample.visible[birds.parts.index(name)]
        and page.locator(f"#svg [data-key='p{PARTS.index(name) + 1}']").count()
    )
    key = f"p{PARTS.index(part) + 1}"
    box = page.locator(f"#svg [data-key='{key}'] .core").bounding_box()
    assert box is not None
    target = on_screen(page, sample.points[birds.parts.index(part)].tolist())
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(target[0] + 20, target[1] + 20, steps=4)
    page.mouse.move(*target, steps=4)
    page.mouse.up()
    until(lambda: marked(page) == 1, "the dragged part is a mark")
    page.get_by_role("button", name="Accept").click()
    until(lambda: opened(page) != first, "the next doubtful picture is open")
    mark_all(page, truth[opened(page)], birds.parts)
    shoot(page, "loop-5-corrected")
    assert "added 2 pictures, took 0 away; learned from 8 in all" in find(page)
    until(lambda: page.locator("#chart .dot").count() == 2, "the chart has two searches")
    shoot(page, "loop-6-found-again")

    page.select_option("#export-what", "predictions-csv")
    with page.expect_download() as download:
        page.click("#export-go")
    download.value.save_as(tmp_path / "parts.csv")
    rows = list(csv.DictReader((tmp_path / "parts.csv").open()))
    assert len(rows) == 18 * len(PARTS)
    dragged = next(row for row in rows if (row["image"], row["part"]) == (first, part))
    assert abs(float(dragged["x"]) - sample.points[birds.parts.index(part)][0]) < 1.5
    assert float(dragged["score"]) == 1

    counts = page.inner_text("#counts")
    assert counts == "19 pictures · 8 marked · 1 cannot be read"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    until(lambda: page.inner_text("#counts").startswith("19 pictures · 8 marked"), "a reload loses nothing")
    assert page.locator("#parts li").count() == len(PARTS)
    until(lambda: page.locator("#chart .dot").count() == 2, "the chart is there again")


def test_why_here_and_a_channels_page(
    page: Page, served: Served, birds: PartDataset, truth: dict[str, Any]
) -> None:
    open_page(page, served.url)
    name_parts(page)
    for _ in range(3):
        mark_all(page, truth[opened(page)], birds.parts)
        page.keyboard.press("PageDown")
        until(lambda: marked(page) == 0, "the next picture is open")
    find(page)
    page.keyboard.press("w")
    until(lambda: page.locator("#why .channels button").count() == 6, "the channels are listed")
    evidence = page.locator("#svg image").nth(1)
    assert "evidence.png" in (evidence.get_attribute("href") or "")
    page.locator("#why .channels button").nth(2).hover()
    until(lambda: "channel-2.png" in (evidence.get_attribute("href") or ""), "what the channel adds is shown")
    page.get_by_role("button", name="Compare with single channels").click()
    until(lambda: page.locator("#why .way").count() == 3, "three ways are compared")
    until(
        lambda: page.evaluate(
            "[...document.querySelectorAll('#why .way img')].every((image) => image.complete && image.naturalWidth)"
        ),
        "the maps are there",
    )
    shoot(page, "why")
    page.locator("#why .channels button").first.click()
    until(lambda: page.locator("#channel-dialog .hits li").count(), "the channel's page is open")
    assert "of 18 pictures that were looked at (18 are in the folder)" in page.inner_text("#channel-dialog")
    assert page.locator("#channel-dialog .hits li").count() == 18
    until(
        lambda: page.evaluate("[...document.querySelectorAll('.hits img')].every((image) => image.complete)"),
        "thumbnails",
    )
    shoot(page, "channel")
    hit = page.locator("#channel-dialog .hits button").nth(3)
    name = (hit.get_attribute("aria-label") or "").removeprefix("Open ")
    hit.click()
    until(lambda: opened(page) == name, "the picture is open")


def test_pictures_can_be_added_and_what_is_none_is_refused(
    page: Page, served: Served, birds: PartDataset, tmp_path: Path
) -> None:
    open_page(page, served.url)
    (tmp_path / "fake.png").write_bytes(b"GIF89a, but not really")
    page.set_input_files("#upload", [birds[0].image, tmp_path / "fake.png"])
    until(lambda: page.inner_text("#counts").startswith("19 pictures"), "the picture is added")
    until(lambda: "fake" in page.inner_text("#toast"), "the other is refused")
    assert len(list(served.folder.glob("*.jpg"))) == 19
    assert not list(served.folder.glob("fake*"))
