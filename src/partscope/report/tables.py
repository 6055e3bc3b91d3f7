"""Tables of a report: evaluation rows to cells of text. A number that does not exist is a dash, never an empty cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from partscope.report.sections import PartTable, ResultTable, Row, Table

_REGIONS = {"image": "Full", "mask": "BB, mask", "crop": "BB, crop", "box": "BB"}
_CENTRES = {
    "mixture": "Mixture (GMM)",
    "maximum": "Maximum (MaxG)",
    "smoothed": "Smoothed maximum",
    "centroid": "Centroid",
}


def method_name(row: Row) -> str:
    """Return how a table calls an evaluation row: its `name`, else made from method, centre and region."""
    if row.get("name"):
        return str(row["name"])
    method, region = row.get("method"), row.get("region")
    where = _REGIONS.get(str(region), str(region)) if region else ""
    if method == "prior":
        return "Prior in the image" if region in (None, "image") else "Prior in the box"
    what = "Part Transfer" if method == "transfer" else str(method or "Predictions")
    if method == "linear":
        what = "linear" if row.get("centre") == "none" else "linear + arrangement"
    elif method == "discovered" and row.get("centre"):
        what = f"discovered {row['centre']}"
    elif row.get("centre"):
        what = _CENTRES.get(str(row["centre"]), str(row["centre"]))
    return f"{what}, {where}" if where else what


def result_table(section: ResultTable) -> Table:
    """Return Table 1: one line per evaluation row, the smallest mean error in bold."""
    means = [_at(row, "error", "diagonal", "mean") for row in section.rows]
    known = [value for value in means if _is_number(value)]
    best = [i for i, value in enumerate(means) if _is_number(value) and value == min(known)]
    headers = [
        "Method", "Network", "Norm. error", "95 % interval", "Macro", "Median", "PCK@0.1",
        "Prior, image", "Prior, box", "Skill", "Coverage", "Images",
    ]  # fmt: skip
    rows = []
    for row in section.rows:
        error = row.get("error", {}).get("diagonal", {})
        rows.append(
            [
                method_name(row),
                _network(row),
                number(error.get("mean")),
                interval(error.get("ci95")),
                number(error.get("macro")),
                number(error.get("median")),
                number(_at(row, "pck", "0.1")),
                number(_at(row, "prior", "image")),
                number(_at(row, "prior", "box")),
                _skill(row),
                percent(row.get("coverage")),
                text(row.get("images")),
            ]
        )
    return Table(section.title, headers, rows, section.caption, best)


def part_table(section: PartTable) -> Table:
    """Return one line per part of one evaluation row."""
    headers = [
        "Part", "Images", "Norm. error", "95 % interval", "Median", "PCK@0.1", "Prior, image", "Prior, box", "Skill", "Coverage",
    ]  # fmt: skip
    rows = [
        [
            str(name),
            text(part.get("images")),
            number(part.get("mean")),
            interval(part.get("ci95")),
            number(part.get("median")),
            number(_at(part, "pck", "0.1")),
            number(_at(part, "prior", "image")),
            number(_at(part, "prior", "box")),
            number(part.get("skill"), signed=True),
            percent(part.get("coverage")),
        ]
        for name, part in section.row.get("per_part", {}).items()
    ]
    return Table(section.title, headers, rows, section.caption or method_name(section.row))


def _skill(row: Row) -> str:
    """Return the skill with the prior that it is measured against: against the wrong one it would mean nothing."""
    against = row.get("skill_against")
    return number(row.get("skill"), signed=True) + (f" ({against})" if against else "")


def _network(row: Row) -> str:
    size = row.get("input_size")
    named = [row.get("backbone"), row.get("layer"), f"{size} px" if size else None]
    return ", ".join(str(value) for value in named if value) or "–"


def _at(row: Row, *keys: str) -> Any:
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def number(value: Any, signed: bool = False) -> str:
    """Return three decimals, or a dash where there is no number."""
    return (f"{value:+.3f}" if signed else f"{value:.3f}").replace("-", "−") if _is_number(value) else "–"


def interval(value: Any) -> str:
    """Return `low to high`, or a dash where there is no interval."""
    known = isinstance(value, Sequence) and len(value) == 2 and all(map(_is_number, value))
    return f"{value[0]:.3f} to {value[1]:.3f}" if known else "–"


def percent(value: Any) -> str:
    """Return a share as a percentage, or a dash where there is none."""
    return f"{100 * value:.1f} %" if _is_number(value) else "–"


def text(value: object) -> str:
    """Return a fact as text; lists are joined by commas, None is a dash."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value))
    return "–" if value is None else str(value)
