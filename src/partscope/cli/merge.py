"""`partscope merge`: put together what the jobs of a job array have written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partscope.cli.output import Output, check_distinct, check_writable
from partscope.errors import OptionError
from partscope.places import shown

_RESULTS = (".csv", ".json")


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Results of locate or classify predict (.csv or .json), or linear models of fit; all of one kind.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="OUT", help="The file to write.", show_default=False)],
) -> None:
    """Merge the results of shards, in the order of their file names.

    Results of locate and of classify predict become the file that one run would have written. Linear models become one that has learned from all
    their images.
    """
    files = sorted(files, key=lambda file: (file.name, str(file)))
    check_distinct({**{f"input {i}": file for i, file in enumerate(files, start=1)}, "--out": out})
    check_writable(out)
    kinds = {file.suffix.lower() if file.suffix.lower() in _RESULTS else "model" for file in files}
    if len(kinds) > 1:
        raise OptionError(
            f"the files are of different kinds ({', '.join(sorted(kinds))}); merge results with results of one ending, and "
            "models with models."
        )
    _check_whole(files)
    kind = kinds.pop()
    if kind == "model":
        what = _merge_models(files, out)
    else:
        from partscope.classification.files import holds_classes, merge_classes
        from partscope.formats.merging import merge_coco, merge_csv

        merging = merge_csv if kind == ".csv" else merge_coco
        what = f"{(merge_classes if holds_classes(files[0]) else merging)(files, out)} images"
    Output().line(f"{shown(out)}: {what} of {len(files)} files")


def _check_whole(files: list[Path]) -> None:
    """Refuse shards of several runs, and some of a run's shards without the others; other names say nothing."""
    from partscope.engine import Shard

    named = {file: Shard.of_file(file) for file in files}
    shards = {file: found for file, found in named.items() if found is not None}
    if not shards:
        return
    first, (whole, one) = next(iter(shards.items()))
    for file in files:
        found = shards.get(file)
        if found is None or (found[0], found[1].count) != (whole, one.count):
            raise OptionError(
                f"{file}: this is no shard of the run that {first} belongs to; give the files of one run, or rename them to merge "
                "them all the same."
            )
    given = {found[1].index for found in shards.values()}
    missing = [str(i) for i in range(1, one.count + 1) if i not in given]
    if missing:
        raise OptionError(
            f"{whole}: of its {one.count} shards these are not given: {', '.join(missing[:20])}"
            f"{' and more' if len(missing) > 20 else ''}; give the files of all, or rename them to merge them all the same."
        )


def _merge_models(files: list[Path], out: Path) -> str:
    from partscope.detectors import LinearDetector, PartDetector

    detectors = [PartDetector.load(file) for file in files]
    for file, detector in zip(files, detectors, strict=True):
        if not isinstance(detector, LinearDetector):
            raise OptionError(
                f"{file}: only linear models can be merged, not one of the method {detector.method!r}; fit that one with "
                "--shard and then once without."
            )
    first, *others = [detector for detector in detectors if isinstance(detector, LinearDetector)]
    first.merge(*others).save(out)
    return f"a linear model of {len(first.train_ids_)} images"
