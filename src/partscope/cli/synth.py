"""`partscope synth`: drawn birds with exact part positions, as a data set in CUB's layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.output import Output
from partscope.cli.tables import show_results
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.dataset import PartDataset


def synth(
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The folder to write; must be empty or not there.", show_default=False
        ),
    ],
    images: Annotated[int, typer.Option("--images", metavar="N", help="Number of images, at least C.")] = 200,
    classes: Annotated[int, typer.Option("--classes", metavar="C", help="Number of species.")] = 8,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Seed; the same seed gives the same bytes.")
    ] = 0,
    size: Annotated[
        int, typer.Option("--size", metavar="PX", help="Longer side of an image, at most.")
    ] = 320,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")
    ] = False,
    json_out: options.JsonOut = None,
) -> None:
    """Write drawn birds with exact part positions, in the layout of CUB-200-2011.

    Half of each species is for training, half for testing; the static prior's error on them is shown.
    """
    from partscope.synthetic import write_synthetic_birds

    output = Output(json_out)
    # What numbers are allowed is the library's to say.
    with _Bar(images) as bar:
        dataset = write_synthetic_birds(
            out, images, classes, random_state=seed, size=size, overwrite=overwrite, progress=bar
        )
    splits = {name: sum(sample.split == name for sample in dataset) for name in ("train", "test")}
    rows = _prior_rows(dataset) if all(splits.values()) else []
    output.document(
        {
            "folder": out,
            "images": len(dataset),
            "classes": len(set(dataset.labels)),
            "parts": dataset.parts,
            "splits": splits,
            "seed": seed,
            "size": size,
            "visible": float(dataset.visible.mean()),
            "rows": rows,
        }
    )
    output.line(
        f"{shown(out)}: {len(dataset)} drawn birds of {len(set(dataset.labels))} species, {splits['train']} for training and "
        f"{splits['test']} for testing; on average {dataset.visible.sum(axis=1).mean():.1f} of {len(dataset.parts)} parts "
        "are visible"
    )
    if rows:
        output.line()
        show_results(output, rows, "What any method has to beat:")


def _prior_rows(dataset: PartDataset) -> list[dict[str, Any]]:
    """Evaluate the static priors of the training birds on the test birds, from the annotation alone."""
    from partscope.evaluation import evaluate, prior_predictions
    from partscope.prior import Frame, StaticPrior

    prior, test = StaticPrior.fit(dataset.train), dataset.test
    frames: tuple[Frame, ...] = ("image", "box")
    return [
        evaluate(
            prior_predictions(prior, test, frame),
            test,
            prior,
            fallback=frame,
            info={"method": "prior", "region": frame},
        ).row()
        for frame in frames
    ]


class _Bar:
    """A progress bar that is told the number of finished images, for `write_synthetic_birds`."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("draw", total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def __call__(self, done: int) -> None:
        self._progress.update(self._task, completed=done)
