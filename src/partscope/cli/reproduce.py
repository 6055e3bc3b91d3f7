"""`partscope reproduce table1`: the paper's Table 1, or the ablation, on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.exits import go_on, list_failures, resumable
from partscope.cli.output import Output
from partscope.cli.tables import show_comparisons, show_notes, show_results


def table1(
    data: options.Data,
    format: options.Format = "auto",
    images: options.Images = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            metavar="NAMES",
            help="Rows beside the priors and Part Transfer, separated by commas: channel, channel+arrangement, activation, linear.",
        ),
    ] = "channel,linear",
    backbone: options.Backbone = None,
    layer: options.Layer = None,
    input_size: options.InputSize = None,
    weights: options.Weights = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="Training images drawn, stratified by class.")
    ] = 200,
    seed: options.Seed = 0,
    search: options.Search = None,
    shortlist: options.Shortlist = None,
    ablation: Annotated[
        bool,
        typer.Option(
            "--ablation", help="Selection rule, normalisation, colours, cut and centre instead of the table."
        ),
    ] = False,
    folder: options.Folder = None,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
) -> None:
    """Measure Table 1 of the paper: priors, Part Transfer, MaxG and mixture, each without and with the box.

    Beside them stands the linear detector, alone and with the arrangement of the parts.

    All images of the split test are used. A run that is stopped is continued by the same command.
    """
    from partscope.backbones import DEFAULT_BACKBONE, get_backbone
    from partscope.report.environment import environment_facts
    from partscope.reproduce import measure_table1

    options.check_on_error(on_error)
    options.check_search(search, shortlist)
    output = Output(json_out)
    network = get_backbone(backbone or DEFAULT_BACKBONE, layer=layer, input_size=input_size, weights=weights)
    dataset = options.load(format, data, images, on_error)
    what = "ablation" if ablation else "table1"
    name = network.name.replace(":", "-").replace("/", "-")
    place = folder or Path(f"partscope-{what}-{name}-{search or 'shortlist'}")
    chosen: dict[str, Any] = {} if shortlist is None else {"shortlist": shortlist}
    # By its name, so that the linear detector's own settings for the network hold.
    linear: dict[str, Any] = {"backbone": network.name, "input_size": input_size, "weights": weights}
    with resumable(lambda: _hint(place)):
        table = measure_table1(
            dataset,
            network,
            methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
            limit=limit,
            random_state=seed,
            search=search or "shortlist",
            ablation=ablation,
            linear=linear,
            folder=place,
            on_error=on_error,
            progress=True,
            **chosen,
        )
        document = table.document()
        failed = {
            item.id: item
            for items in (
                dataset.skipped,
                *((*one.skipped, *one.failures) for one in table.evaluations.values()),
            )
            for item in items
        }
        output.document(
            {
                **document,
                "failures": [{"id": item.id, "reason": item.reason} for item in failed.values()],
                "versions": environment_facts(),
            }
        )
    show_results(
        output,
        document["rows"],
        f"{'Ablation' if ablation else 'Table 1'} on {dataset.name}: {network.name} {network.layer} at "
        f"{network.input_size} px, {len(table.train)} training images, {table.settings['search']}; error divided by the box's "
        "diagonal",
    )
    show_comparisons(output, document["comparisons"])
    show_notes(output, [note for row in document["rows"] for note in row["notes"]])
    list_failures(failed.values(), len(dataset) + len(dataset.skipped), "items")
    output.line(f"finished work is kept in {place}; remove it when you no longer need it")


def _hint(folder: Path) -> str:
    return go_on(folder, any(folder.rglob("block-*")) or any(folder.rglob("*.partscope")))
