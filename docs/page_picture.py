"""Write docs/figures/page.png: the page with drawn birds, of which some were marked, and why a part was found where it is.

`python docs/page_picture.py` (needs the extras `web` and `browser`, and a Chromium) marks the first birds as a hand would, finds
parts on the others, opens the one with the smallest doubt and asks why its beak is there. The birds are fixed by a seed.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from driving import Served, chromium, find, mark_all, marked, name_parts, open_page, opened, until  # noqa: E402
from partscope.synthetic import write_synthetic_birds  # noqa: E402

MARKED = 12


def picture(page: Page, out: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        birds = write_synthetic_birds(Path(temporary) / "cub", 36, 3, random_state=2, size=320)
        folder = Path(temporary) / "birds"
        folder.mkdir()
        for sample in birds:
            shutil.copy(sample.image, folder)
        truth = {Path(sample.image).name: sample for sample in birds}
        served = Served(folder).start()
        try:
            open_page(page, served.url)
            name_parts(page)
            for _ in range(MARKED):
                mark_all(page, truth[opened(page)], birds.parts)
                page.keyboard.press("PageDown")
                until(lambda: marked(page) == 0, "the next picture is open")
            find(page)
            for _ in range(len(birds) - MARKED - 1):  # ordered by doubt: the last one is the surest
                page.keyboard.press("PageDown")
            page.keyboard.press("1")
            page.keyboard.press("w")
            until(lambda: page.locator("#why .channels button").count() == 6, "the channels are listed")
            page.get_by_role("button", name="Compare with single channels").click()
            until(lambda: page.locator("#why .way").count() == 3, "three ways are compared")
            loaded = (
                "[...document.querySelectorAll('#why .way img')].every((i) => i.complete && i.naturalWidth)"
            )
            until(lambda: page.evaluate(loaded), "their maps are drawn")
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)  # a third of the bytes
        finally:
            served.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "page.png")
    options = parser.parse_args()
    path = chromium()
    if path is None:
        raise SystemExit("no Chromium is installed (Debian and Ubuntu: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        picture(browser.new_page(viewport={"width": 1280, "height": 800}), options.out)
        browser.close()


if __name__ == "__main__":
    main()
