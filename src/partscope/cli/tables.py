"""Evaluation rows as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from partscope.cli.output import Output

Row = Mapping[str, Any]


def show_results(output: Output, rows: Sequence[Row], title: str = "") -> None:
    """Print one line per method: error with interval, the priors beside it, skill, PCK and coverage."""
    from partscope.report.tables import method_name, number, percent, text

    published = any(row.get("published") is not None for row in rows)
    headers = [
        "Method", "Error", "95 %\ninterval", "Prior,\nimage", "Prior,\nbox", "Skill", "PCK\n@0.1", "Coverage", "Images",
    ]  # fmt: skip
    cells = [
        [
            method_name(row),
            number(row["error"]["diagonal"]["mean"]),
            _interval(row["error"]["diagonal"]["ci95"]),
            number(row["prior"]["image"]),
            number(row["prior"]["box"]),
            number(row["skill"], signed=True),
            number(row["pck"]["0.1"]),
            percent(row["coverage"]),
            text(row["images"]),
            *([text(row.get("published"))] if published else []),
        ]
        for row in rows
    ]
    output.table([*headers, *(["Paper"] if published else [])], cells, title)


def show_parts(output: Output, row: Row, title: str = "") -> None:
    """Print one line per part of one evaluation row."""
    from partscope.report.tables import number, percent, text

    headers = [
        "Part",
        "Images",
        "Error",
        "95 % interval",
        "Prior,\nimage",
        "Prior,\nbox",
        "Skill",
        "Coverage",
    ]
    cells = [
        [
            name,
            text(part["images"]),
            number(part["mean"]),
            _interval(part["ci95"]),
            number(part["prior"]["image"]),
            number(part["prior"]["box"]),
            number(part["skill"], signed=True),
            percent(part["coverage"]),
        ]
        for name, part in row["per_part"].items()
    ]
    output.table(headers, cells, title)


def show_confidence(output: Output, row: Row) -> None:
    """Print what a row says about confidence: sides, visibility, error of the parts kept, and the predicted box."""
    from partscope.evaluation.confidence import SHOWN_SHARES
    from partscope.report.tables import number, percent

    sides = row["exchanged_sides"]
    if sides["together"]["total"]:
        output.line(
            "Exchanged sides: "
            + ", ".join(
                f"{what} {percent(sides[key]['share'])} of {sides[key]['total']}"
                for key, what in (
                    ("both_visible", "both visible"),
                    ("one_visible", "one visible"),
                    ("together", "together"),
                )
            )
        )
    auc, bins = row["visibility"], row["reliability"]
    output.line(
        f"Visibility, AUC: {number(auc['macro'])} (mean of {auc['parts']} parts), {number(auc['pooled'])} pooled, "
        f"{number(auc['pooled_base_rates'])} pooled by the parts' base rates; calibration error {number(bins['ece'])}, "
        f"Brier score {number(bins['brier'])}"
    )
    kept = row["kept"]
    if kept is not None:
        shares = kept["shares"]
        output.line(
            "Error of the surest parts (of the best order): "
            + ", ".join(
                f"{share:.0%} {number(shares[f'{share:g}']['error'])} ({number(shares[f'{share:g}']['oracle'])})"
                for share in SHOWN_SHARES
            )
            + f"; expected error {number(kept['expected'])}"
        )
    box = row["box"]
    if box is not None:
        output.line(
            f"Predicted box: mean overlap {number(box['mean_iou'])}, "
            + ", ".join(f"{percent(value)} at least {least}" for least, value in box["share"].items())
        )
    output.line("")


def show_comparisons(output: Output, comparisons: Sequence[Row]) -> None:
    """Print paired differences with their intervals; positive means that the first named method is better."""
    from partscope.report.tables import number

    if comparisons:
        output.table(
            ["Comparison", "Difference", "95 % interval"],
            [
                [str(one["comparison"]), number(one["difference"], signed=True), _interval(one["ci95"])]
                for one in comparisons
            ],
            "Paired differences of the error; positive: the first is better",
        )


def _interval(bounds: Sequence[float | None]) -> str:
    """Return the two ends of an interval; shorter than the report's form, for a terminal has few columns."""
    from partscope.report.tables import number

    return "–" if None in bounds else "…".join(number(value) for value in bounds)


def show_notes(output: Output, notes: Sequence[str]) -> None:
    """Print remarks, each on a line of its own."""
    for note in dict.fromkeys(notes):
        output.line(f"note: {note}")


def skipped_rows(items: Sequence[Any]) -> list[dict[str, str]]:
    """Return items that were left out as JSON-ready rows."""
    return [{"id": item.id, "reason": item.reason} for item in items]
