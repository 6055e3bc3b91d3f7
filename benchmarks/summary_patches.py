"""The section of docs/results-classification.md on the patches' settings, from the committed JSON; used by summary_table2.py."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

Row = dict[str, Any]


def patches_section() -> list[str]:
    document = load("patches")
    if not document:
        return []
    gains = {
        tuple(one["first"]): one
        for one in document.get("comparisons", [])
        if one["first"][0] == one["second"][0]
    }
    bases = {tuple(one["second"]) for one in gains.values()}
    rows = []
    for row in sorted(document["rows"], key=lambda row: row["group"]):
        key = (row["group"], row["name"])
        low, high = row["ci95"]
        beside = "base" if key in bases else ""
        if key in gains:
            one = gains[key]
            least, most = one["ci95"]
            beside = (
                f"{100 * one['difference']:+.1f} [{100 * least:+.1f}, {100 * most:+.1f}], p {one['p']:.1g}"
            )
        rows.append([*key, f"{100 * row['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]", beside])
    across = [
        f"{' '.join(one['first'])} over {' '.join(one['second'])}: {100 * one['difference']:+.1f} points "
        f"[{100 * one['ci95'][0]:+.1f}, {100 * one['ci95'][1]:+.1f}], McNemar's p {one['p']:.1g}"
        for one in document.get("comparisons", [])
        if one["first"][0] != one["second"][0]
    ]
    return [
        "## Settings of the patches",
        "",
        f"Chosen on training images: {document['images']} of {document['data set']}, drawn by class; held-out accuracy in five "
        "folds without mirror images, C chosen among the same images (benchmarks/choose_patches.py). One thing at a time is "
        "changed from a base: λ of the paper, 160 px, features not normalised, SVM. “Moved by s”: marked parts with a random error whose mean is the share s of the "
        "box's diagonal, in place of a detector with that error. In the last column, the difference to the base "
        "on the same images.",
        "",
        "![Held-out accuracy against the patches' size and number](figures/accuracy-patches.png)",
        "",
        *table(["what", "setting", "held-out accuracy [95 %]", "less the base"], rows),
        "",
        *(f"- {line}." for line in across),
        "",
    ]
