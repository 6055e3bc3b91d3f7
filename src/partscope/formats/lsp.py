"""Leeds Sports Pose: `joints.mat` beside `images/im0001.jpg` …, with 14 joints of the person in each image.

The matrix is 3×14×N (Leeds Sports Pose, 2,000 images) or 14×3×N (its extended training set, 10,000 images `im00001.jpg` …); a
joint has x, y and a flag. **The flags mean the opposite in the two**: in the first, 1 says that the joint is occluded, and its
place is a guess; in the second, 1 says that it is visible, and 0 that it was not marked. By default `flag` is what the shape
says; `"occluded"` and `"visible"` settle it. Occluded joints are not visible, or with `occluded="marked"` taken at their place.

**Origin.** The matrices were made with Matlab, in which the **centre of the first pixel is (1, 1)**: 0.5 is taken away in
reading and added in writing.

Of 2,000 images in the first form, the first 1,000 are the split `train` and the rest `test`, as their authors have it.

What is lost in writing: the images' names, boxes, classes and splits, each counted.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from scipy.io import loadmat, savemat, whosmat

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError
from partscope.formats.objects import Marked, Notes, build_dataset, choice
from partscope.formats.pts import SHIFT
from partscope.formats.reading import Faults
from partscope.formats.registry import reader, writer
from partscope.formats.writing import Losses, Written, make_folder, named, one_object_each

JOINTS = (
    *("right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle"),
    *(
        "right wrist",
        "right elbow",
        "right shoulder",
        "left shoulder",
        "left elbow",
        "left wrist",
        "neck",
        "head top",
    ),
)
_FILE = "joints.mat"
_NAME = re.compile(r"im0*(\d+)\.[A-Za-z]+")


def _recognise(path: Path) -> bool:
    return (path / _FILE).is_file() if path.is_dir() else path.suffix.lower() == ".mat" and path.name == _FILE


@reader("lsp", looks_for="joints.mat, or the folder that holds it", recognise=_recognise, folder=None)
def read_lsp(
    path: str | Path,
    on_error: str = "raise",
    images: str | Path | None = None,
    outside: str = "hidden",
    occluded: str = "hidden",
    flag: str = "auto",
) -> PartDataset:
    """Read Leeds Sports Pose or its extended training set (see the module).

    Parameters
    ----------
    path: `joints.mat`, or the folder that holds it.
    on_error: `"raise"` stops at the first bad item; `"skip"` leaves bad images out and lists them in `skipped`.
    images: the folder of images; by default `images` beside the file.
    outside: `"hidden"`, since the guesses at occluded joints may lie outside their image, or `"error"`.
    occluded: `"hidden"` or `"marked"`: what a joint is whose flag says that it is occluded.
    flag: `"auto"`, `"occluded"` or `"visible"`: what 1 says.

    Raises
    ------
    AnnotationError: the file is missing, damaged or holds no such matrix; an image has no joints or joints have no image.
    DatasetError, ImageError, OptionError: as :func:`partscope.formats.objects.build_dataset`.
    """
    path, faults, notes = Path(path), Faults(on_error), Notes()
    choice("occluded", occluded, ("hidden", "marked"))
    choice("flag", flag, ("auto", "occluded", "visible"))
    file = path / _FILE if path.is_dir() else path
    values, extended = _joints(file)
    flag = ("visible" if extended else "occluded") if flag == "auto" else flag
    folder = Path(images) if images is not None else file.parent / "images"
    names = _images(folder, len(values), file)
    split = len(values) == 2000 and not extended
    objects = []
    for i, (image, rows) in enumerate(zip(names, values.tolist(), strict=True), start=1):
        where = f"{file}, image {i}"
        points = {}
        for joint, (x, y, sign) in zip(JOINTS, rows, strict=True):
            if flag == "visible" and sign == 0:
                continue
            if sign not in (0, 1) or not np.isfinite((x, y)).all():
                faults.add(
                    where,
                    AnnotationError(f"{where}: the {joint} is ({x}, {y}) with the flag {sign}; correct it."),
                )
            elif flag == "occluded" and sign == 1 and occluded == "hidden":
                notes.add("{} occluded joints count as not visible; occluded='marked' takes their places.")
            else:
                points[joint] = (x + SHIFT, y + SHIFT)
        if where not in faults:
            part = ("train" if i <= 1000 else "test") if split else None
            objects.append(Marked(where, image, points, split=part))
    return build_dataset(file, objects, JOINTS, faults, notes, images=folder, outside=outside)


def _joints(file: Path) -> tuple[np.ndarray[tuple[int, int, int], np.dtype[np.float64]], bool]:
    """Return the matrix as (N, 14, 3), and whether it is that of the extended set."""
    if not file.is_file():
        raise AnnotationError(f"{file}: there is no such file; give joints.mat, or the folder that holds it.")
    try:
        # Looked at first, so that nothing but a matrix of numbers is ever read.
        held = {name: (shape, kind) for name, shape, kind in whosmat(str(file))}
        shape, kind = held.get("joints", ((), "nothing"))
        if len(shape) != 3 or kind not in ("double", "single", "int16", "int32", "uint8", "uint16"):
            raise AnnotationError(
                f"{file}: expected a matrix 'joints' of numbers, 3×14×N or 14×3×N, not {kind} with the shape {shape}."
            )
        values = np.asarray(loadmat(str(file), variable_names=["joints"])["joints"], dtype=np.float64)
    except MemoryError:
        raise
    except Exception as error:  # whatever damaged bytes lead SciPy's reader to
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{file}: the file cannot be read as Matlab's ({error}); save it as version 7 or older."
        ) from error
    for order, extended in (((3, 14), False), ((14, 3), True)):
        if values.shape[:2] == order and values.shape[2]:
            return values.transpose(2, 0, 1) if extended else values.transpose(2, 1, 0), extended
    raise AnnotationError(f"{file}: 'joints' must have the shape 3×14×N or 14×3×N, not {values.shape}.")


def _images(folder: Path, count: int, file: Path) -> list[str]:
    if not folder.is_dir():
        raise AnnotationError(
            f"{folder}: there is no such folder, in which the images of {file} belong; name it."
        )
    found: dict[int, str] = {}
    for entry in sorted(folder.iterdir()):
        match = _NAME.fullmatch(entry.name)
        if match and found.setdefault(int(match[1]), entry.name) != entry.name:
            raise AnnotationError(
                f"{entry}: {found[int(match[1])]} has the same number; remove one of the two."
            )
    missing = next((i for i in range(1, count + 1) if i not in found), None)
    if missing is not None:
        raise AnnotationError(
            f"{folder}: {file} has joints for {count} images, and im{missing:04d} is missing; restore it."
        )
    if len(found) > count:
        raise AnnotationError(
            f"{folder}: there are {len(found)} images, but {file} has joints for {count}; give the file that belongs to them."
        )
    return [found[i] for i in range(1, count + 1)]


@writer("lsp")
def write_lsp(dataset: PartDataset, path: str | Path, extended: bool = False) -> Written:
    """Write marked parts as `joints.mat`; the images belong in `images` beside it as `im0001`, `im0002`, … .

    Parameters
    ----------
    path: the folder.
    extended: write the form of the extended training set instead, 14×3×N.

    Raises
    ------
    DatasetError: the data set is empty, its parts are not the 14 joints, or an image holds several objects.
    PartscopeError: the file cannot be written.
    """
    items, losses = named(dataset), Losses()
    one_object_each(items, "lsp")
    if set(dataset.parts) != set(JOINTS):
        odd = sorted(set(dataset.parts) ^ set(JOINTS))[0]
        raise DatasetError(
            f"lsp knows the joints {', '.join(JOINTS)}, and {odd!r} differs; rename the parts, or write csv."
        )
    digits = 5 if extended else 4
    images = {
        f"images/im{i:0{digits}d}{Path(item.image).suffix or '.jpg'}": item.sample.image
        for i, item in enumerate(items, start=1)
    }
    own = [name.removeprefix("images/") for name in images]
    losses.add(
        "the names of {} images: the format numbers them.",
        sum(a.image != b for a, b in zip(items, own, strict=True)),
    )
    losses.without(items, "box", "label", "instance")
    standard = len(items) == 2000 and not extended
    losses.add(
        "the splits of {} objects: the format has none.",
        sum(
            item.sample.split is not None
            and not (standard and item.sample.split == ("train" if i < 1000 else "test"))
            for i, item in enumerate(items)
        ),
    )
    order = dataset.with_parts(JOINTS)
    places = np.where(order.visible[..., None], order.points - SHIFT, 0.0)
    sign = order.visible if extended else ~order.visible
    values = np.concatenate([places, sign[..., None].astype(np.float64)], axis=2)
    content = io.BytesIO()
    savemat(content, {"joints": values.transpose(1, 2, 0) if extended else values.transpose(2, 1, 0)})
    make_folder(Path(path))
    atomic_write(Path(path) / _FILE, content.getvalue())
    return Written(losses.texts(), images)
