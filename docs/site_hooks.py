"""What mkdocs does beyond its settings: pages that stand outside docs/, and links to files of the repository.

The README, the changelog and the pages for contributors are read where they are, so that they exist once. A page may link to
a script or to a result, as one does on a code host; such files are served beside the pages, under `repository/`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
#: Pages outside docs/, by their place in the site.
OUTSIDE = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
    "label-studio-backend.md": "examples/label_studio_backend/README.md",
}
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def origin(page: str) -> Path:
    """Return the file in the repository that a page of the site is made from."""
    return ROOT / OUTSIDE[page] if page in OUTSIDE else ROOT / "docs" / page


def place(target: Path) -> str | None:
    """Return where a file of the repository stands in the site, or None where it is not in the repository."""
    target = target.resolve()
    if not target.is_file() or not target.is_relative_to(ROOT):
        return None
    name = target.relative_to(ROOT).as_posix()
    pages = {file: page for page, file in OUTSIDE.items()}
    if name in pages:
        return pages[name]
    in_docs = name.startswith("docs/") and not name.endswith(".py")
    return name.removeprefix("docs/") if in_docs else f"repository/{name}"


def relinked(page: str, text: str) -> tuple[str, dict[str, Path]]:
    """Return a page's Markdown with its links as they are in the site, and the files of the repository that they need.

    A link that leads nowhere is left as it is, and mkdocs says so.
    """
    needed: dict[str, Path] = {}
    folder = origin(page).parent

    def link(match: re.Match[str]) -> str:
        target = folder / match[2]
        if target.is_dir() and (target / "README.md").is_file():
            target /= "README.md"
        there = place(target)
        if there is None:
            return match[0]
        if there.startswith("repository/"):
            needed[there] = target.resolve()
        return match[1] + posixpath.relpath(there, posixpath.dirname(page) or ".") + match[3]

    pieces, end = [], 0
    for block in _CODE.finditer(text):
        pieces += [_LINK.sub(link, text[end : block.start()]), block[0]]
        end = block.end()
    pieces.append(_LINK.sub(link, text[end:]))
    return "".join(pieces), needed


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/, and the files that pages link to."""
    for page, name in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for file in list(files.documentation_pages()):
        _, needed = relinked(file.src_uri, origin(file.src_uri).read_text("utf-8"))
        for there, path in needed.items():
            if files.get_file_from_path(there) is None:
                files.append(File.generated(config, there, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links within the site."""
    return relinked(page.file.src_uri, markdown)[0]
