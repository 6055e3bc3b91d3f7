"""Driving the page: a server of its own for each test, a browser, and what a hand would do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

#: Screenshots and downloads of the tests; not committed.
ARTEFACTS = Path(__file__).parents[2] / "test-artefacts"
PARTS = ("beak", "crown", "tail", "left wing", "right wing")
#: How long anything may take on a busy machine, in seconds.
PATIENCE = 300


def chromium() -> str | None:
    """Return the path of an installed Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


def cores() -> int:
    """Return the cores that this process may use; more threads than these would wait for each other."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Served:
    """A running `partscope serve`."""

    folder: Path
    port: int = 0
    url: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> Served:
        command = [sys.executable, "-m", "partscope.cli", "serve", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": str(cores())}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, line
        self.url = line.split()[-1]
        self.port = int(self.url.rstrip("/").rsplit(":", 1)[1])
        return self

    def kill(self) -> None:
        """End it without a chance to save anything."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until a condition holds and return its value; the page's policy forbids the browser's own way to wait."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"after {seconds} s: {what}")


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("html[data-ready]", timeout=PATIENCE * 1000)


def name_parts(page: Page, names: tuple[str, ...] = PARTS) -> None:
    page.click("#parts-edit")
    page.fill("#several", ", ".join(names))
    page.press("#several", "Enter")
    until(
        lambda: page.locator("#parts-dialog .part-row select").count() == len(names),
        "the dialog lists the parts",
    )
    page.get_by_role("button", name="Save parts").click()
    until(lambda: page.locator("#parts li").count() == len(names), "the parts are listed")


def on_screen(page: Page, point: list[float]) -> tuple[float, float]:
    """Return where a point of the picture is on the screen."""
    x, y = page.evaluate(
        "([x, y]) => { const m = document.getElementById('svg').getScreenCTM(); return [x * m.a + m.e, y * m.d + m.f]; }",
        point,
    )
    return x, y


def opened(page: Page) -> str:
    return page.inner_text("#picture-name")


def marked(page: Page) -> int:
    return int(page.inner_text("#picture-state").split(" of ")[0])


def mark_all(page: Page, sample: Any, parts: tuple[str, ...]) -> None:
    """Mark every part of the open picture by click, or by H where it is hidden."""
    for number, name in enumerate(PARTS, 1):
        page.keyboard.press(str(number))
        index = parts.index(name)
        if sample.visible[index]:
            page.mouse.click(*on_screen(page, sample.points[index].tolist()))
        else:
            page.keyboard.press("h")
        until(lambda number=number: marked(page) >= number, f"{name} is marked")
    until(lambda: page.locator("#unsaved").is_hidden(), "the marks are saved")


def find(page: Page) -> str:
    """Find parts and return what the page says afterwards."""
    before = page.inner_text("#job")
    page.click("#find")
    until(lambda: page.inner_text("#job") != before, "the search has begun", 5)
    until(lambda: page.locator("#cancel").is_hidden(), "the search has ended")
    text = page.inner_text("#job")
    assert text.startswith("Done"), text
    return text


def shoot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")
