"""Writing marked parts as CVAT for images 1.1 (see :mod:`partscope.formats.cvat`): one skeleton per object, and its box.

To import the file, the task in CVAT needs the labels that the file declares under `<labels>`: for each class a skeleton
whose points have the names of the parts, and a rectangle.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from partscope.atomic import atomic_write
from partscope.dataset import PartDataset
from partscope.formats.objects import OBJECT
from partscope.formats.reading_xml import check_xml_text, xml_text
from partscope.formats.registry import writer
from partscope.formats.writing import Losses, Named, Written, by_image, common_split, named


@writer("cvat", ".xml")
def write_cvat(dataset: PartDataset, path: str | Path) -> Written:
    """Write marked parts as CVAT for images 1.1.

    Raises
    ------
    DatasetError: the data set is empty, or a name holds a control character.
    PartscopeError: the file cannot be written.
    """
    items, losses = named(dataset), Losses()
    losses.reserved_label(items)
    labels = list(dict.fromkeys(item.sample.label or OBJECT for item in items))
    check_xml_text(*dataset.parts, *labels, *(item.image for item in items))
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    declared = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for name in labels:
        _declare(declared, name, "skeleton")
        _declare(declared, name, "bbox")
    for part in dataset.parts:
        _declare(declared, part, "points", parent=labels[0])
    for i, (image, group) in enumerate(by_image(items).items()):
        width, height = group[0].sample.size
        split = common_split(group, losses)
        attributes = {"id": str(i), "name": image, **({} if split is None else {"subset": split})}
        element = SubElement(
            root, "image", {**attributes, "width": str(int(width)), "height": str(int(height))}
        )
        for item, key in zip(group, _keys(group, losses), strict=True):
            _add(element, item, key, dataset.parts)
    atomic_write(path, xml_text(root))
    return Written(losses.texts(), {item.image: item.sample.image for item in items})


def _declare(labels: Element, name: str, type: str, parent: str | None = None) -> None:
    label = SubElement(labels, "label")
    SubElement(label, "name").text = name
    SubElement(label, "type").text = type
    SubElement(label, "attributes")
    if parent is not None:
        SubElement(label, "parent").text = parent


def _keys(group: list[Named], losses: Losses) -> list[str]:
    """Return a group for each object: its own name where that is a number."""
    if len(group) == 1:
        losses.without(group, "instance")
        return ["1"]
    own = [item.instance or "" for item in group]
    good = {key for key in own if key.isascii() and key.isdigit() and str(int(key)) == key and int(key) > 0}
    losses.add(
        "the names of {} objects, which are no numbers.", sum(bool(key) and key not in good for key in own)
    )
    free = (str(i) for i in range(1, len(group) * 2 + 1) if str(i) not in good)
    return [key if key in good else next(free) for key in own]


def _add(image: Element, item: Named, key: str, parts: tuple[str, ...]) -> None:
    sample, label = item.sample, item.sample.label or OBJECT
    shared = {"label": label, "source": "manual", "z_order": "0", "group_id": key}
    if sample.box is not None:
        x, y, width, height = sample.box
        corners = {"xtl": repr(x), "ytl": repr(y), "xbr": repr(x + width), "ybr": repr(y + height)}
        SubElement(image, "box", {**shared, "occluded": "0", **corners})
    skeleton = SubElement(image, "skeleton", shared)
    for part, (px, py), visible in zip(parts, sample.points.tolist(), sample.visible.tolist(), strict=True):
        place = f"{px!r},{py!r}" if visible else "0.0,0.0"
        flags = {"source": "manual", "occluded": "0", "outside": "0" if visible else "1"}
        SubElement(skeleton, "points", {"label": part, **flags, "points": place})
