"""The sections that a report is made of: plain data, nothing about HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from PIL import Image

from partscope.dataset import Skipped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row: TypeAlias = Mapping[str, Any]
PictureLike: TypeAlias = Union["Figure", Image.Image, bytes, str, Path]


@dataclass(frozen=True)
class Facts:
    """What was run: names and values, such as :func:`environment_facts`, the data set, the seed, the settings."""

    title: str
    facts: Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """Any table: column headers, and rows whose first cell is the row's header; `best` rows are set in bold."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    best: Sequence[int] = ()


@dataclass(frozen=True)
class ResultTable:
    """Table 1 in the paper's form from evaluation rows: each method's error and interval with the priors beside it.

    A row's `name`, where it has one, stands for the name made from its method, centre and region.
    """

    title: str
    rows: Sequence[Row]
    caption: str = ""


@dataclass(frozen=True)
class PartTable:
    """The error of each part, with the priors beside it, from the `per_part` of one evaluation row."""

    title: str
    row: Row
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; `alt` says what it shows to those who cannot see it.

    `image` is a matplotlib figure, a PIL image, the bytes of a PNG or JPEG file, or the path of any image file.
    """

    title: str
    image: PictureLike
    caption: str
    alt: str


@dataclass(frozen=True)
class Gallery:
    """Several pictures side by side, for instance overlays."""

    title: str
    pictures: Sequence[Picture]
    caption: str = ""


@dataclass(frozen=True)
class Notes:
    """Remarks, or the items that were skipped with their reasons."""

    title: str
    items: Sequence[str | Skipped]


Section: TypeAlias = Facts | Table | ResultTable | PartTable | Picture | Gallery | Notes
