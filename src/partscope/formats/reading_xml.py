"""Reading XML without its dangers: no document type, so no entities, neither from outside nor multiplying themselves."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from partscope.errors import AnnotationError, DatasetError
from partscope.formats.reading import read_text

#: What XML 1.0 cannot hold, however it is written.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of a UTF-8 XML file.

    Raises
    ------
    AnnotationError: the file is missing, empty or no XML, or has a document type (`<!DOCTYPE`).
    """
    return parse_xml(read_text(path), path)


def parse_xml(text: str, what: object) -> ElementTree.Element:
    """Return the root of a document that is at hand as text; an AnnotationError, as of :func:`read_xml`, names `what`."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError(
            f"{what}: the file has a document type (<!DOCTYPE), which is refused; remove it."
        )
    try:
        # From text: what the file says of its encoding is not asked again.
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise AnnotationError(f"{what}: this is not valid XML ({error}); correct the file.") from error


def check_xml_text(*texts: str) -> None:
    """Raise a DatasetError for a text that XML cannot hold."""
    for text in texts:
        if _FORBIDDEN.search(text):
            raise DatasetError(f"the name {text!r} holds a control character, which XML cannot; rename it.")


def xml_text(root: ElementTree.Element) -> str:
    """Return an element as an indented document."""
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'
