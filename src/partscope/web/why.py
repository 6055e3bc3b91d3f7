"""*Why here?* What a part's place in one picture rests on, as maps to lay over it, and the channels behind it."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partscope.backbones import Backbone
from partscope.centres import find_centres
from partscope.errors import OptionError
from partscope.explanation import Explanation, explain, strongest_channels
from partscope.images import load_image
from partscope.maps import activation_maps, gradient_maps
from partscope.views import view
from partscope.web.features import FolderDetector
from partscope.web.session import Session

_T = TypeVar("_T")

#: Channels of a part that are listed, and pictures of a channel.
CHANNELS, PICTURES = 6, 24
#: Explanations that are kept; the page asks for the maps of one after another.
_KEPT = 8
#: Side in pixels of the maps' pictures.
_SIDE = 336
#: Dark violet over red to pale yellow: lightness rises evenly, so the map can be read without its hues.
_RAMP = np.array(
    [(24, 10, 60), (115, 29, 109), (203, 65, 73), (246, 140, 35), (250, 230, 130)], dtype=np.float64
)
_BELOW = np.array((40, 110, 200), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Way:
    """One way from a picture to a part's place.

    Parameters
    ----------
    name, title, note: for the page.
    field: (h, w) the map.
    point: `(x, y)` in pixels, or None where there is none.
    """

    name: str
    title: str
    note: str
    field: NDArray[np.float64]
    point: tuple[float, float] | None


class Reasons:
    """Explains a session's detector."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: OrderedDict[tuple[object, ...], Any] = OrderedDict()

    # -- one part in one picture ------------------------------------------------------------------------------------
    def explanation(self, id: str, key: str) -> Explanation:
        """Return why a part is found where it is in a picture.

        Raises
        ------
        OptionError: nothing has been learned, or there is no such part, or no training picture shows it.
        ImageError: the picture cannot be read.
        """
        detector, part = self._detector(key)

        def make() -> Explanation:
            image = load_image(self._session.folder.path(id))
            with self._session.store.turn:
                return explain(detector, image, part, count=CHANNELS)

        return self._once(("why", id, part, detector), make)

    def ways(self, id: str, key: str) -> list[Way]:
        """Return the linear combination, and the best single channel by its activation and by its gradient.

        The single channel is the one whose strongest cell lies nearest to the part on the marked pictures, which is the
        paper's selection with the maximum of the activation as centre. Errors as :meth:`explanation`.
        """
        detector, part = self._detector(key)
        found = self.explanation(id, key)
        ways = [
            Way(
                "linear",
                "Linear combination",
                f"{detector.grids_.features:,} features together; the place is that of the whole arrangement.",
                found.evidence,
                _point(found.point),
            )
        ]
        best = self.best_channel(key)
        if best is None:
            return ways
        layer, channel, distance, count = best

        def make() -> list[Way]:
            return self._single(
                detector, id, layer, channel, f"on {count} marked pictures {distance:.1%} off at the median"
            )

        return ways + self._once(("ways", id, part, detector, layer, channel), make)

    def _single(self, detector: FolderDetector, id: str, layer: str, channel: int, note: str) -> list[Way]:
        image = load_image(self._session.folder.path(id))
        backbone: Backbone = replace(detector.backbone_, layer=layer)
        seen = view(backbone.preprocessing, image, "image")
        side = seen.inputs.shape[-1]
        with self._session.store.turn:
            activation = activation_maps(backbone, seen.inputs, [channel]).float().cpu()
            gradient = gradient_maps(backbone, seen.inputs, [channel]).float().cpu()
        ways = []
        for name, title, maps, centre in (
            ("activation", "Activation of one channel", activation, "maximum"),
            ("gradient", "Gradient of one channel, mixture", gradient, "mixture"),
        ):
            at = find_centres(maps, centre).points[0] * torch.tensor(
                [side / maps.shape[2], side / maps.shape[1]]
            )
            ways.append(
                Way(
                    name,
                    title,
                    f"{layer}, channel {channel}; {note if name == 'activation' else 'the same channel as in the paper'}.",
                    maps[0].numpy().astype(np.float64),
                    _point(seen.to_image(at).numpy().astype(np.float64)),
                )
            )
        return ways

    def best_channel(self, key: str) -> tuple[str, int, float, int] | None:
        """Return the channel whose strongest cell lies nearest to a part on the marked pictures.

        Returns
        -------
        Layer, channel, the median distance as a share of the picture's diagonal, and the number of pictures; None where no
        marked picture was looked at yet.
        """
        session, peaks = self._session, self._session.store.peaks
        gaps = []
        for id, marks in session.project.marked().items():
            point = marks.points.get(key)
            if point is None or id not in peaks.places or id not in session.folder:
                continue
            size = np.array(session.size(id), dtype=np.float64)
            gaps.append(
                np.linalg.norm((peaks.places[id].astype(np.float64) - np.array(point) / size) * size, axis=1)
                / np.hypot(*size)
            )
        if not gaps:
            return None
        medians = np.median(np.array(gaps), axis=0)
        column = int(medians.argmin())
        return (*peaks.named(column), float(medians[column]), len(gaps))

    # -- one channel ------------------------------------------------------------------------------------------------
    def channel(self, layer: str, channel: int) -> dict[str, Any]:
        """Return the pictures that excite a channel most.

        Raises
        ------
        OptionError: there is no such channel, or no picture was looked at yet.
        """
        session, peaks = self._session, self._session.store.peaks
        if not peaks.values:
            raise OptionError("no picture was looked at yet; find parts first.")
        column = peaks.column(layer, channel)
        if column is None:
            raise OptionError(f"there is no channel {channel} in {layer[:60]!r}.")
        ids = [id for id in list(peaks.values) if id in session.folder]
        order = sorted(ids, key=lambda id: -float(peaks.values[id][column]))[:PICTURES]
        return {
            "layer": layer,
            "channel": channel,
            "looked": len(ids),
            "of": len(session.folder),
            "pictures": [
                {
                    "id": id,
                    "name": session.folder.get(id).shown,
                    "value": float(peaks.values[id][column]),
                    "place": peaks.places[id][column].tolist(),
                }
                for id in order
            ],
            "parts": self._parts_of(layer, channel),
        }

    def _parts_of(self, layer: str, channel: int) -> list[str]:
        """Return the parts that rest on a channel, among their strongest."""
        detector = self._session.learner.detector
        if detector is None:
            return []
        return [
            part
            for part in detector.parts_
            if any(
                (one.layer, one.channel) == (layer, channel)
                for one in strongest_channels(detector, part, CHANNELS)
            )
        ]

    # -- within -----------------------------------------------------------------------------------------------------
    def _detector(self, key: str) -> tuple[FolderDetector, str]:
        detector = self._session.learner.detector
        if detector is None:
            raise OptionError("nothing has been learned yet; find parts first.")
        part = self._session.project.parts.names.get(key)
        if part is None or part not in detector.parts_:
            raise OptionError("the detector does not know this part yet; find parts again.")
        return detector, part

    def _once(self, key: tuple[object, ...], make: Callable[[], _T]) -> _T:
        known: _T | None = self._known.get(key)
        if known is None:
            known = self._known[key] = make()
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return known


def _point(point: NDArray[np.float64]) -> tuple[float, float] | None:
    return (float(point[0]), float(point[1])) if np.isfinite(point).all() else None


def picture_of(field: NDArray[np.float64], *, signed: bool = False) -> bytes:
    """Return a map as a PNG to lay over the picture: the stronger, the lighter and the less transparent.

    Parameters
    ----------
    field: (h, w).
    signed: whether 0 has a meaning: then what lies below it is blue, and nothing is transparent by its rank.
    """
    finite = np.nan_to_num(field, nan=0.0, posinf=0.0, neginf=0.0)
    if signed:
        strength = finite / max(np.abs(finite).max(), 1e-12)
    else:
        # Log-odds fall far below where nothing is; what is below the median is "nothing" alike.
        low, high = np.median(finite), finite.max()
        strength = np.clip((finite - low) / max(high - low, 1e-12), 0.0, 1.0)
    image = Image.fromarray(strength.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    smooth = np.clip(np.asarray(image, dtype=np.float64), -1.0, 1.0)
    level = np.clip(smooth, 0.0, 1.0) * (len(_RAMP) - 1)
    colour = np.stack([np.interp(level, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)], axis=2)
    colour[smooth < 0] = _BELOW
    alpha = np.clip(np.abs(smooth) ** 0.8, 0.0, 1.0) * 225
    out = io.BytesIO()
    Image.fromarray(np.dstack([colour, alpha]).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
