"""The page on the linear detector, from the committed JSON of `linear`, `few_shots`, `peers` and `unseen_classes`; used by
summary.py.
"""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

Row = dict[str, Any]

#: Figures that others have published, for orientation: other data, splits and protocols, so no row of ours stands beside them.
PUBLISHED = (
    (
        "Simon, Rodner, Denzler 2014 (the paper; Table 1)",
        "mean distance over the box diagonal, 200 classes, one channel per part",
        "0.17 without the box, 0.16 with it",
    ),
    (
        "Zhang et al. 2023, *Telling Left from Right* (arXiv:2311.17034, abstract)",
        "SPair-71k, 18 categories, birds among them; keypoints of one image searched in another; PCK@0.10, in per cent",
        "85.6 supervised, 65.4 without training",
    ),
)


def interval(value: float, ci: list[float]) -> str:
    return f"{value:.3f} [{ci[0]:.3f}, {ci[1]:.3f}]"


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def accuracy_rows() -> list[str]:
    """The table of the rows of `linear`; nothing without its JSON."""
    document = load("linear")
    if not document or not document.get("rows"):
        return []
    rows = []
    for row in document["rows"]:
        name = {"none": "linear", "exemplars": "linear + arrangement"}.get(row.get("arrangement"), "prior")
        where = "image" if row["region"] == "image" else "box"
        error = row["error"]["diagonal"]
        sides = row["exchanged_sides"]["together"]["share"]
        auc = (row["visibility"] or {}).get("macro") if name != "prior" else None
        rows.append(
            [
                f"{name}, {where}",
                interval(error["mean"], error["ci95"]),
                f"{error['median']:.3f}",
                f"{row['pck']['0.1']:.3f}",
                f"{row['per_part'].get('tail', {}).get('mean', float('nan')):.3f}",
                percent(sides),
                "" if auc is None else f"{auc:.3f}",
            ]
        )
    heads = ["row", "error [95 %]", "median", "PCK@0.1", "tail", "sides exchanged, %", "visibility AUC"]
    return table(heads, rows)


def readme_block() -> list[str]:
    """The default detector's figures for the README; nothing without its JSON."""
    document = load("linear")
    rows = accuracy_rows()
    if not document or not rows:
        return []
    return [
        f"The default, `linear`: mean distance over the box diagonal; {document['data set']}, {document['train']} training images, "
        f"{document['test']} test images; EfficientNet-Lite0. The best row of the paper's Table 1 is 0.16, on all 200 classes with "
        "another network. More, from 3 marked images on: [docs/results-linear.md](docs/results-linear.md).",
        "",
        *rows,
    ]


def accuracy_section() -> list[str]:
    document, rows = load("linear"), accuracy_rows()
    if not document or not rows:
        return []
    return [
        "## Accuracy",
        "",
        f"{document['data set']}; {document['train']} training images, {document['test']} test images.",
        "",
        *rows,
        "",
    ]


def few_shots_section() -> list[str]:
    document = load("few_shots")
    if not document or not document["rows"]:
        return []
    sizes = sorted({row["images"] for row in document["rows"]})
    rows = []
    for method in dict.fromkeys(row["method"] for row in document["rows"]):
        mine = {row["images"]: row for row in document["rows"] if row["method"] == method}
        cells = []
        for size in sizes:
            row = mine.get(size)
            spread = row and row["standard deviation over draws"]
            cells.append("" if not row else f"{row['error']:.3f}" + (f" ± {spread:.3f}" if spread else ""))
        rows.append([method, *cells])
    tested = ", ".join(
        f"{method} {count}"
        for method, count in dict.fromkeys((row["method"], row["test images"]) for row in document["rows"])
    )
    return [
        "## Few marked images",
        "",
        f"{document['data set']}; whole image, no box; mean error, ± standard deviation over {len(document['seeds'])} nested "
        f"draws; the last column is all training images. Test images: {tested}. `channel` chooses among candidates that all "
        "training images have suggested, which flatters it where few are marked.",
        "",
        "![Error against the number of marked images](figures/few-shots.png)",
        "",
        *table(["", *map(str, sizes)], rows),
        "",
    ]


def peers_section() -> list[str]:
    document = load("peers")
    if not document or not document["rows"]:
        return []
    lines = [
        "## Other ways to use the same features",
        "",
        f"{document['data set']}; {document['test']} test images; the same network, layers and training images, whole image, no "
        "box (but for Part Transfer). The last column is the paired difference: positive where the linear detector with the "
        "arrangement is better. What each row is stands in benchmarks/neighbours.py and benchmarks/heatmap_head.py.",
        "",
    ]
    for images in dict.fromkeys(row["training images"] for row in document["rows"]):
        rows = []
        for row in document["rows"]:
            if row["training images"] != images:
                continue
            gap = row.get("linear + spatial is better by")
            rows.append(
                [
                    row["method"],
                    interval(row["error"], row["ci95"]),
                    f"{row['median']:.3f}",
                    f"{row['pck']['0.1']:.3f}",
                    percent(row["exchanged sides"]),
                    ""
                    if gap is None
                    else f"{gap['mean']:+.3f} [{gap['ci95'][0]:+.3f}, {gap['ci95'][1]:+.3f}]",
                ]
            )
        lines += [f"### {images} training images", ""]
        header = [
            "",
            "error [95 %]",
            "median",
            "PCK@0.1",
            "sides exchanged, %",
            "linear + spatial is better by",
        ]
        lines += [*table(header, rows), ""]
    lines += [
        "Published figures, for orientation only; data, splits and protocols differ:",
        "",
        *table(["source", "protocol", "figure"], [list(entry) for entry in PUBLISHED]),
        "",
    ]
    return lines


def unseen_section() -> list[str]:
    document = load("unseen_classes")
    if not document or not document["rows"]:
        return []
    rows = []
    for row in document["rows"]:
        cells = [
            interval(row[f"{kind} left out"]["error"], row[f"{kind} left out"]["ci95"])
            for kind in ("images", "classes")
        ]
        rows.append(
            [
                row["arrangement"],
                *cells,
                interval(row["ratio"], row["ci95 over images"]),
                interval(row["ratio"], row["ci95 over classes"]),
            ]
        )
    header = [
        "arrangement",
        "images left out",
        "classes left out",
        "ratio [95 % over images]",
        "[95 % over classes]",
    ]
    return [
        "## Classes that were never seen",
        "",
        f"{document['data set']}; {document['train']} training images in {document['groups']} groups, each located by a detector "
        "that did not see its group: groups of images of all classes, or of whole classes. The prior of all training images: "
        f"{document['prior, of all training images']:.3f}.",
        "",
        *table(header, rows),
        "",
    ]


def costs_section() -> list[str]:
    # Measured apart, on an idle machine: `linear.py DATA --skip accuracy --json benchmarks/results/linear_costs.json`.
    document = load("linear_costs") or load("linear")
    if not document or not document.get("costs"):
        return []
    lines = []
    for arrangement, cost in document["costs"].items():
        rows = []
        for name, value in cost.items():
            if " / " in name:
                rows.append([name, f"{value['median']:.2f}", f"{value['min']:.2f}–{value['max']:.2f}"])
        lines += [
            f"### Arrangement: {arrangement}",
            "",
            f"fit: {cost['images']['fit']} images, {cost['views per image, fit']:g} view(s) each; predict: "
            f"{cost['images']['predict']} images, {cost['views per image, predict']:g} view(s) each; input "
            f"{cost['input size']} px, batches of {cost['batch size, fit']} and {cost['batch size, predict']}; load "
            f"{cost['load']}.",
            "",
            *table(["", "median", "range"], rows),
            "",
        ]
    return [
        "## Costs",
        "",
        "Ratios of times measured in turn in one run on one thread. A pass is one view of each image through the whole network; "
        "fit and predict include reading the images, fit all that it learns.",
        "",
        *lines,
    ]


def settings_section() -> list[str]:
    """What the defaults were chosen from, on training images alone."""
    lines: list[str] = []
    document = load("settings_linear")
    if document and document["rows"]:
        rows = []
        for row in document["rows"]:
            options = row["options"]
            layers = " + ".join(
                f"{name}{'°' if name in options['context'] else ''}" for name in options["layers"]
            )
            rows.append(
                [
                    layers,
                    f"{options['reach']:g}",
                    str(options["input_size"]),
                    str(options.get("flips", "auto")),
                    *(
                        interval(row[kind]["mean"], row[kind]["ci95"])
                        for kind in ("prior", "none", "exemplars")
                    ),
                    percent(row["exemplars"]["exchanged sides"]),
                ]
            )
        heads = [
            "layers",
            "reach",
            "input",
            "flips",
            "prior",
            "alone",
            "with the arrangement",
            "sides exchanged, %",
        ]
        lines += [
            "## Settings",
            "",
            f"{document['images']} training images, {document['deciding']} of {document['folds']} folds measured; the first row is "
            "the default. Layers marked ° are also looked at around each cell, at the distance `reach`. With so few images only large "
            "differences show.",
            "",
            *table(heads, rows),
            "",
        ]
    document = load("settings_consensus")
    if document and document["rows"]:
        rows = [
            [
                f"{row['own weight']:g}",
                f"{row['fine spread']:g}",
                interval(row["mean"], row["ci95"]),
                f"{row['per part'].get('tail', float('nan')):.3f}",
                percent(row["exchanged sides"]),
            ]
            for row in document["rows"]
        ]
        heads = [
            "weight of the own evidence",
            "deviation from an exemplar",
            "error [95 %]",
            "tail",
            "sides exchanged, %",
        ]
        lines += [
            "## Two constants of the consensus",
            "",
            f"{document['images']} training images, each left out; error of the static prior on the same images, which has seen "
            f"them: {document['prior']:.3f}. The refinement sees all rows but the image's own.",
            "",
            *table(heads, rows),
            "",
        ]
    return lines


def page() -> str:
    """The page, or nothing where no result is there."""
    sections = accuracy_section() + few_shots_section() + peers_section() + unseen_section() + costs_section()
    sections += settings_section()
    if not sections:
        return ""
    head = [
        "# Results: the linear detector",
        "",
        "Made by `python benchmarks/summary.py` from the JSON under `benchmarks/results`. Errors are distances over the diagonal of",
        "the ground-truth box, lower is better; intervals are 95 % bootstrap intervals over test images.",
        "",
    ]
    return "\n".join([*head, *sections]).rstrip() + "\n"
