"""The loop of the page, by script: mark 10 pictures, find, correct the 10 most doubtful, find again.

    python benchmarks/loop.py DATA [--draws 3] [--pictures 100] [--folder-of 5000] [--threads 2] [--json OUT]

`partscope serve` runs as a process of its own, with nothing kept from before, and is asked over HTTP as the page asks it. Pictures
and marks are those of the training split. Of each draw: the mean error (distance over the diagonal of the marked box) on the
pictures that are neither marked nor corrected, before and after, beside the static prior of the same marks; the same where 10
pictures drawn at random are corrected instead of the most doubtful; seconds from the click, and as a ratio to the bare passes of
the network over all pictures. Then a folder of very many pictures: seconds until the page has its list, and the server's memory.
A draw that is in the file already, of the same settings and code, is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from finished import CODE, code_hash
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector
from partscope.evaluation import Evaluation, compare, evaluate
from partscope.formats import load_dataset
from partscope.images import load_image
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.views import view
from record import environment, write_json

RESULTS = Path(__file__).parent / "results"
#: Pictures that are marked first, and corrected.
MARKED = 10
#: Seconds that may pass from the click to the first prediction for 100 pictures, until progress shows, until a page opens.
FIRST, PROGRESS, OPENS = 20.0, 1.0, 2.0


class Page:
    """What the page asks the server."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.client = httpx.Client(base_url=url, headers={"X-Partscope": "1"}, timeout=120)
        self.process = process
        self.ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}

    def get(self, path: str) -> Any:
        return self.client.get(f"/api{path}").raise_for_status().json()

    def open(self) -> float:
        """Load what the page loads before it shows anything, and return the seconds."""
        start = time.monotonic()
        self.client.get("/").raise_for_status()
        self.get("/project")
        self.ids = {entry["name"]: entry["id"] for entry in self.get("/pictures")["pictures"]}
        return time.monotonic() - start

    def name(self, data: PartDataset) -> None:
        pairs = [[i, int(j)] for i, j in enumerate(data.mirror) if i < j]
        body = {"parts": [{"name": part} for part in data.parts], "pairs": pairs}
        answer = self.client.put("/api/parts", json=body, headers={"If-Match": "0"}).raise_for_status().json()
        self.keys = {part["name"]: part["key"] for part in answer["parts"]}

    def mark(self, data: PartDataset) -> None:
        for sample in data:
            marks = {
                self.keys[part]: point if seen else None
                for part, point, seen in zip(data.parts, sample.points.tolist(), sample.visible, strict=True)
            }
            address = f"/api/pictures/{self.ids[sample.id]}/marks"
            self.client.put(address, json={"marks": marks}, headers={"If-Match": "0"}).raise_for_status()

    def find(self) -> dict[str, float]:
        """Find parts; return seconds from the click until progress is seen, the first prediction, all, and the end."""
        start = time.monotonic()
        self.client.post("/api/find", json={}).raise_for_status()
        progress = predicted = None
        while True:
            job = self.get("/changes?since=0")["job"]
            if progress is None and job["what"]:
                progress = time.monotonic() - start
            if predicted is None and job["what"].startswith(("looking", "measuring")):
                predicted = time.monotonic() - start
            if job["state"] != "running":
                break
            time.sleep(0.1)
        if job["state"] != "done":
            raise RuntimeError(job["what"])
        end = time.monotonic() - start
        return {"progress": progress or end, "first": job["first"], "all": predicted or end, "end": end}

    def found(self, data: PartDataset) -> tuple[PartPredictions, np.ndarray]:
        """Return the predictions of these pictures, and their doubts."""
        rows, doubts = [], []
        for sample in data:
            found = self.get(f"/pictures/{self.ids[sample.id]}")["found"]
            doubts.append(np.nan if found["doubt"] is None else found["doubt"])
            rows.append(
                [found["points"][self.keys[part]] or [np.nan, np.nan, 0.0, False] for part in data.parts]
            )
        table = np.array([[row[:4] for row in image] for image in rows], dtype=np.float64)
        known = np.isfinite(table[..., 0])
        predictions = PartPredictions(
            data.parts, data.ids, table[..., :2], known, table[..., 2], table[..., 3] > 0
        )
        return predictions, np.array(doubts)

    def memory(self, what: str) -> float:
        """Return the server's memory in MiB; `what` is a line of /proc/PID/status."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return (
            int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{what}:"))) / 1024
        )


@contextmanager
def served(folder: Path, threads: int) -> Iterator[Page]:
    """Run the server over a folder."""
    command = [sys.executable, "-m", "partscope.cli", "serve", str(folder), "--port", "0"]
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    try:
        yield Page(process.stdout.readline().split()[-1], process)
    finally:
        process.terminate()
        process.wait()


def flat(data: PartDataset, folder: Path) -> PartDataset:
    """Copy the pictures into one folder, and return the data set with their names there as ids."""
    from dataclasses import replace

    samples = []
    for number, sample in enumerate(data):
        path = folder / f"{number:04d}{sample.image.suffix}"
        shutil.copy(sample.image, path)
        samples.append(replace(sample, id=path.name, image=path))
    return PartDataset(data.parts, tuple(samples), data.name, data.pairs)


def on_rest(page: Page, rest: PartDataset, marked: PartDataset) -> Evaluation:
    return evaluate(page.found(rest)[0], rest, StaticPrior.fit(marked))


def described(evaluation: Evaluation) -> dict[str, Any]:
    prior = evaluation.prior_errors["image"]
    assert prior is not None
    return {
        "error": evaluation.error,
        "ci95": list(evaluation.ci95),
        "static prior": float(np.nanmean(prior)),
    }


def loop(data: PartDataset, seed: int, count: int, threads: int) -> dict[str, Any]:
    """One draw: the loop with the most doubtful pictures corrected, and with pictures drawn at random."""
    result: dict[str, Any] = {"seed": seed}
    with tempfile.TemporaryDirectory() as temporary:
        drawn = flat(data.limit(count, seed), Path(temporary))
        order = np.random.default_rng(seed).permutation(len(drawn))
        for how in ("doubt", "random"):
            shutil.rmtree(Path(temporary) / ".partscope", ignore_errors=True)
            with served(Path(temporary), threads) as page:
                page.open()
                page.name(drawn)
                first, others = drawn[np.sort(order[:MARKED])], drawn[np.sort(order[MARKED:])]
                page.mark(first)
                seconds = page.find()
                doubts = page.found(others)[1]
                by_chance = np.random.default_rng(seed).permutation(len(others))
                corrected = (np.argsort(-doubts) if how == "doubt" else by_chance)[:MARKED]
                keep = np.setdiff1d(np.arange(len(others)), corrected)
                rest, fixed = others[keep], others[np.sort(corrected)]
                before = on_rest(page, rest, first)
                page.mark(fixed)
                again = page.find()
                both = PartDataset(drawn.parts, (*first, *fixed), drawn.name, drawn.pairs)
                after = on_rest(page, rest, both)
                difference = compare(before, after)
                result[how] = {
                    "before": described(before),
                    "after": described(after),
                    "difference": difference.total.difference,
                    "difference ci95": list(difference.total.ci),
                    "seconds": seconds,
                    "seconds again": again,
                    "peak MiB": page.memory("VmHWM"),
                }
        result["pass"] = bare_pass(drawn[:16])
    return result


def bare_pass(data: PartDataset) -> float:
    """Return the median seconds of one forward pass of the network over a finished input."""
    detector = LinearDetector(arrangement="none", flips=False, shrinkage=1.0).fit(data[:4])
    inputs = [
        view(detector.backbone_.preprocessing, load_image(sample.image), "image").inputs[None]
        for sample in data
    ]
    seconds = []
    for one in inputs:
        start = time.monotonic()
        detector.grids_(one)
        seconds.append(time.monotonic() - start)
    return float(np.median(seconds))


def many(count: int, threads: int) -> dict[str, Any]:
    """A folder of so many pictures: how long the page takes to open, and the server's memory when all were looked at."""
    rows: dict[str, Any] = {"pictures": count}
    with tempfile.TemporaryDirectory() as temporary:
        rng = np.random.default_rng(0)
        for number in range(count):
            path = Path(temporary) / f"picture_{number:05d}.jpg"
            if number < 20:
                Image.fromarray(rng.integers(0, 255, (375, 500, 3), dtype=np.uint8)).save(path, quality=80)
            else:
                os.link(Path(temporary) / f"picture_{number % 20:05d}.jpg", path)
        with served(Path(temporary), threads) as page:
            rows["opens in seconds"] = page.open()
            rows["MiB when opened"] = page.memory("VmRSS")
            rows["MiB after thumbnails of"] = {}
            for number, id in enumerate(page.ids.values(), 1):
                page.client.get(f"/api/pictures/{id}/thumbnail").raise_for_status()
                if number in (count // 10, count // 2, count):
                    rows["MiB after thumbnails of"][str(number)] = page.memory("VmRSS")
            rows["peak MiB"] = page.memory("VmHWM")
            rows["browser"] = in_browser(str(page.client.base_url))
    return rows


def in_browser(url: str) -> dict[str, float] | None:
    """Open the page in an installed Chromium and scroll through the list; None without one."""
    path = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if path is None:
        return None
    scrolling = """() => new Promise((resolve) => {
      const grid = document.getElementById("grid"), start = performance.now(), gaps = [];
      let last = start;
      const step = (now) => {
        gaps.push(now - last);
        last = now;
        grid.scrollTop += 120;
        if (now - start < 4000) requestAnimationFrame(step); else resolve([Math.max(...gaps), gaps.sort((a, b) => a - b)[gaps.length >> 1]]);
      };
      requestAnimationFrame(step);
    })"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        start = time.monotonic()
        page.goto(url)
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        opened = time.monotonic() - start
        longest, median = page.evaluate(scrolling)
        cells = page.locator("#grid .cell").count()
        browser.close()
    return {
        "opens in seconds": opened,
        "longest frame ms": longest,
        "median frame ms": median,
        "thumbnails in the page": cells,
    }


def summary(draws: Sequence[dict[str, Any]], pictures: int) -> dict[str, Any]:
    """The means over the draws, and what was to be met."""
    row: dict[str, Any] = {}
    for how in ("doubt", "random"):
        for when in ("before", "after"):
            for what in ("error", "static prior"):
                row[f"{how}, {when}, {what}"] = float(np.mean([draw[how][when][what] for draw in draws]))
    first = [draw[how]["seconds"]["first"] for draw in draws for how in ("doubt", "random")]
    shown = [draw[how]["seconds"]["progress"] for draw in draws for how in ("doubt", "random")]
    passes = pictures + MARKED  # the marked pictures' mirror images are learned from too
    ratios = [
        draw[how]["seconds"]["all"] / (draw["pass"] * passes) for draw in draws for how in ("doubt", "random")
    ]
    again = [
        draw[how]["seconds again"]["all"] / draw[how]["seconds"]["all"]
        for draw in draws
        for how in ("doubt", "random")
    ]
    row["all predictions / bare passes"] = float(np.median(ratios))
    row["second search / first"] = float(np.median(again))
    row[f"first prediction within {FIRST:.0f} s"] = "yes" if max(first) <= FIRST else "no"
    row[f"all predictions within {FIRST:.0f} s"] = (
        "yes" if max(d[h]["seconds"]["all"] for d in draws for h in ("doubt", "random")) <= FIRST else "no"
    )
    row[f"progress within {PROGRESS:.0f} s"] = "yes" if max(shown) <= PROGRESS else "no"
    return row


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--folder-of", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=RESULTS / "loop.json")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    settings = {
        "pictures": arguments.pictures,
        "marked": MARKED,
        "corrected": MARKED,
        "threads": arguments.threads,
    }
    record = environment(arguments.data, settings=settings, code=code_hash((*CODE, "web/*.py")))
    known = json.loads(arguments.json.read_text("utf-8")) if arguments.json.exists() else {}
    same = {key: known.get(key) for key in record} == json.loads(json.dumps(record))
    draws: list[dict[str, Any]] = known.get("draws", []) if same else []
    result = {**record, "draws": draws, "folder": known.get("folder") if same else None}
    train = load_dataset("cub", arguments.data).train
    for seed in range(arguments.draws):
        if all(draw["seed"] != seed for draw in draws):
            draws.append(loop(train, seed, arguments.pictures, arguments.threads))
            result["summary"] = summary(draws, arguments.pictures)
            write_json(arguments.json, result)
    result["summary"] = summary(draws, arguments.pictures)  # where all draws were there already, too
    if result["folder"] is None or result["folder"]["pictures"] != arguments.folder_of:
        result["folder"] = many(arguments.folder_of, arguments.threads)
        result["folder"][f"opens within {OPENS:.0f} s"] = (
            "yes" if result["folder"]["opens in seconds"] <= OPENS else "no"
        )
        write_json(arguments.json, result)
    for name, value in {**result["summary"], **result["folder"]}.items():
        print(f"{name}: {value}")
    return result


if __name__ == "__main__":
    main()
