"""What the training images teach a part source: names and pairs of the parts, their median positions, the detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from partscope.classification.scenes import ImagesLike, as_samples
from partscope.classification.sources import Known, part_source
from partscope.dataset import PartDataset, Sample
from partscope.detectors import PartDetector
from partscope.errors import DatasetError, OptionError, nearest_names
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.symmetry import mirrored_parts

Mirror = NDArray[np.intp]


def learn(
    images: ImagesLike,
    *,
    source: str,
    region: str = "image",
    detector: PartDetector | None = None,
    predictions: PartPredictions | None = None,
    parts: Sequence[str] | None = None,
    random_state: int = 0,
    on_error: str = "raise",
    progress: bool = False,
) -> Known:
    """Return what a part source needs to know; the parameters are those of :class:`PartFeatures`.

    The parts' names are the detector's (or the predictions') for `estimated`. For the other sources they are the data set's,
    or for samples a fitted detector's; without either the parts are called `part 1`, `part 2`, … and no pairs are known.

    Raises
    ------
    OptionError: the source needs a detector and there is none, the detector does not search the box of the region `"crop"`,
        or a part of `parts` does not exist (the nearest names are given).
    DatasetError: an unfitted detector, or the source, needs a data set.
    """
    needs = part_source(source).needs
    if not needs:
        return Known(region=region, random_state=random_state)
    if needs == "detector":
        if detector is None and predictions is None:
            raise OptionError(
                f"the part source {source!r} needs a detector; give PartFeatures(detector), or another source."
            )
        if detector is not None and region == "crop" and predictions is None and not detector.needs_box:
            raise OptionError(
                "the region 'crop' describes the bounding box, but the detector searches the whole image; give one that "
                "searches the box (region='crop'), or use region='image'."
            )
        fitted = None if detector is None else _fitted(detector, images, on_error, progress)
        names, mirror = _names_of(fitted, predictions)
        chosen = _chosen(parts, names, fitted, predictions)
        return Known(
            chosen,
            _mirror(chosen, names, mirror),
            region,
            detector=fitted,
            predictions=predictions,
            random_state=random_state,
        )
    marked, sides = _marked_names(images, source, detector, predictions)
    chosen = _chosen(parts, marked)
    return Known(
        chosen,
        None if sides is None else _mirror(chosen, marked, sides),
        region,
        marked=marked,
        prior=_prior(images, marked, region) if needs == "prior" else None,
        random_state=random_state,
    )


def _fitted(detector: PartDetector, images: ImagesLike, on_error: str, progress: bool) -> PartDetector:
    if hasattr(detector, "train_ids_"):
        return detector
    if not isinstance(images, PartDataset):
        raise DatasetError(
            "the detector is not fitted, and can be fitted to a data set only: samples, as cross-validation passes them on, "
            "do not know their parts' names; fit the detector first."
        )
    copied: PartDetector = clone(detector)
    return copied.fit(images, on_error=on_error, progress=progress)


def _names_of(
    detector: PartDetector | None, predictions: PartPredictions | None
) -> tuple[tuple[str, ...], Mirror]:
    if detector is not None:
        return detector.parts_, detector.mirror_
    assert predictions is not None  # `learn` has seen to it
    return predictions.parts, mirrored_parts(predictions.parts)


def _marked_names(
    images: ImagesLike,
    source: str,
    detector: PartDetector | None,
    predictions: PartPredictions | None,
) -> tuple[tuple[str, ...], Mirror | None]:
    if isinstance(images, PartDataset):
        return images.parts, images.mirror
    names: tuple[str, ...] = ()
    mirror: Mirror | None = None
    if detector is not None and hasattr(detector, "parts_"):
        names, mirror = detector.parts_, detector.mirror_
    elif predictions is not None:
        names, mirror = predictions.parts, mirrored_parts(predictions.parts)
    samples = as_samples(images)
    if samples is None:
        if names:
            return names, mirror
        raise DatasetError(
            f"the part source {source!r} needs to know the parts; fit on a data set, or give a fitted detector."
        )
    count = len(samples[0].points)
    if not names:
        return tuple(f"part {i + 1}" for i in range(count)), None
    if len(names) != count:
        raise DatasetError(
            f"{samples[0].id}: the sample has {count} parts where the detector has {len(names)}; give samples of the data "
            "that it was fitted to."
        )
    return names, mirror


def _chosen(
    parts: Sequence[str] | None,
    names: tuple[str, ...],
    detector: PartDetector | None = None,
    predictions: PartPredictions | None = None,
) -> tuple[str, ...]:
    if isinstance(parts, str):
        raise OptionError(f"parts must be a sequence of names, not {parts!r}; write parts=[{parts!r}].")
    chosen = names if parts is None else tuple(parts)
    if not chosen:
        raise OptionError("parts is empty; name at least one part, or use source='none'.")
    if len(set(chosen)) != len(chosen):
        twice = next(name for name in chosen if chosen.count(name) > 1)
        raise OptionError(f"the part {twice!r} is given more than once; name it once.")
    givers = {"data": names}
    if detector is not None:
        givers["detector"] = detector.parts_
    if predictions is not None:
        givers["predictions"] = predictions.parts
    for giver, known in givers.items():
        for name in chosen:
            if name not in known:
                raise OptionError(
                    f"there is no part {name!r} in the part set of the {giver}; nearest names: {nearest_names(name, known)}."
                )
    return chosen


def _mirror(chosen: tuple[str, ...], names: tuple[str, ...], mirror: Mirror) -> Mirror:
    """Return the mirror among the chosen parts; a part whose other side is not among them stays."""
    place = {name: i for i, name in enumerate(chosen)}
    other = [names[int(mirror[names.index(name)])] for name in chosen]
    return np.array([place.get(name, i) for i, name in enumerate(other)], dtype=np.intp)


def _prior(images: ImagesLike, names: tuple[str, ...], region: str) -> StaticPrior:
    samples = as_samples(images)
    if samples is None:
        raise DatasetError(
            "the part source 'prior' learns from marked parts; fit on a data set, or on samples."
        )
    unique: dict[str, Sample] = {sample.id: sample for sample in samples}
    prior = StaticPrior.fit(PartDataset(names, tuple(unique.values())))
    if region == "crop" and not prior.has_box:
        raise DatasetError(
            "the part source 'prior' with the region 'crop' learns positions in the box, and no training image has one; add "
            "boxes, or use region='image'."
        )
    return prior
