"""The tables of docs/forward-only.md from the committed JSON."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

BEGIN, END = "<!-- forward-only:begin -->", "<!-- forward-only:end -->"


def block() -> list[str]:
    return [*_layers(), *_cells(), *_test(), *_cost()]


def _error(row: dict[str, Any]) -> str:
    return f"{row['error']:.3f} [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]"


def _layers() -> list[str]:
    document = load("forward_only")
    if not document:
        return []
    kinds = list(document["layers"][0]["all images"])
    rows = [
        [
            row["network"],
            f"`{row['layer']}`",
            *(_error(row["all images"][kind]) for kind in kinds),
            f"{row['all images'][kinds[0]]['prior']:.3f}",
        ]
        for row in document["layers"]
    ]
    lines = [
        f"Selected on {document['train']} training images, measured on {document['held']} other training images of "
        f"{document['data set']} (benchmarks/forward_only.py):",
        "",
        *table(["network", "layer", *(f"{kind} [95 %]" for kind in kinds), "static prior"], rows),
        "",
    ]
    beside = [row for row in document["layers"] if "same images" in row]
    if beside:
        few = document["same images"]
        pairs = ["activations, centroid", "activations, mixture", "gradients, mixture"]
        rows = [
            [
                row["network"],
                f"`{row['layer']}`",
                *(_error(row["same images"][kind]) for kind in pairs),
                f"{row['same images'][pairs[0]]['prior']:.3f}",
                f"{row['cost in forward passes']['activations, selected']['median']:.2f}",
                f"{row['cost in forward passes']['gradients, selected']['median']:.1f}",
                f"{row['cost in forward passes']['activations, all']['median']:.2f}",
                f"{row['cost in forward passes']['gradients, all (from 32)']:.0f}",
            ]
            for row in beside
        ]
        lines += [
            f"Beside gradients, both from {few['train']} training images and on {few['held']} others; gradients of a shortlist "
            "of 2 channels per part. Costs of one image in bare forward passes to the layer: the selected channels, and all.",
            "",
            *table(
                [
                    "network",
                    "layer",
                    *(f"{kind} [95 %]" for kind in pairs),
                    "static prior",
                    "activations, selected",
                    "gradients, selected",
                    "activations, all",
                    "gradients, all",
                ],
                rows,
            ),
            "",
        ]
    return lines


def _cells() -> list[str]:
    document = load("forward_only")
    if not document or not document["cells"]:
        return []
    rows = [
        [
            row["network"],
            row["cells"],
            f"{row['start']:g} + {row['step']:.4g}·i",
            f"{row['mirrored: mean shift in input pixels']:+.1f}",
            f"{row['mirrored: median distance']:.1f}",
            _error(row),
        ]
        for row in document["cells"]
    ]
    header = [
        "network",
        "cells lie",
        "centre of cell i",
        "mean shift, px",
        "median distance, px",
        "held-out error [95 %]",
    ]
    return [
        "Where cells lie: how far a centre in a mirror image is from the mirrored centre, in pixels of the input, and the error on "
        f"held-out training images ({document['same images']['held']} images select, as many others are measured on).",
        "",
        *table(header, rows),
        "",
    ]


def _test() -> list[str]:
    document = load("forward_only")
    if not document or not document["test"]:
        return []
    rows = []
    for row in document["test"]:
        diagonal = row["error"]["diagonal"]
        (low, high), mean = diagonal["ci95"], diagonal["mean"]
        prior = row["prior"]["image"]
        rows.append(
            [
                row["network"],
                f"`{row['layer']}`",
                f"{mean:.3f} [{low:.3f}, {high:.3f}]",
                f"{prior:.3f}",
                f"{row['skill']:+.2f}",
            ]
        )
    return [
        f"The test split, Full, {document['test images']} images:",
        "",
        *table(["network", "layer", "activation centroid [95 %]", "static prior", "skill"], rows),
        "",
    ]


def _cost() -> list[str]:
    document = load("locate_cost")
    if not document:
        return []
    rows = [
        [
            row["name"].removeprefix("locate / bare forward pass: "),
            f"{row['ratio']:.2f} ({row['range'][0]:.2f}–{row['range'][1]:.2f})",
            f"{row['must']:g}",
            "yes" if row["met"] else "no",
        ]
        for row in document["rows"]
    ]
    return [
        "Locating 15 parts over one bare forward pass to the same layer, both from JPEG files "
        f"(benchmarks/locate_cost.py; {document['images']} images, median and range of {document['repeats']} repeats):",
        "",
        *table(["detector", "ratio", "must", "met"], rows),
        "",
    ]
