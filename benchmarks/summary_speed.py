"""The tables of docs/speed.md from the committed JSON: all ratios, the model of costs, growth, and the plan for many images."""

from __future__ import annotations

from typing import Any

from markdown_tables import load, table

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
PLAN_BEGIN, PLAN_END = "<!-- plan:begin -->", "<!-- plan:end -->"
VISITED_BEGIN, VISITED_END = "<!-- visited:begin -->", "<!-- visited:end -->"
SEARCH_BEGIN, SEARCH_END = "<!-- search:begin -->", "<!-- search:end -->"

#: The plan's assumptions: images, what a file takes, and forward passes that a processor core runs in a second.
IMAGES, FILE_BYTES, PASSES = 10**8, 100_000, 10
MARKED = 1000
PER_TASK = 10**5


def block() -> list[str]:
    """All ratios, and how a scan grows."""
    return [*_ratios(), *_peak(), *_growth(), *_steps(), *_memory()]


def _ratios() -> list[str]:
    document = load("bench")
    if not document:
        return []
    asked = [row for row in document["rows"] if row["must"] is not None]
    rows = []
    for row in asked:
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
        span = "–" if not row.get("range") else f"{row['range'][0]:.2f} to {row['range'][1]:.2f}"
        rows.append([row["name"], ratio, span, str(row["must"]), "yes" if row["met"] else "no"])
    met = sum(row["met"] for row in asked)
    return [
        f"{met} of {len(asked)} limits are kept ({document['machine']['processor']}, {document['machine']['cores']} cores):",
        "",
        *table(["", "ratio", "range", "limit", "kept"], rows),
        "",
    ]


def _peak() -> list[str]:
    document = load("gradient_maps")
    if not document or "fastest" not in document:
        return []
    rows = []
    for one in document["fastest"]:
        library = one["library"]
        rows.append([
            library["name"].partition(":")[0] if library["name"].count(":") == 1 else library["name"].rpartition(":")[0],
            library["way"],
            f"{library['ratio']:.2f} ({library['range'][0]:.2f}–{library['range'][1]:.2f})",
            f"{one['public']['ratio']:.2f} ({one['public']['way']})",
            f"{library['share of peak']:.2f}",
            f"{library['at the peak']:.2f}",
        ])  # fmt: skip
    return [
        "Gradient maps: the fastest library's time over ours, where only what it needs for a gradient is run after one forward pass; the "
        "same through a library's public interface; the share of the processor's peak that ours uses; and what the first ratio would "
        "be at the peak, where only arithmetic counts:",
        "",
        *table(
            [
                "network",
                "fastest library",
                "over ours",
                "public interface",
                "ours, share of peak",
                "at the peak",
            ],
            rows,
        ),
        "",
    ]


def _growth() -> list[str]:
    document = load("growth")
    if not document:
        return []
    rows = [
        [
            one["axis"],
            ", ".join(map(str, one["values"])),
            ", ".join(f"{value:.2f}" for value in one["time over the first"]),
            f"{one['line']['R²']:.3f}",
            f"{one['line']['at zero, share of the last']:.0%}",
        ]
        for one in document["time"]
    ]
    model = ", ".join(f"{value:.2f}" for value in document["model"])
    return [
        f"Time of a scan of gradient maps with the mixture ({document['network']}, drawn birds, {_numba(document)}), over that at the smallest value; a line "
        "through it, for the input size over its square; and how much of the longest time the line leaves at zero:",
        "",
        *table(["axis", "values", "time", "R² of the line", "at zero"], rows),
        "",
        f"The model below, from single steps, gives {model} for the channels.",
        "",
    ]


def _steps() -> list[str]:
    document = load("growth")
    if not document:
        return []
    names = ["open and warp", "what is done once", "a channel's gradient", "a channel's centre"]
    rows = [[str(one["input size"]), *(f"{one[name]:.3f}" for name in names)] for one in document["steps"]]
    return [
        f"Steps of an image in bare forward passes ({document['network']}, layer `{document['steps'][0]['layer']}`, {_numba(document)}):",
        "",
        *table(["input size", *names], rows),
        "",
    ]


def _numba(document: dict[str, Any]) -> str:
    there = document["versions"].get("numba")
    return f"with Numba {there}" if there else "without Numba"


def _memory() -> list[str]:
    document = load("growth")
    if not document:
        return []
    rows = [
        [
            one["axis"],
            " and ".join(map(str, one["values"])),
            " and ".join(map(str, one["MiB"])),
            f"{one['ratio']:.2f}",
        ]
        for one in document["memory"]
    ]
    return [
        "Largest resident set of a process that scans, in MiB, at two values of each axis:",
        "",
        *table(["axis", "values", "MiB", "ratio"], rows),
        "",
    ]


def plan() -> list[str]:
    """Core hours of every step for `IMAGES` pictures, by the measured costs."""
    growth = load("growth")
    if not growth:
        return []
    costs = growth["steps"][0]
    each = costs["a channel's gradient"] + costs["a channel's centre"]
    start = costs["open and warp"] + costs["what is done once"]
    channels = costs["channels of the layer"]
    bare = 1 + costs["open and warp"]

    def hours(passes: float) -> str:
        value = passes / PASSES / 3600
        return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"

    located = load("locate_cost")
    rows = [
        ["discover: gradients of all channels", f"{MARKED:,}", f"{start + channels * each:,.1f}"],
        ["discover: activations of all channels", f"{MARKED:,}", f"{bare:.2f}"],
    ]
    for row in (load("search") or {}).get("rows", []):
        if "racing" in row["name"] and "with Numba" in row["name"] and row.get("must") is not None:
            name = row["name"].partition(",")[0]
            rows.append([
                f"discover: racing, at {name}'s ratio of {row['ratio']:.1f}",
                f"{MARKED:,}",
                f"{(start + channels * each) / row['ratio']:,.1f}",
            ])  # fmt: skip
    rows.append(["locate: gradients of 15 channels", f"{IMAGES:,}", f"{start + 15 * each:,.1f}"])
    for row in (located or {}).get("rows", []):
        name = row["name"].removeprefix("locate / bare forward pass: ")
        rows.append([f"locate: {name}", f"{IMAGES:,}", f"{bare * row['ratio']:.2f}"])
    rows = [
        [name, count, passes, hours(float(count.replace(",", "")) * float(passes.replace(",", "")))]
        for name, count, passes in rows
    ]
    table_bytes = growth["bytes of located parts per image"]
    return [
        *table(
            ["step", "images", "forward passes an image", f"core hours at {PASSES} passes a second"], rows
        ),
        "",
        f"- *Reading*: {IMAGES * FILE_BYTES / 1e12:.0f} TB of pictures at {FILE_BYTES // 1000} kB. A core that runs {PASSES} passes a second "
        f"reads {PASSES / bare * FILE_BYTES / 1e6:.1f} MB/s; a thousand of them {PASSES / bare * FILE_BYTES * 1000 / 1e9:.1f} GB/s, which is what the "
        "storage must give.",
        f"- *Writing*: {table_bytes:.0f} bytes an image for the table of 15 parts, {IMAGES * table_bytes / 1e9:.0f} GB in all; compressed a fraction.",
        f"- *Gradient maps are not kept*: two numbers a channel and image are, {8 * channels * MARKED / 1e6:.0f} MB for all channels of {MARKED:,} images. "
        f"Maps of the same would take {4 * channels * MARKED * costs['input size'] ** 2 / 1e9:,.0f} GB.",
        f"- *Tasks*: {IMAGES // PER_TASK:,} folders of {PER_TASK:,} images; a task lists its own folder alone, and holds about "
        f"{PER_TASK * table_bytes / 1e6:.0f} MB of results.",
    ]


def visited_block() -> list[str]:
    """The table of docs/gradients.md: how many multiplications are needed."""
    document = load("visited")
    if not document:
        return []
    rows = [
        [
            row["network"],
            f"`{row['layer']}`",
            str(row["input size"]),
            f"{row['multiplications per channel'] / 1e6:,.0f} million",
            f"{row['share needed']['mean']:.0%} ({row['share needed']['range'][0]:.0%}–{row['share needed']['range'][1]:.0%})",
        ]
        for row in document["rows"]
    ]
    pictures = document["rows"][0]["pictures"]
    return [
        *table(["network", "layer", "input size", "multiplications per channel", "needed"], rows),
        "",
        f"Convolutions between all channels, mean and range over {pictures} pictures, {document['data set']} (`benchmarks/visited.py`). Random "
        "weights are there to compare with; trained ones may differ.",
    ]


def search_block() -> list[str]:
    """The table of docs/search.md."""
    document = load("search")
    if not document:
        return []
    lines: list[str] = []
    for name, one in document["backbones"].items():
        lines += [
            f"{name} at {one['backbone']['preprocessing']['input_size']} px, {one['channels']} channels, {len(one['draws'])} draws of "
            f"{one['images per draw']} from {one['pool']} training images of {document['data set']}; a visit of an image costs "
            f"{one['cost']['without Numba']['visit, many']:.1f} maps, or {one['cost']['with Numba']['visit, many']:.1f} of the cheaper ones with Numba; "
            f"{one['silent']:.0%} of the cells are silent:",
            "",
        ]
        rows = []
        for method in [name for name, found in one["draws"][0].items() if isinstance(found, dict)]:
            draws = [draw[method] for draw in one["draws"]]
            rows.append([
                method,
                f"{sum(draw['same'] for draw in draws)} of {len(draws)}",
                _over([draw["times fewer maps"] for draw in draws]),
                *(_over([draw["times less cost"][how] for draw in draws]) for how in ("without Numba", "with Numba")),
                _over([draw["share of ceiling"] for draw in draws]),
            ])  # fmt: skip
        ceilings = [1 / (1 - draw["ceiling"]) for draw in one["draws"]]
        lines += [
            *table(
                [
                    "search",
                    "same winners",
                    "times fewer maps",
                    "times less cost",
                    "with Numba",
                    "saving / ceiling",
                ],
                rows,
            ),
            "",
            f"A search that is told the answer needs {_mean(ceilings):.1f} times fewer maps ({min(ceilings):.1f}–{max(ceilings):.1f}).",
            "",
        ]
    return lines


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _over(values: list[float]) -> str:
    return f"{_mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"
