"""Where overlays are written: below the user's folder, never over each other, never over a photograph."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from partscope.errors import OptionError, PartscopeError

if TYPE_CHECKING:
    from partscope.images import ImageLike
    from partscope.predictions import PartPredictions


def overlay_paths(images: Iterable[tuple[str, Path]], folder: Path) -> dict[str, Path]:
    """Return for each image name the overlay's file: the name with `.png` appended, so that a.jpg and a.png differ.

    Names that differ in capitals alone, which some file systems hold for the same, get a number.

    Parameters
    ----------
    images: `(name, path)` of each image, the name relative, with `/` between folders.
    folder: of the overlays.

    Raises
    ------
    DatasetError: a name leaves the folder.
    OptionError: an overlay would take the place of one of the images.
    """
    from partscope.formats.reading import relative_name

    pairs = list(images)
    sources = {path.resolve() for _, path in pairs}
    taken: set[str] = set()
    paths: dict[str, Path] = {}
    for name, _ in pairs:
        stem, number = relative_name(name), 1
        target = f"{stem}.png"
        while target.casefold() in taken:
            number += 1
            target = f"{stem}~{number}.png"
        taken.add(target.casefold())
        paths[name] = folder / target
        if paths[name].resolve() in sources:
            raise OptionError(
                f"{paths[name]}: the overlay of {name} would take the place of an image; give --overlay another folder."
            )
    return paths


def write_overlay(
    target: Path,
    image: ImageLike,
    block: PartPredictions,
    row: int,
    box: tuple[float, float, float, float] | None,
) -> None:
    """Draw the parts of one row of predictions onto its image and write the PNG file; folders are made as needed.

    Raises
    ------
    PartscopeError: the file cannot be written.
    """
    from partscope.atomic import atomic_path
    from partscope.figures.overlay import draw_parts

    picture = draw_parts(
        image, block.parts, block.points[row], block.found[row], box=box, score=block.score[row]
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PartscopeError(
            f"{target.parent}: the folder cannot be made ({error.strerror}); choose another --overlay."
        ) from error
    with atomic_path(target) as temporary:
        picture.save(temporary, format="PNG")
