"""The figures of docs/doubt.md, made from benchmarks/results/doubt.json."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

BEGIN, END = "<!-- doubt:begin -->", "<!-- doubt:end -->"
SHARES = ("1", "0.9", "0.8", "0.5")
#: Drawn by doubt.py beside its result.
PICTURES = [
    "",
    "![Reliability of the visibility scores](figures/doubt-reliability.png)",
    "",
    "![Error against the share of parts kept](figures/doubt-kept.png)",
]
NO_FIGURES = ["No figures yet: run `python benchmarks/doubt.py DATA`."]


def three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def interval(value: list[float] | None) -> str:
    return "" if value is None else f"[{three(value[0])}, {three(value[1])}]"


def block() -> list[str]:
    document = load("doubt")
    if document is None:
        return NO_FIGURES
    return [*_facts(document), *_tables(document), *_passes(document), *PICTURES]


def _facts(document: dict[str, Any]) -> list[str]:
    row, prior = document["rows"]
    error, base = row["error"]["diagonal"], prior["error"]["diagonal"]
    return [
        f"{document['data set']}: linear detector as fitted by default on {document['train']} training images, in the whole image; "
        f"{row['images']} test images. Its mean error is {three(error['mean'])} {interval(error['ci95'])} of the box's diagonal, that "
        f"of the static prior {three(base['mean'])} {interval(base['ci95'])}.",
        "",
    ]


def _tables(document: dict[str, Any]) -> list[str]:
    row, prior = document["rows"]
    auc, base, kept, box = row["visibility"], prior["visibility"], row["kept"], document["box"]
    ci = document["ci95"]
    parts = ", ".join(
        f"{name} {three(value)}" for name, value in sorted(auc["per_part"].items(), key=lambda item: item[1])
    )
    visible = [
        [
            f"AUC, mean of {auc['parts']} parts [95 %]",
            f"{three(auc['macro'])} {interval(ci['visibility, macro'])}",
            three(base["macro"]),
        ],
        ["AUC, pooled", three(auc["pooled"]), three(auc["pooled_base_rates"])],
        [
            "expected calibration error [95 %]",
            f"{three(row['reliability']['ece'])} {interval(ci['ece'])}",
            three(prior["reliability"]["ece"]),
        ],
        ["Brier score", three(row["reliability"]["brier"]), three(prior["reliability"]["brier"])],
    ]
    sides = row["exchanged_sides"]
    shares = [
        [f"{100 * float(s):.0f} %", three(kept["shares"][s]["error"]), three(kept["shares"][s]["oracle"])]
        for s in SHARES
    ]
    tenths = document["expected error"]["parts"]["tenths"]
    images = document["expected error"]["images"]
    overlap = [
        [name, three(values["mean_iou"]), *(f"{100 * share:.0f} %" for share in values["share"].values())]
        for name, values in (
            ("predicted", box["predicted"]),
            ("median of the training images", box["median of the training images"]),
        )
    ]
    return [
        *table(["visibility", "detector", "base rates"], visible),
        "",
        f"Per part: {parts}. Exchanged sides: both visible {100 * sides['both_visible']['share']:.1f} % of "
        f"{sides['both_visible']['total']}, one visible {100 * sides['one_visible']['share']:.1f} % of "
        f"{sides['one_visible']['total']}, together {100 * sides['together']['share']:.1f} %.",
        "",
        *table(["parts kept", "mean error", "best order"], shares),
        "",
        f"Area under the curve: {three(kept['area'])}; best order {three(kept['oracle_area'])}, no order "
        f"{three(kept['unordered'])}. Expected and actual mean error of the surest tenth of the parts: "
        f"{three(tenths[0]['expected'])} and {three(tenths[0]['actual'])}; of the most doubtful tenth: "
        f"{three(tenths[-1]['expected'])} and {three(tenths[-1]['actual'])}; of all: {three(kept['expected'])} and "
        f"{three(kept['unordered'])}. The tenth of the images with the largest doubt has a mean error of "
        f"{three(images['tenths'][-1]['actual'])}, the one with the smallest {three(images['tenths'][0]['actual'])} (rank correlation "
        f"{three(images['spearman'])}).",
        "",
        *table(["box", "mean overlap", "at least 0.5", "at least 0.75"], overlap),
        "",
        f"95 % interval of the predicted box's mean overlap: {interval(ci['mean_iou'])}; in training images that were left out it is "
        f"{three(box['predicted, training images left out'])}.",
    ]


def _passes(document: dict[str, Any]) -> list[str]:
    passes = document.get("two passes")
    if passes is None:
        return []
    rows = [[name, three(error)] for name, error in passes["error"].items()]
    return [
        "",
        f"A second look, by cross-validation on the {document['train']} training images ({passes['folds']} groups left out in turn):",
        "",
        *table(["what was looked at", "mean error"], rows),
    ]
