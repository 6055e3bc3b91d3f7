"""Sections to one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from partscope import __version__
from partscope.atomic import atomic_write
from partscope.dataset import Skipped
from partscope.errors import MissingExtraError, OptionError
from partscope.report.pictures import embedded
from partscope.report.sections import Facts, Gallery, PartTable, Picture, ResultTable, Section, Table
from partscope.report.tables import part_table, result_table, text


def write_report(path: str | Path, *, title: str, sections: Sequence[Section], lead: str = "") -> Path:
    """Write one self-contained HTML file, at once; return its path.

    Parameters
    ----------
    path: of the file; its folder must exist.
    title: of the page.
    sections: in the order shown.
    lead: one paragraph below the title.

    Raises
    ------
    MissingExtraError: jinja2 (or matplotlib, for figures) is not installed.
    OptionError: a picture without alt text or of an unknown kind, a table whose rows do not fit its headers.
    ImageError: a picture's file cannot be read.
    PartscopeError: the file cannot be written; what stood there before is unchanged.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtraError("jinja2", "plot", "Writing a report") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("partscope.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [_content(section) for section in sections]
    page = environment.get_template("report.html").render(
        title=title, lead=lead, sections=shown, version=__version__
    )
    # A file name that is not valid Unicode must not cost the whole report.
    atomic_write(path, page.encode("utf-8", "replace"))
    return Path(path)


@dataclass(frozen=True)
class _Content:
    """A section as the template shows it."""

    kind: str
    title: str
    caption: str = ""
    facts: Sequence[tuple[str, str]] = ()
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    best: Sequence[int] = ()
    pictures: Sequence[Mapping[str, str]] = ()
    items: Sequence[str] = ()


def _content(section: Section) -> _Content:
    if isinstance(section, Facts):
        return _Content("facts", section.title, facts=[(k, text(v)) for k, v in section.facts.items()])
    if isinstance(section, ResultTable):
        section = result_table(section)
    elif isinstance(section, PartTable):
        section = part_table(section)
    if isinstance(section, Table):
        for row in section.rows:
            if len(row) != len(section.headers):
                raise OptionError(
                    f"table {section.title!r} has {len(section.headers)} headers, but a row of {len(row)} cells: {list(row)}."
                )
        return _Content(
            "table",
            section.title,
            section.caption,
            headers=section.headers,
            rows=section.rows,
            best=section.best,
        )
    if isinstance(section, Picture):
        return _Content("figure", section.title, pictures=[embedded(section)])
    if isinstance(section, Gallery):
        return _Content(
            "gallery",
            section.title,
            section.caption,
            pictures=[embedded(picture) for picture in section.pictures],
        )
    lines = [
        f"{item.id}: {item.reason}" if isinstance(item, Skipped) else str(item) for item in section.items
    ]
    return _Content("notes", section.title, items=lines)
