"""Writing drawn birds as a data set in the layout of CUB-200-2011."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError, OptionError, PartscopeError
from partscope.formats.cub_writer import write_cub_annotations
from partscope.synthetic.birds import DrawnBird, synthesize_birds
from partscope.synthetic.parts import PARTS

_JPEG_QUALITY = 92


def write_synthetic_birds(
    folder: str | Path,
    images: int = 200,
    classes: int = 8,
    random_state: int = 0,
    size: int = 320,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> PartDataset:
    """Draw birds and write them to `folder` in the layout of CUB-200-2011.

    Written are `images/NNN.Name/Name_NNNNNN.jpg`, `images.txt`, `classes.txt`, `image_class_labels.txt`,
    `bounding_boxes.txt` (x, y, width, height), `parts/parts.txt`, `parts/part_locs.txt` and `train_test_split.txt`. Image i is
    of class i modulo `classes`; within a class training and test images alternate. The same arguments give the same
    bytes (with the same versions of numpy and Pillow), and image i is the same however many are asked for.

    Parameters
    ----------
    folder: is created; must be empty unless `overwrite`.
    images, classes, random_state, size: as :func:`synthesize_birds`; every class must have an image.
    overwrite: write into a folder that is not empty, replacing the annotation tables and the images of the same name.
    progress: called with the number of images written so far, after each.

    Returns
    -------
    The data set as :func:`partscope.formats.read_cub` reads it from the folder.

    Raises
    ------
    DatasetError: the folder is not empty.
    OptionError: as :func:`synthesize_birds`, or there are fewer images than classes.
    PartscopeError: a file cannot be written.
    """
    birds = synthesize_birds(images, classes=classes, random_state=random_state, size=size)
    if images < classes:
        raise OptionError(
            f"a data set of {classes} classes needs at least {classes} images, not {images}; ask for more images "
            "(--images) or fewer classes (--classes)."
        )
    folder = Path(folder)
    try:
        if not overwrite and folder.exists() and any(folder.iterdir()):
            raise DatasetError(
                f"{folder}: the folder is not empty; choose another one, or allow it to be overwritten (--overwrite)."
            )
        # Old tables beside new images would be a data set of wrong positions, were this interrupted.
        (folder / "images.txt").unlink(missing_ok=True)
        samples = []
        for i, bird in enumerate(birds):
            samples.append(_write_image(folder / "images", bird, i, classes))
            if progress is not None:
                progress(i + 1)
    except OSError as error:
        raise PartscopeError(
            f"{folder}: the drawn birds cannot be written ({error.strerror or error}); choose another folder or free some space."
        ) from error
    # The tables come last: a folder without them was interrupted, and no reader takes it for a data set.
    dataset = PartDataset(PARTS, tuple(samples), folder.resolve().name)
    write_cub_annotations(dataset, folder)
    return dataset


def _write_image(folder: Path, bird: DrawnBird, index: int, classes: int) -> Sample:
    label = f"{bird.label + 1:03d}.{bird.species.name}"
    name = f"{label}/{bird.species.name}_{index + 1:06d}.jpg"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(bird.image).save(path, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    height, width = bird.image.shape[:2]
    return Sample(
        id=name,
        image=path,
        size=(width, height),
        points=bird.points,
        visible=bird.visible,
        box=bird.box,
        label=label,
        split="train" if (index // classes) % 2 == 0 else "test",
    )
