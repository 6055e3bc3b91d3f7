"""The comparison of spatial models in docs/arrangement.md, from the committed JSON of `choose_arrangement`; used by summary.py."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"

Row = dict[str, Any]

#: The model that is partscope's.
KEPT = "consensus of exemplars"


def block() -> list[str]:
    """Return the lines between the marks: the table, and what follows from it."""
    document = load("arrangement_models")
    if not document or len(document["rows"]) < 3:
        return ["Not measured yet: `python benchmarks/choose_arrangement.py DATA`."]
    rows = []
    for row in document["rows"]:
        gap = row["difference to the best"]
        low, high = row["interval"]
        cost = document.get("costs", {}).get("ratio", {}).get(row["model"].removesuffix(", refined"))
        rows.append(
            [
                f"{row['model']}",
                f"{row['mean']:.4f} [{low:.4f}, {high:.4f}]",
                f"{row['median']:.4f}",
                f"{gap['difference']:+.4f} [{gap['interval'][0]:+.4f}, {gap['interval'][1]:+.4f}]",
                *(
                    "" if share is None else f"{100 * share:.1f}"
                    for share in (
                        row["exchanged sides"],
                        row["both visible"]["share"],
                        row["one visible"]["share"],
                    )
                ),
                f"{row['per part']['tail']:.3f}" if "tail" in row["per part"] else "",
                f"{cost['median']:.2f}" if cost and ", refined" not in row["model"] else "",
            ]
        )
    header = ["model", "error [95 %]", "median", "difference to the best [95 %]"]
    header += ["sides exchanged, %", "both visible", "one visible", "tail", "time"]
    return [
        f"{document['data set']}: {document['images']} training images, {document['folds']} folds of images, held-out evidence at "
        f"{document['input_size']} pixels. Error: distance over the box diagonal. Time: over that of the evidence, the forward pass "
        "included, on one thread.",
        "",
        *table(header, rows),
        "",
        *_settings(document),
        "",
        *_verdict(document),
    ]


def _settings(document: Row) -> list[str]:
    parts = []
    for family, means in document["settings"].items():
        if isinstance(means, dict):
            tried = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
            parts.append(f"{family}: {tried}")
    if not parts:
        return []
    return [
        f"Of each family the setting with the smallest error in {document['settings']['images']} images of one fold, before the "
        f"refinement, was compared: {'; '.join(parts)}."
    ]


def _verdict(document: Row) -> list[str]:
    """Say in words how the model that was kept compares with the best of the others."""
    refined = {row["model"]: row for row in document["rows"] if row["model"].endswith(", refined")}
    kept = refined.pop(f"{KEPT}, refined", None)
    others = [row for name, row in refined.items() if not name.startswith("each part alone")]
    if kept is None or not others:
        return []
    rival = min(others, key=lambda row: row["mean"])
    name = rival["model"].removesuffix(", refined")
    ahead = kept["mean"] < rival["mean"]
    gap = (rival if ahead else kept)["difference to the best"]
    low, high = gap["interval"]
    clear = low > 0 or high < 0
    side = "below" if ahead else "above"
    verdict = (
        f"The {KEPT} was kept. With the refinement its error is {kept['mean']:.4f}, {side} the {rival['mean']:.4f} of the best of the "
        f"others ({name})"
    )
    best = document["best"]
    if (kept if ahead else rival)["model"] == best:
        verdict += f"; the interval of the difference, [{low:+.4f}, {high:+.4f}], " + (
            "does not hold 0." if clear else "holds 0."
        )
    else:
        verdict += "."
    costs = document.get("costs", {}).get("ratio", {})
    if KEPT in costs and name in costs:
        verdict += f" It takes {costs[KEPT]['median']:.2f} of the time of the evidence, {name} {costs[name]['median']:.2f}."
    return [verdict]
