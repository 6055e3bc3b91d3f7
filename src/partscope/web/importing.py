"""Marks that come in: an annotated data set whose pictures are those of the folder."""

from __future__ import annotations

import os
from dataclasses import dataclass

from partscope.dataset import PartDataset, Sample
from partscope.errors import ImageError, OptionError
from partscope.web.pictures import picture_id
from partscope.web.session import Session


@dataclass(frozen=True)
class Imported:
    """What became of the samples.

    Parameters
    ----------
    taken: pictures that got marks.
    marked: left as they are, since they have marks already.
    elsewhere: samples whose picture is not in the folder.
    """

    taken: int
    marked: int
    elsewhere: int

    def sentence(self) -> str:
        """Return the counts as a sentence."""
        return (
            f"took the marks of {self.taken} pictures; {self.marked} were marked already and stay as they are; of "
            f"{self.elsewhere} the picture is not in the folder."
        )


def import_marks(session: Session, dataset: PartDataset) -> Imported:
    """Give pictures without marks those of a data set; a part that is not visible there is marked as such.

    The project's parts become the data set's where it has none.

    Raises
    ------
    OptionError: the project has other parts, or no picture of the data set is in the folder.
    """
    if not session.project.parts.names:
        pairs = [(i, int(j)) for i, j in enumerate(dataset.mirror) if i < j]
        session.set_parts([(None, part) for part in dataset.parts], pairs, session.project.parts.revision)
    keys = {name: key for key, name in session.project.parts.names.items()}
    if set(keys) != set(dataset.parts):
        raise OptionError(
            f"{dataset.name}: its parts ({', '.join(dataset.parts)}) are not those of the project; choose another --project."
        )
    taken = marked = elsewhere = 0
    for sample in dataset:
        id = _picture_of(session, sample)
        if id is None:
            elsewhere += 1
        elif session.project.marks(id).points:
            marked += 1
        else:
            points = zip(dataset.parts, sample.points.tolist(), sample.visible, strict=True)
            try:
                session.set_marks(
                    id, {keys[part]: tuple(at) if seen else None for part, at, seen in points}, 0
                )
            except ImageError:
                elsewhere += 1  # it is shown as unreadable
                continue
            taken += 1
    if elsewhere == len(dataset):
        raise OptionError(
            f"{dataset.name}: not one of its {len(dataset)} pictures is in the folder {session.folder.root}; name the folder that "
            "holds them."
        )
    return Imported(taken, marked, elsewhere)


def _picture_of(session: Session, sample: Sample) -> str | None:
    """Return the id of a sample's picture in the folder, by its file or else by its name."""
    path = os.path.realpath(sample.image)
    root = f"{session.folder.root}{os.sep}"
    names = [sample.id]
    if path.startswith(root):
        names.insert(0, path.removeprefix(root).replace(os.sep, "/"))
    return next((picture_id(name) for name in names if picture_id(name) in session.folder), None)
