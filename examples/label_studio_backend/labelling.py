"""What a project's labelling configuration says: where the image is, and under which names key points and boxes go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partscope.errors import AnnotationError
from partscope.formats.reading_xml import parse_xml


@dataclass(frozen=True)
class Labelling:
    """Names of a labelling configuration that a prediction refers to.

    Parameters
    ----------
    field: the entry of a task's data that is the image's address.
    image: the name of the Image tag (`to_name`).
    points: the name of the KeyPointLabels tag (`from_name`).
    parts: the labels of key points that are parts of the model.
    boxes: the name of the RectangleLabels tag of the same image, or None.
    box_label: the label that predicted boxes get, or None.
    """

    field: str
    image: str
    points: str
    parts: tuple[str, ...]
    boxes: str | None
    box_label: str | None

    def adapted(self, prediction: dict[str, Any]) -> dict[str, Any]:
        """Return a pre-annotation with the project's names; what the project has no label for is left out."""
        kept = []
        for region in prediction["result"]:
            box = region["type"] == "rectanglelabels"
            if (box and self.boxes is None) or (
                not box and region["value"]["keypointlabels"][0] not in self.parts
            ):
                continue
            named = {**region, "from_name": self.boxes if box else self.points, "to_name": self.image}
            if self.boxes is None:
                named.pop("parentID", None)
            kept.append(named)
        scores = [region["score"] for region in kept if "score" in region]
        return {**prediction, "result": kept, "score": sum(scores) / len(scores) if scores else 0.0}


def read_labelling(config: str, parts: Sequence[str]) -> Labelling:
    """Return the names of the first KeyPointLabels that has a label of the model's parts.

    Raises
    ------
    AnnotationError: the configuration is no XML or has a document type, or no such KeyPointLabels for an Image.
    """
    root = parse_xml(config, "the labelling configuration")
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    for tag in root.iter("KeyPointLabels"):
        known = tuple(label for label in _labels(tag) if label in parts)
        to, name = tag.get("toName"), tag.get("name")
        field = images.get(to, "")
        if not known or name is None or to is None or not field.startswith("$"):
            continue
        for box in root.iter("RectangleLabels"):
            if box.get("toName") == to and box.get("name") and _labels(box):
                return Labelling(field[1:], to, name, known, box.get("name"), _labels(box)[0])
        return Labelling(field[1:], to, name, known, None, None)
    raise AnnotationError(
        "the labelling configuration has no KeyPointLabels of an Image with one of the model's parts "
        f"{', '.join(parts)}; add them as labels."
    )


def _labels(tag: Any) -> list[str]:
    return [label.get("value") for label in tag.iter("Label") if label.get("value")]
