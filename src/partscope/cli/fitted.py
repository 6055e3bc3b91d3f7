"""What `partscope fit` shows of a fitted detector, and the same as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from partscope.cli.output import Output
from partscope.cli.tables import skipped_rows
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.dataset import PartDataset
    from partscope.detectors import PartDetector
    from partscope.search import Search


def selected_channels(detector: PartDetector) -> list[dict[str, Any]]:
    """Return the selected channel of each part: `part, channel, cost, images, missing`; None where there is none."""
    ranking = getattr(detector, "ranking_", None)
    if ranking is None:
        return []
    rows = []
    for part, images in zip(ranking.parts, ranking.images.tolist(), strict=True):
        best = ranking.top(part, 1)
        one = best[0] if best else {"channel": None, "cost": None, "missing": None}
        rows.append(
            {"part": part, **{key: one[key] for key in ("channel", "cost", "missing")}, "images": images}
        )
    return rows


def strongest_channels_of(detector: PartDetector, count: int = 3) -> list[dict[str, Any]]:
    """Return the channels that each part of a linear detector rests on: `part, strongest`; nothing of another method."""
    from partscope.detectors import LinearDetector
    from partscope.explanation import strongest_channels

    if not isinstance(detector, LinearDetector):
        return []
    return [
        {
            "part": part,
            "strongest": [
                {"layer": one.layer, "channel": one.channel, "strength": one.strength}
                for one in strongest_channels(detector, part, count)
            ],
        }
        for part in detector.parts_
    ]


def shared_channels_of(detector: PartDetector) -> dict[int, tuple[str, ...]]:
    from partscope.selection import shared_channels

    ranking = getattr(detector, "ranking_", None)
    groups = {} if ranking is None else shared_channels(ranking)
    return {channel: parts for channel, parts in groups.items() if len(parts) > 1}


def searched(search: Search) -> str:
    """Return one sentence about what a search that drops channels saved, and at what risk."""
    text = (
        f"{search.method} search: {search.maps:,} of {search.exhaustive_maps:,} gradient maps and {search.forwards:,} "
        f"forward passes, {search.saved:.1%} of the maps saved; told the answer, at most {search.ceiling:.1%} could be; "
        f"{search.silent / max(1, search.exhaustive_maps):.0%} of them were known to be empty from the forward pass"
    )
    if search.delta is None:
        return f"{text}; the best {search.top} of each part are exact."
    return (
        f"{text}; risk δ = {search.delta:g} that a part's best channel is lost, {search.compared:,} comparisons of a "
        f"channel with a part's best, at up to {search.looks} looks."
    )


def show_fitted(output: Output, detector: PartDetector, drawn: PartDataset, out: Path) -> None:
    from partscope.report.tables import number, percent, text

    info = detector._info()
    network = (
        f", {info['backbone']} {info['layer']} at {info['input_size']} px, {info['centre']}"
        if info["backbone"]
        else ""
    )
    where = f", region {info['region']}" if info["region"] else ""
    output.line(
        f"{shown(out)}: method {info['method']}{network}{where}; {len(detector.train_ids_)} images of {drawn.name}"
    )
    output.line()
    rows = selected_channels(detector)
    strongest = strongest_channels_of(detector)
    if strongest:
        output.table(
            ["Part", "Strongest channels"],
            [
                [
                    row["part"],
                    ", ".join(
                        f"{one['layer']} {one['channel']} ({one['strength']:+.2f})"
                        for one in row["strongest"]
                    )
                    or "no training image shows it",
                ]
                for row in strongest
            ],
        )
    elif rows:
        cells = [
            [
                row["part"],
                text(row["channel"]),
                "–" if row["cost"] is None else f"{row['cost']:.4g}",
                text(row["images"]),
                text(row["missing"]),
            ]
            for row in rows
        ]
        output.table(["Part", "Channel", "Cost", "Images", "Missing"], cells)
        for channel, parts in shared_channels_of(detector).items():
            output.line(f"channel {channel} is shared by {', '.join(parts)}")
        compared = len(detector.ranking_.channels)
        output.line(
            f"{compared} channels compared; cost: {detector.rule} distance by {detector.normalise}; missing: images in "
            "which the channel has no centre."
        )
        search = getattr(detector, "search_", None)
        if search is not None:
            output.line(searched(search))
    else:
        prior = detector.prior_
        output.table(
            ["Part", "Visible", "x", "y"],
            [
                [part, percent(rate), number(x), number(y)]
                for part, rate, (x, y) in zip(
                    prior.parts, prior.visibility.tolist(), prior.image.tolist(), strict=True
                )
            ],
            "Median positions, relative to the image",
        )


def _search_counts(detector: PartDetector) -> dict[str, Any] | None:
    search = getattr(detector, "search_", None)
    return None if search is None else search.as_dict()


def fitted_document(
    detector: PartDetector,
    drawn: PartDataset,
    out: Path,
    notes: list[str],
    limit: int | None,
    seed: int,
    split: str,
) -> dict[str, Any]:
    from partscope.report.environment import environment_facts

    return {
        "model": out,
        **detector._info(),
        "images": len(detector.train_ids_),
        "data": {"name": drawn.name, "split": split, "limit": limit, "seed": seed},
        "channels": selected_channels(detector) or strongest_channels_of(detector),
        "shared": shared_channels_of(detector),
        "search": _search_counts(detector),
        "train_ids": detector.train_ids_,
        "skipped": skipped_rows((*drawn.skipped, *detector.skipped_)),
        "settings": detector.get_params(deep=False),
        "cut": getattr(getattr(detector, "spec_", None), "quantile", None),
        "notes": notes,
        "versions": environment_facts(),
    }
