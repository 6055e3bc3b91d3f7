"""What the writers of all formats share: how images and objects are called, and counting what a format cannot hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError, PartscopeError
from partscope.formats.objects import OBJECT
from partscope.formats.reading import relative_name


@dataclass(frozen=True)
class Written:
    """What a writer did.

    lost: what the format cannot hold, one counted sentence each; empty where nothing was lost.
    images: where each image belongs for the format's reader to find it, by the path below the folder that was written, or
        that the file was written to.
    """

    lost: tuple[str, ...] = ()
    images: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Named:
    """A sample with the name of its image below the folder of images, and its own name among the image's objects.

    instance: the text after `#` in the sample's id, or None.
    """

    sample: Sample
    image: str
    instance: str | None

    @property
    def object(self) -> str:
        """The object's name in a format in which each must have one."""
        return OBJECT if self.instance is None else self.instance


def named(dataset: PartDataset) -> list[Named]:
    """Return the samples with the names of images and objects that their ids hold.

    An id that is no path below a folder is replaced by the image's path below the folder that holds all images.

    Raises
    ------
    DatasetError: the data set is empty, or two images would get one name.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.name}: there is no image to write.")
    split = [_split_id(sample) for sample in dataset]
    if any(name is None for name, _ in split):
        files = [os.path.abspath(sample.image) for sample in dataset]
        base = os.path.commonpath([os.path.dirname(file) for file in files])
        split = [
            (PurePosixPath(Path(file).relative_to(base)).as_posix(), instance)
            for file, (_, instance) in zip(files, split, strict=True)
        ]
    found = [
        Named(sample, str(name), instance) for sample, (name, instance) in zip(dataset, split, strict=True)
    ]
    owner: dict[str, Path] = {}
    for item in found:
        if owner.setdefault(item.image, item.sample.image) != item.sample.image:
            raise DatasetError(
                f"{item.sample.image}: another image, {owner[item.image]}, has the name {item.image} too; rename one."
            )
    return found


def _split_id(sample: Sample) -> tuple[str | None, str | None]:
    """Return the image's name in the sample's id and the object's; no name where the id is none below a folder."""
    path = sample.image.as_posix()
    if _ends_with(path, sample.id):
        return sample.id, None
    at = sample.id.find("#")
    while at > 0:
        if _ends_with(path, sample.id[:at]):
            return sample.id[:at], sample.id[at + 1 :]
        at = sample.id.find("#", at + 1)
    return None, None


def _ends_with(path: str, name: str) -> bool:
    try:
        return relative_name(name) == name and (path == name or path.endswith(f"/{name}"))
    except DatasetError:
        return False


def by_image(items: Iterable[Named]) -> dict[str, list[Named]]:
    """Return the objects of each image, images in the order of their first object."""
    groups: dict[str, list[Named]] = {}
    for item in items:
        groups.setdefault(item.image, []).append(item)
    return groups


def one_object_each(items: Iterable[Named], format: str) -> None:
    """Raise a DatasetError where an image holds several objects, for formats that know one an image."""
    for image, group in by_image(items).items():
        if len(group) > 1:
            raise DatasetError(
                f"{image}: the image holds {len(group)} objects, and {format} knows one an image; write coco, csv, "
                "label-studio or cvat."
            )


def make_folder(folder: Path) -> None:
    """Create a folder and those above it; a PartscopeError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PartscopeError(
            f"{folder}: the folder cannot be created ({error.strerror}); choose another one."
        ) from error


class Losses:
    """Counts what a format cannot hold."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, text: str, count: int = 1) -> None:
        """Count something lost; `{}` in `text` stands for the number."""
        self._counts[text] += count

    def without(self, items: Iterable[Named], *what: str) -> None:
        """Count the samples that have a `box`, a `label`, a `split` or an `instance`, which the format cannot hold."""
        for item in items:
            for name in what:
                value = item.instance if name == "instance" else getattr(item.sample, name)
                self.add(_LOST[name], int(value is not None))

    def texts(self) -> tuple[str, ...]:
        """Return one sentence for each kind of loss."""
        return tuple(text.replace("{}", f"{count:,}") for text, count in self._counts.items() if count)

    def reserved_label(self, items: Iterable[Named]) -> None:
        """Count the objects whose class has the name that the format gives to objects without one."""
        self.add(
            f"the class {OBJECT!r} of {{}} objects: it stands for objects without a class.",
            sum(item.sample.label == OBJECT for item in items),
        )


_LOST = {
    "box": "the bounding boxes of {} objects: the format has none.",
    "label": "the classes of {} objects: the format has none.",
    "split": "the splits of {} objects: the format has none.",
    "instance": "the names of {} objects within their images: the format has none.",
}


def common_split(group: Iterable[Named], losses: Losses) -> str | None:
    """Return the split of an image's objects; one of another split than the first is counted as lost."""
    splits = [item.sample.split for item in group]
    losses.add(
        "the splits of {} objects: the format knows one split an image.", sum(s != splits[0] for s in splits)
    )
    return splits[0]


def check_unicode(*names: str) -> None:
    """Raise a DatasetError for a name that no text file can hold: a file's name may be any bytes."""
    for name in names:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DatasetError(f"the name {name!r} is not valid Unicode; rename it.") from error
