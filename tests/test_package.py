"""The package as it is shipped: version, typing marker, public names, extras, links and words."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import partscope

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Written in two halves, so that this file does not hold what it forbids.
FORBIDDEN = ("/wor" + "k/", "../shar" + "ed")
DEVELOPERS_EXTRAS = {"test", "browser", "lint", "bench", "docs", "dev"}


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def extras() -> dict[str, set[str]]:
    """Return the requirements of each extra of pyproject.toml, with `partscope[...]` resolved."""
    table: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]

    def resolved(name: str) -> set[str]:
        found: set[str] = set()
        for line in table[name]:
            inner = re.fullmatch(r"partscope\[([\w,-]+)\]", line)
            found |= set().union(*map(resolved, inner[1].split(","))) if inner else {line}
        return found

    return {name: resolved(name) for name in table}


def test_version_is_the_installed_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", partscope.__version__)
    assert importlib.metadata.version("partscope") == partscope.__version__


def test_typing_marker_and_public_names() -> None:
    assert (Path(partscope.__file__).parent / "py.typed").is_file()
    names = partscope.__all__
    assert sorted(set(names)) == sorted(names)
    missing = [name for name in names if not hasattr(partscope, name)]
    assert not missing, f"__all__ promises what does not exist: {missing}"
    assert set(names) <= set(dir(partscope)), "dir(partscope) must show the public names"
    undocumented = [
        name for name in names if not name.startswith("__") and not getattr(partscope, name).__doc__
    ]
    assert not undocumented, f"public names without a docstring: {undocumented}"


def test_extras_hold_each_other() -> None:
    found = extras()
    for_users = {name: needs for name, needs in found.items() if name not in DEVELOPERS_EXTRAS | {"all"}}
    assert for_users
    for name, needs in for_users.items():
        assert needs, f"the extra {name} is empty"
        assert needs <= found["all"], f"`all` lacks {needs - found['all']} of {name}"
    for name, needs in found.items():
        assert needs <= found["dev"], f"`dev` lacks {needs - found['dev']} of {name}"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_local_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page_name(page)} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ +(.+)$", file.read_text("utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page_name(page)} links to {target}; {file.name} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_examples_import_what_exists(page: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    for node in (node for example in examples for node in ast.walk(ast.parse(example))):
        if isinstance(node, ast.ImportFrom) and node.module == "partscope":
            missing = {alias.name for alias in node.names} - set(partscope.__all__)
            assert not missing, f"{page_name(page)} imports {sorted(missing)}, which partscope does not offer"


def test_tracked_files_name_no_private_place() -> None:
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if name == ".ci/run" or not path.is_file():
            continue
        content = path.read_bytes()
        found = [word for word in FORBIDDEN if word.encode() in content]
        assert not found, f"{name} holds {found}"


def test_licence_files_stand_in_the_checkout() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert "partscope" in (ROOT / "NOTICE").read_text("utf-8")
    assert importlib.metadata.metadata("partscope")["License-Expression"] == "Apache-2.0"
