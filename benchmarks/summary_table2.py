"""The parts of README and docs that show Table 2, from the committed JSON; used by summary.py."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table
from summary_patches import patches_section

#: Result files, by the title that the page gives them; the README shows the first.
TABLES = {"table2_efficientnet_lite0": "Features of EfficientNet-Lite0"}
MAIN = next(iter(TABLES))
NORMALISED = {"l2": "each patch's features of length 1", "none": "not normalised"}
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
        f"images, all {settings['test images']} test images; {settings['features']['label']}, {NORMALISED[settings['features']['normalize']]}; linear {settings['classifier']}, "
        f"C by cross-validation over the training images. Detectors: {detectors}"
    )


def readme_rows() -> list[str]:
    document = load(MAIN)
    if not document:
        return []
    rows = [[row["name"], accuracy(row), published(row)] for row in document["rows"]]
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
        rows.append([row["name"], accuracy(row), macro, top5, c, published(row)])
    best = {item["comparison"] for item in document["comparisons"] if item["kind"] == "best control"}
    pairs = []
    said = set()
    for item in document["comparisons"]:
        if item["comparison"] in said:  # the best control stands there as a control as well
            continue
        said.add(item["comparison"])
        low, high = item["ci95"]
        mark = " (the best control)" if item["comparison"] in best else ""
        pairs.append(
            [
                f"{item['comparison']}{mark}",
                f"{100 * item['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
                f"{item['only_first']} / {item['only_second']}",
                f"{item['p']:.1g}",
            ]
        )
    # What each row's features are is said once where it is the same.
    usual = document["settings"]["features"]["label"]
    others = [
        f"{row['name']}: {row['features']}"
        for row in document["rows"]
        if row["features"] not in (None, usual)
    ]
    notes = [note for note in document["settings"]["notes"] if note.startswith("measured by an earlier")]
    return [
        f"## {title}",
        "",
        f"{where(document)}. Other features: {'; '.join(others)}.",
        *(f"{note[0].upper()}{note[1:]}." for note in notes),
        "",
        *table(["row", "accuracy [95 %]", "macro", "top 5", "C", "paper"], rows),
        "",
        "Differences in points, with a paired bootstrap interval over images; how many images only the first and only the second "
        "row has right; McNemar's exact test, two-sided:",
        "",
        *table(["comparison", "difference [95 %]", "only first / second", "p"], pairs),
        "",
    ]


REMARKS = """## Remarks

- The median part position is the strongest of the controls: birds stand in the middle of their photographs, and fifteen
  patches there show the bird. A detector has to be held against it, not against the whole image alone.
- C was chosen on training images for each row. Rows of an earlier version, named above, had no values above 10 over the
  features' spread to choose from; some took that one.
- With the SVM, scaling each patch's features to length 1 is better in both regions on training images (above), so that it is
  the default of the features and of the table now. The rows of the table say whether they were measured with it.
- λ is the paper's. On training images a smaller one is no worse for marked parts (above); among so many settings compared
  the differences are not clear enough to leave the paper's.
- A part of the gain over the whole image is resolution: seen at 320 instead of 160 pixels, the whole image alone is told
  much better (above). For patches, larger inputs than 160 pixels bring nothing. The controls, which have as many pixels as
  the rows with parts, are what a detector has to beat.
- How `channel` searches the box (as a crop) was not chosen by the accuracy of the classes.
- With the `channel` detector the gain over prior positions is not significant at 0.01; with `linear` it is, and its parts
  serve as well as marked ones. With the box known, `channel` does not help significantly over the box alone.
- `channel` and `linear` are fitted to 200 of the 750 training images, and find the parts of these better than those of new
  images; the classifier learns from both. `--cross-fit K` avoids it, and was not used for these rows.
- Part Transfer finds each training image as its own nearest neighbour, so that its classifier trains on marked parts and is
  used on transferred ones, as in the publication.
- The times in the JSON are those of two processes on a loaded machine.
"""


def page() -> str:
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
    lines += patches_section()
    return "\n".join([*lines, *REMARKS.splitlines()]).rstrip() + "\n"
