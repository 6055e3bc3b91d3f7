"""`partscope demo`: Table 1, overlays and a report in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partscope.cli import options
from partscope.cli.output import Output
from partscope.cli.tables import show_comparisons, show_results


def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FOLDER",
            help="A folder in CUB's layout instead of drawn birds.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for the report, the table and the overlays.")
    ] = Path("demo-output"),
    json_out: options.JsonOut = None,
) -> None:
    """Measure a small Table 1 with the default network, and write overlays and an HTML report.

    On drawn birds, which need no download, or on a folder in the layout of CUB-200-2011.
    """
    from partscope.demo import DemoSettings, run_demo

    output = Output(json_out)
    settings = DemoSettings()
    output.line(settings.sentence())
    output.line()
    table = run_demo(data, out, settings=settings, progress=True)
    document = table.document()
    output.document({**document, "demo": settings.sentence()})
    show_results(
        output,
        document["rows"],
        f"Table 1 on {'drawn birds' if data is None else table.test.name}: {table.backbone.name} {table.backbone.layer} at "
        f"{table.backbone.input_size} px; error divided by the box's diagonal",
    )
    show_comparisons(output, document["comparisons"])
    output.line(
        f"report: {out / 'report.html'}    table: {out / 'table1.json'}    overlays: {out / 'overlays'}"
    )
