"""The demo: the paper's Table 1, figures and overlays in a few minutes on two cores, on drawn birds or on real photographs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partscope.atomic import atomic_write
from partscope.backbones import DEFAULT_BACKBONE, get_backbone
from partscope.dataset import PartDataset
from partscope.errors import OptionError
from partscope.formats import load_dataset
from partscope.illustrate import evidence_of, overlays_of, pictures_of
from partscope.report import Facts, Notes, PartTable, ResultTable, environment_facts, write_report
from partscope.reproduce import Table1, measure_table1
from partscope.synthetic import write_synthetic_birds


@dataclass(frozen=True)
class DemoSettings:
    """How large a demo is; the defaults take at most three minutes on two idle cores.

    Parameters
    ----------
    train, test: images of each split. classes: of the drawn birds. input_size: of the network's input, smaller than the
        network's own. shortlist: channels compared per part. random_state: of the drawing and of the draw of images. methods: rows, `"channel"`
        and what else :func:`partscope.reproduce.measure_table1` can measure.
    """

    train: int = 40
    test: int = 40
    classes: int = 8
    input_size: int = 224
    shortlist: int = 2
    random_state: int = 0
    methods: tuple[str, ...] = ("channel", "linear")

    def sentence(self) -> str:
        """Say what is smaller than in a full run."""
        return (
            f"To stay quick, the demo uses {self.train} training and {self.test} test images, an input of "
            f"{self.input_size}×{self.input_size} pixels, and compares the {self.shortlist} channels per part that a "
            "forward pass ranks best; `partscope reproduce table1` measures in full."
        )


def run_demo(
    data: str | Path | None = None,
    out: str | Path = "demo-output",
    *,
    settings: DemoSettings | None = None,
    progress: bool = True,
) -> Table1:
    """Fit and evaluate on drawn birds, or on a CUB-200-2011 folder, and write the report.

    Parameters
    ----------
    data: a folder in the CUB layout; None draws birds into `out/birds`.
    out: folder for `report.html`, `table1.json` and `overlays/`; made if it is not there.
    settings: how large the demo is.
    progress: show bars on standard error.

    Returns
    -------
    The measured table; `table1.json` holds its document.

    Raises
    ------
    OptionError: `out` is a file. Others as :func:`partscope.reproduce.measure_table1`.
    """
    chosen = settings or DemoSettings()
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"{folder}: this is a file; give a folder for the demo's output.")
    folder.mkdir(parents=True, exist_ok=True)
    dataset = _drawn(folder / "birds", chosen) if data is None else load_dataset("cub", data)
    seed = chosen.random_state
    subset = _subset(dataset, chosen)
    backbone = get_backbone(DEFAULT_BACKBONE, input_size=chosen.input_size)
    with tempfile.TemporaryDirectory(prefix="partscope-demo-") as scratch:
        table = measure_table1(
            subset,
            backbone,
            methods=chosen.methods,
            limit=None,
            random_state=seed,
            shortlist=chosen.shortlist,
            folder=scratch,
            progress=progress,
        )
    document = {**table.document(), "demo": chosen.sentence()}
    atomic_write(folder / "table1.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    _report(folder, table, chosen, document, drawn=data is None)
    return table


def _drawn(folder: Path, chosen: DemoSettings) -> PartDataset:
    images = chosen.train + chosen.test
    return write_synthetic_birds(
        folder, images=images, classes=chosen.classes, random_state=chosen.random_state, overwrite=True
    )


def _subset(dataset: PartDataset, chosen: DemoSettings) -> PartDataset:
    """The demo's images, with their splits."""
    train = dataset.train.limit(chosen.train, chosen.random_state)
    test = dataset.test.limit(chosen.test, chosen.random_state)
    return PartDataset(
        dataset.parts,
        train.samples + test.samples,
        dataset.name,
        dataset.pairs,
        dataset.skipped,
        dataset.notes,
    )


def _report(
    folder: Path, table: Table1, chosen: DemoSettings, document: dict[str, Any], *, drawn: bool
) -> None:
    shown = next(outcome for outcome in table.outcomes if outcome.variant.name == "mixture, Full")
    best = [row for row in table.detectors if row.name == "linear + arrangement, Full"]
    facts = {
        "data": f"drawn birds, seed {chosen.random_state}" if drawn else table.test.name,
        "training images": len(table.train),
        "test images": len(table.test),
        "backbone": f"{table.backbone.name}, layer {table.backbone.layer}, input {table.backbone.input_size}",
        "search": table.settings["search"],
    }
    what = "drawn birds" if drawn else "photographs"
    write_report(
        folder / "report.html",
        title=f"partscope demo: parts of {what}",
        lead=chosen.sentence(),
        sections=[
            ResultTable(
                "Table 1",
                document["rows"],
                "Mean distance between found and marked position over the box diagonal, with its 95 % interval over images. "
                "Full: nothing about the box is used; BB: restricted to the box, as a mask or as a crop. MaxG and mixture are the "
                "paper's; linear combines channels of several layers, alone or with the arrangement of all parts.",
            ),
            Facts("This run", {**facts, **environment_facts()}),
            *pictures_of(table, shown),
            *(evidence_of(table, row) for row in best),
            PartTable("Parts, mixture, Full", shown.evaluation.row()),
            *(PartTable(f"Parts, {row.name}", row.evaluation.row()) for row in best),
            overlays_of(table, best[0] if best else shown, folder / "overlays"),
            Notes("Remarks", list(shown.evaluation.notes)),
        ],
    )
