"""The documentation site's settings and hooks; `make docs` builds it strictly."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import partscope

pytest.importorskip("mkdocs", reason="the documentation site needs the extra docs")
yaml = pytest.importorskip("yaml", reason="the documentation site needs the extra docs")
pytest.importorskip("griffe", reason="the documentation site needs the extra docs")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import site_docstrings  # noqa: E402
import site_hooks  # noqa: E402

SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


def pages(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages(entry)


def test_the_navigation_has_every_page_once() -> None:
    named = list(pages(SETTINGS["nav"]))
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(named) == sorted(written | set(site_hooks.OUTSIDE))
    for page in named:
        assert site_hooks.origin(page).is_file(), f"{page} is in the navigation, and is not there"


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert SETTINGS["theme"]["font"] is False
    plugins = {
        name for entry in SETTINGS["plugins"] for name in ([entry] if isinstance(entry, str) else entry)
    }
    assert plugins == {"search", "autorefs", "mkdocstrings"}, "plugins such as social and privacy download"
    assert not {"extra_javascript", "extra_css", "repo_url"} & set(SETTINGS)


def test_make_docs_is_strict_and_not_quiet() -> None:
    """With `--quiet` mkdocs does not count warnings, and `--strict` lets dead links pass."""
    (command,) = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text("utf-8"))
    assert command.split() == ["mkdocs", "build", "--strict"]


def test_the_reference_shows_rooms_that_exist_and_every_public_name() -> None:
    shown = {
        name
        for path in (DOCS / "reference").glob("*.md")
        for name in re.findall(r"^::: partscope\.(\w+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    }
    source = ROOT / "src" / "partscope"
    assert shown
    for room in shown:
        assert (source / room).is_dir() or (source / f"{room}.py").is_file(), f"there is no room {room}"
    homes = {room: names for room, names in partscope._HOMES.items() if room != "allocator"}
    assert set(homes) <= shown, f"the reference lacks {set(homes) - shown}"


def test_links_lead_to_their_place_in_the_site() -> None:
    text = "[a](docs/page.md#keys) [b](LICENSE) [c](https://x.org/y) [d](#here) [e](nowhere.md)\n```\n[f](LICENSE)\n```\n"
    there, needed = site_hooks.relinked("index.md", text)
    assert there == (
        "[a](page.md#keys) [b](repository/LICENSE) [c](https://x.org/y) [d](#here) [e](nowhere.md)\n```\n[f](LICENSE)\n```\n"
    )
    assert needed == {"repository/LICENSE": ROOT / "LICENSE"}
    there, needed = site_hooks.relinked("reference/data.md", "[a](../../README.md) [b](../../benchmarks/)")
    assert there == "[a](../index.md) [b](../benchmarks.md)"
    assert not needed


def test_links_out_of_the_repository_are_left_to_mkdocs() -> None:
    assert site_hooks.relinked("index.md", "[a](../outside.md)") == ("[a](../outside.md)", {})


DOCSTRING = """Summary with :func:`~partscope.images.load_image`.

    More of it.

    Parameters
    ----------
    a, b: two
        lines.
    c: `(N, 2)`; note: a colon.

    Returns
    -------
    An array.

    Raises
    ------
    OptionError: never.
    """


def test_docstrings_become_markdown() -> None:
    link = '<autoref optional identifier="partscope.images.load_image"><code>load_image</code></autoref>'
    assert site_docstrings.markdown(DOCSTRING) == (
        f"Summary with {link}.\n\nMore of it.\n\n**Parameters**\n\n- `a, b`: two\n    lines.\n- `c`: `(N, 2)`; note: a colon.\n\n"
        "**Returns**\n\nAn array.\n\n**Raises**\n\n- `OptionError`: never."
    )
