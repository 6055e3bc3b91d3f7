"""The part of docs/discovery.md that shows how good discovered parts are, from the committed JSON; used by summary.py."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

#: Row titles, by what the result file calls them, `{}` for the number of parts.
BEFORE = {
    "chance": "test, chance, {} parts",
    "k-means on the keypoints' place in the box": "test, k-means on position, {} parts",
    "single channels, boxes": "test, box, channels, {} parts",
    "single channels, nothing given": "test, none, channels, {} parts",
    "combinations, boxes": "test, box, combinations, {} parts",
    "combinations, nothing given": "test, none, combinations, {} parts",
}
NAMED = {
    "boxes": "test, box, combinations, 8 parts, named",
    "nothing given": "test, none, combinations, 8 parts, named",
}
PRIORS = "test, static prior of the marked images"
MARKED = (5, 10, 20)
Rows = dict[str, dict[str, Any]]


def percent(row: dict[str, Any] | None, key: str) -> str:
    if row is None or key not in row:
        return ""
    low, high = row[f"{key} ci95"]
    return f"{100 * row[key]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def regression(row: dict[str, Any] | None) -> str:
    if row is None or "regression" not in row:
        return ""
    low, high = row["regression ci95"]
    return f"{row['regression']:.1f} [{low:.1f}, {high:.1f}]"


def error(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    low, high = row["ci95"]
    return f"{row['error']:.3f} [{low:.3f}, {high:.3f}]"


def before(rows: Rows) -> list[str]:
    """NMI, ARI and the regression protocol's error, by number of parts."""
    lines = []
    for title, name in BEFORE.items():
        for count in (4, 8, 16):
            row = rows.get(name.format(count))
            if row is not None:
                lines.append([title, str(count), percent(row, "nmi"), percent(row, "ari"), regression(row)])
    return table(["", "parts", "NMI", "ARI", "regression"], lines)


def after(rows: Rows) -> list[str]:
    """Errors of named parts, by number of marked images."""
    lines = []
    priors = rows.get(PRIORS, {})
    for frame in ("image", "box"):
        cells = [error(priors.get(f"{number} marked, prior in the {frame}")) for number in MARKED]
        lines.append([f"static prior in the {frame}", *cells])
    for title, name in NAMED.items():
        row = rows.get(name)
        if row is not None:
            for kind, suffix in (("", ""), (", places alone", ", places alone")):
                cells = [error(row.get(f"{number} marked{suffix}")) for number in MARKED]
                lines.append([f"8 parts discovered, {title}{kind}", *cells])
    return table(["", *(f"{number} marked images" for number in MARKED)], lines)


def block() -> list[str]:
    """Return the lines between the page's markers."""
    document = load("discovery")
    if not document:
        return []
    rows: Rows = document["rows"]
    constant = rows["test, constant"]
    return [
        f"{document['data set']}: discovered in {document['images']} training images, measured on all {document['test']} test "
        f"images; {document['backbone']}, {' + '.join(document['layers'])} at {document['input_size']} px; 95 % intervals over "
        "images (benchmarks/discovery.py). Settings were compared on other training images.",
        "",
        "**Before naming.** NMI and ARI, in per cent: each visible keypoint of the test images is labelled with the discovered part "
        "whose evidence is strongest there; how well do these labels go with the true names? Regression: error of the linear "
        "map from the discovered centres to the marked parts, fitted on the training images, per-axis norm of the box, ×100; "
        f"from no centre at all, a constant place in the box, it is {regression(constant)}.",
        "",
        *before(rows),
        "",
        "**After naming.** Mean distance over the box's diagonal, without the box, from a few marked images (five draws each); "
        "“places alone” is the ridge regression without the evidence of the named parts.",
        "",
        *after(rows),
    ]
