"""The parts of README and docs that show Table 2, from the committed JSON; used by summary.py."""

from __future__ import annotations

from typing import Any

from markdown import load, table

#: Result files, by the title that the page gives them.
TABLES = {
    "table2_channel_efficientnet_lite0": "Features of EfficientNet-Lite0",
    "table2_linear_efficientnet_lite0": "The linear detector beside it, without the box",
}
#: The README shows the first, with the rows that the second has beyond it.
MAIN, BESIDE = TABLES
Row = dict[str, Any]


def accuracy(row: Row) -> str:
    if row["accuracy"] is None:
        return "omitted"
    low, high = row["accuracy"]["ci95"]
    return f"{100 * row['accuracy']['mean']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def published(row: Row) -> str:
    return "" if row["published"] is None else f"{100 * row['published']:.1f}"


def where(document: dict[str, Any]) -> str:
    settings = document["settings"]
    detectors = "; ".join(
        f"`{one['method']}` for the {'image' if one['rows'] == 'image' else 'box'} "
        f"({one['training images']} training images, error {one['error']:.3f} of the box's diagonal)"
        for one in settings["detectors"]
        if one["error"] is not None
    )
    return (
        f"{settings['data set']}: {settings['classes']} classes, {settings['training images']} training images and their mirror "
        f"images, all {settings['test images']} test images; {settings['features']['label']}; linear {settings['classifier']}, "
        f"C by cross-validation over the training images. Detectors: {detectors}"
    )


def readme_rows() -> list[str]:
    document = load(MAIN)
    if not document:
        return []
    beside = load(BESIDE) or {"rows": []}
    known = {row["name"] for row in document["rows"]}
    rows = []
    for row in document["rows"]:
        rows.append([row["name"], accuracy(row), published(row)])
        if row["name"] == "Full, channel":
            rows += [[one["name"], accuracy(one), ""] for one in beside["rows"] if one["name"] not in known]
    return [
        "Share of test images whose species is right, in per cent, 95 % interval over images. "
        f"{where(document)}. The paper's figures are on all 200 classes with other networks. Every comparison with its "
        "p-value: [docs/results-classification.md](docs/results-classification.md).",
        "",
        *table(["", "accuracy", "paper"], rows),
    ]


def section(name: str, title: str) -> list[str]:
    document = load(name)
    if not document:
        return []
    rows = []
    for row in document["rows"]:
        measured = row["accuracy"] is not None
        macro = f"{100 * row['accuracy']['macro']:.1f}" if measured else ""
        top5 = f"{100 * row['top5']:.1f}" if measured and row["top5"] is not None else ""
        c = f"{row['C']:g}" if row["C"] is not None else ""
        rows.append([row["name"], accuracy(row), macro, top5, c, row["features"] or "", published(row)])
    pairs = []
    for item in document["comparisons"]:
        low, high = item["ci95"]
        pairs.append(
            [
                item["comparison"],
                f"{100 * item['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
                f"{item['only_first']} / {item['only_second']}",
                f"{item['p']:.1g}",
            ]
        )
    return [
        f"## {title}",
        "",
        f"{where(document)}.",
        "",
        *table(["row", "accuracy [95 %]", "macro", "top 5", "C", "features", "paper"], rows),
        "",
        "Differences in points, with a paired bootstrap interval over images; how many images only the first and only the second "
        "row has right; McNemar's exact test, two-sided:",
        "",
        *table(["comparison", "difference [95 %]", "only first / second", "p"], pairs),
        "",
    ]


def page(remarks: str) -> str:
    lines = [
        "# Results: classification with parts (Table 2)",
        "",
        "Made by `python benchmarks/summary.py` from the JSON under `benchmarks/results`. “Full” rows know nothing of the box; “BB”",
        "rows are given it. The controls have as many patches of the same size as the rows with parts, at places that no detector",
        "has chosen. The paper's figures are on 200 classes with the networks and features of 2013 and 2014, so they are no target",
        "for 25 classes and another network; POOF and Symbiotic are not measured.",
        "",
    ]
    for name, title in TABLES.items():
        lines += section(name, title)
    return "\n".join([*lines, *remarks.splitlines()]).rstrip() + "\n"
