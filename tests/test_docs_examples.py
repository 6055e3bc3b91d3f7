"""The examples of the README, the tutorial and the how-to's run as they stand, on drawn birds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from documented import Example, examples
from partscope.synthetic import write_synthetic_birds

ROOT = Path(__file__).parents[1]
QUICK = ("docs/own-network.md",)
SLOW = (
    "README.md",
    "docs/tutorial.md",
    "docs/python.md",
    "docs/judge.md",
    "docs/few-images.md",
    "docs/hand-over.md",
)


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples take for granted: CUB_200_2011, a folder of photos, and robin.jpg; all of them small drawn birds."""
    folder = tmp_path_factory.mktemp("examples")
    birds = write_synthetic_birds(folder / "CUB_200_2011", images=12, classes=2, random_state=0, size=160)
    (folder / "photos").mkdir()
    for number, sample in enumerate(birds.test[:2], start=1):
        shutil.copy(sample.image, folder / "photos" / f"{number}.jpg")
    shutil.copy(birds.test[2].image, folder / "robin.jpg")
    return folder


@pytest.mark.parametrize("page", [*QUICK, *(pytest.param(page, marks=pytest.mark.slow) for page in SLOW)])
@pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")  # of very few images
def test_examples_run(page: str, drawn_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("matplotlib", "pandas", "captum"):
        pytest.importorskip(needed, reason="the examples use the extras plot, formats and captum")
    shutil.copytree(drawn_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    found = [example for example in examples(ROOT / page) if example.not_run is None]
    assert found, f"{page} has no example that is run"
    names: dict[str, Any] = {}
    for example in found:
        example.run(names)


def test_every_page_with_a_promise_is_run() -> None:
    """The README, the tutorial and the page of Python are among the pages that are run."""
    assert {"README.md", "docs/tutorial.md", "docs/python.md"} <= {*QUICK, *SLOW}


TEXT = """
```bash
partscope synth birds --images 4 \\
    --classes 2     # a comment
```
<!-- not run: waits -->
```bash
partscope serve
```
```console
$ partscope backbones
printed
```
```
not code
```
```python
value = 1
raise RuntimeError
```
"""


def test_blocks_are_found_with_their_lines_and_marks() -> None:
    bash, waits, console, python = examples(Path("page.md"), TEXT)
    assert bash.commands() == [["partscope", "synth", "birds", "--images", "4", "--classes", "2"]]
    assert (bash.line, bash.not_run, waits.not_run) == (2, None, "waits")
    assert console.commands() == [["partscope", "backbones"]]
    names: dict[str, Any] = {}
    with pytest.raises(RuntimeError) as failure:
        python.run(names)
    assert names["value"] == 1
    assert failure.traceback[-1].lineno + 1 == TEXT.splitlines().index("raise RuntimeError") + 1


def test_an_example_that_fails_or_cannot_be_run_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"page\.md:3: `partscope evaluate none none` ended with 2"):
        Example("page.md", 3, "bash", "partscope evaluate none none", None).run({})
    with pytest.raises(AssertionError, match=r"page\.md:3: rm cannot be run here"):
        Example("page.md", 3, "bash", "rm -r folder", None).run({})
