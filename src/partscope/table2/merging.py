"""Two measurements of Table 2 as one: rows measured again take the place of the old ones, the others stay."""

from __future__ import annotations

from typing import Any

import numpy as np

from partscope.errors import OptionError
from partscope.table2.result import compare_rows
from partscope.table2.rows import omitted_rows, plan_rows

Document = dict[str, Any]

#: Begins the note that names the rows that do not say which images they have right.
EARLIER = "measured by an earlier version, whose values of C ended at 10 over the features' spread: "

#: Settings that two tables must share.
SHARED = (
    "data set",
    "training images",
    "test images",
    "classes",
    "features",
    "flips",
    "classifier",
    "C",
    "random_state",
)


def merged_document(new: Document, old: Document) -> Document:
    """Return the rows of both documents, of rows in both the new one's, with all comparisons.

    Rows are compared by the images that they have right (`right`). Where a kept row does not say so, as in results of earlier
    versions, its comparisons with other kept rows stay, those with new rows are missing, and a note names the row.

    Parameters
    ----------
    new, old: from :meth:`Table2.document`.

    Raises
    ------
    OptionError: they differ in what all rows of a table share.
    """
    ours, theirs = new["settings"], old["settings"]
    for name in SHARED:
        _same(name, ours.get(name), theirs.get(name))
    if "data" in theirs:
        _same("data", ours["data"], theirs["data"])
    scales = {**theirs["scales"], **ours["scales"]}
    for region in ours["scales"].keys() & theirs["scales"].keys():
        _same(f"the scale of {region}", ours["scales"][region], theirs["scales"][region])
    measured = {row["name"] for row in new["rows"] if row["status"] == "measured"}
    rows = {
        row["name"]: row for document in (old, new) for row in document["rows"] if row["status"] == "measured"
    }
    searching = [
        (row["detector"], row["region"])
        for row in rows.values()
        if row["part_source"] == "estimated" and row["detector"] not in (None, "transfer")
    ]
    plans = [plan for plan in plan_rows(searching, list(scales)) if plan.name in rows]
    correct = {
        name: np.array(list(row["right"])) == "1"
        for name, row in rows.items()
        if row.get("right") is not None
    }
    silent = [plan.name for plan in plans if plan.name not in correct]
    kept = [
        one
        for one in old["comparisons"]
        if not {one["first"], one["second"]} & measured and {one["first"], one["second"]} & set(silent)
    ]
    notes = list(dict.fromkeys([*theirs["notes"], *ours["notes"]]))
    notes = [note for note in notes if not note.startswith(EARLIER)]
    if silent:
        notes.append(EARLIER + ("all rows" if len(silent) == len(plans) else "; ".join(silent)))
    detectors = {
        (one["method"], one["rows"]): one for settings in (theirs, ours) for one in settings["detectors"]
    }
    return {
        "rows": [*(rows[plan.name] for plan in plans), *omitted_rows()],
        "comparisons": [*compare_rows([p for p in plans if p.name in correct], correct), *kept],
        "settings": {**ours, "scales": scales, "detectors": list(detectors.values()), "notes": notes},
    }


def _same(name: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise OptionError(
            f"the two tables differ in {name} ({ours!r} and {theirs!r}); measure all rows again."
        )
