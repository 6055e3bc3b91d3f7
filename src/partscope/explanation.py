"""Why a part is found where it is: the channels that its detector rests on, and what each adds in one image.

This is the way back from combinations of channels to single channels, as in the paper. The evidence of the linear detector is
a sum over channels, so what one channel adds can be told exactly: its weights times its activations, less the same for the
background's mean activations. Of the channel detector, which rests on one channel for each part, the runners-up of its
ranking are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils.validation import check_is_fitted

from partscope.channel_maps import all_channel_maps
from partscope.detectors import ChannelDetector, LinearDetector, PartDetector
from partscope.errors import OptionError
from partscope.views import region_box, view

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PartChannel:
    """One channel that a part rests on.

    Parameters
    ----------
    layer, channel: where it is.
    strength: of the linear detector, the sum of its weights' magnitudes times its standard deviation in the background, with
        the sign of the weight at the cell itself; None of the channel detector.
    cost: of the channel detector, what the selection minimised; None of the linear detector.
    complete: False where the search dropped the channel and `cost` is a lower bound.
    """

    layer: str
    channel: int
    strength: float | None = None
    cost: float | None = None
    complete: bool = True


@dataclass(frozen=True, eq=False)
class Explanation:
    """One part in one image.

    Parameters
    ----------
    part: its name.
    channels: n channels, the strongest first.
    evidence: (h, w) what the part's position rests on: log-odds, or of the channel detector its channel's map.
    maps: (n, h', w') what each channel adds to it (signed), or of the channel detector each channel's map (gradient or squared activations).
    signed: whether `maps` are summands of `evidence`.
    frame: rectangle of the picture that the maps show, `(x, y, width, height)` in pixels.
    point: (2,) where the detector finds the part, in pixels; NaN where it does not.
    score: the detector's score.
    """

    part: str
    channels: tuple[PartChannel, ...]
    evidence: NDArray[np.float64]
    maps: NDArray[np.float64]
    signed: bool
    frame: Box
    point: NDArray[np.float64]
    score: float


def strongest_channels(detector: PartDetector, part: str, count: int = 10) -> tuple[PartChannel, ...]:
    """Return the channels that a part of a fitted detector rests on, the strongest first.

    Parameters
    ----------
    detector: `channel` or `linear`.
    count: how many to return at most.

    Raises
    ------
    NotFittedError: the detector has not been fitted.
    OptionError: there is no such part, its method has no channels, or `count` is below 1.
    """
    check_is_fitted(detector, "train_ids_")
    if part not in detector.parts_:
        raise OptionError(f"there is no part {part!r}; the parts are {', '.join(detector.parts_)}.")
    if count < 1:
        raise OptionError(f"the number of channels must be at least 1, not {count}.")
    if isinstance(detector, LinearDetector):
        if not detector.statistics_.shown[detector.parts_.index(part)]:
            return ()
        return tuple(
            PartChannel(layer, channel, strength=strength)
            for layer, channel, strength in detector.strongest_channels(part, count)
        )
    if isinstance(detector, ChannelDetector):
        return tuple(
            PartChannel(
                detector.backbone_.layer,
                int(one["channel"]),
                cost=float(one["cost"]),
                complete=bool(one["complete"]),
            )
            for one in detector.ranking_.top(part, count)
        )
    raise OptionError(
        f"what the method {detector.method!r} finds cannot be told from single channels; take a detector of the method linear or channel."
    )


def explain(
    detector: PartDetector, image: Image.Image, part: str, box: Box | None = None, *, count: int = 4
) -> Explanation:
    """Return what a part's position in one image rests on.

    Parameters
    ----------
    detector: fitted, `channel` or `linear`.
    image: upright RGB picture.
    part: its name.
    box: `(x, y, width, height)` in pixels, needed where the detector needs it.
    count: how many channels to return at most.

    Raises
    ------
    As :func:`strongest_channels` and :meth:`PartDetector.predict`. OptionError: no training image shows the part.
    """
    channels = strongest_channels(detector, part, count)
    if not channels:
        raise OptionError(
            f"no training image shows the part {part!r}, so there is nothing to explain; name another."
        )
    index = detector.parts_.index(part)
    found = detector.predict([image], [box] if detector.needs_box else None)
    if isinstance(detector, LinearDetector):
        evidence, maps, frame = _linear(detector, image, box, index, channels)
    else:
        assert isinstance(detector, ChannelDetector)  # strongest_channels refuses all others
        evidence, maps, frame = _channels(detector, image, box, channels)
    return Explanation(
        part,
        channels,
        evidence,
        maps,
        isinstance(detector, LinearDetector),
        frame,
        found.points[0, index],
        float(found.score[0, index]),
    )


_Maps = tuple[NDArray[np.float64], NDArray[np.float64], Box]


def _linear(
    detector: LinearDetector,
    image: Image.Image,
    box: Box | None,
    part: int,
    channels: tuple[PartChannel, ...],
) -> _Maps:
    evidence, seen = detector.evidence(image, box)
    grids, statistics = detector.grids_, detector.statistics_
    own = detector.discriminants_.weights[:, part]
    column = {(one.layer, one.channel): i for i, one in enumerate(channels)}
    chosen = np.zeros((len(own), len(channels)), dtype=np.float32)
    for feature, (layer, channel, _) in enumerate(grids.feature_names()):
        if (layer, channel) in column:
            chosen[feature, column[layer, channel]] = own[feature]
    features = [layer[0] for layer in grids(seen.inputs[None])]
    usual = statistics.total / max(statistics.cells, 1) @ chosen.astype(np.float64)
    maps = grids.combine(features, chosen).astype(np.float64) - usual[:, None, None]
    return evidence[part].astype(np.float64), maps, (*seen.origin, *seen.extent)


def _channels(
    detector: ChannelDetector, image: Image.Image, box: Box | None, channels: tuple[PartChannel, ...]
) -> _Maps:
    spec = detector.spec_
    seen = view(detector.backbone_.preprocessing, image, spec.region, box)
    numbers = [one.channel for one in channels]
    found = all_channel_maps(detector.backbone_, seen, spec.maps, numbers, reduction=spec.reduction)
    maps = found.maps.cpu()
    mask = found.mask(seen, region_box(spec.region, image.size, box)) if spec.region == "mask" else None
    if mask is not None:
        maps = maps * mask
    fields = maps.numpy().astype(np.float64)
    return fields[0], fields, found.frame(seen)
