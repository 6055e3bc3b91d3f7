"""What a search found, and what it cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from partscope.dataset import Skipped
from partscope.selection import Ranking


@dataclass(frozen=True)
class Search:
    """What a search cost.

    Parameters
    ----------
    method: `"bounded"` or `"racing"`.
    images, channels: N and K; an exhaustive search computes N·K gradient maps and N forward passes.
    top: channels per part whose costs are complete.
    silent: cells that the forward pass knew to have no centre.
    maps: gradient maps that the search asked for.
    forwards: forward passes, those of the screening included.
    checks: backward passes of the screening, at most one an image.
    fewest: gradient maps that a search would need that was told the answer, see :func:`partscope.search.fewest_maps`.
    delta: the risk that a winner is lost; None where there is none.
    compared: comparisons by a confidence bound, pairs of a part and a channel over all looks.
    looks: how often a pair may be compared.
    """

    method: str
    images: int
    channels: int
    top: int
    silent: int
    maps: int
    forwards: int
    checks: int
    fewest: int
    delta: float | None
    compared: int
    looks: int

    @property
    def exhaustive_maps(self) -> int:
        """Gradient maps of an exhaustive search."""
        return self.images * self.channels

    @property
    def saved(self) -> float:
        """Share of the exhaustive search's gradient maps that were not computed."""
        return 1 - (self.maps + self.checks) / max(1, self.exhaustive_maps)

    @property
    def ceiling(self) -> float:
        """The largest `saved` that a search could have reached."""
        return 1 - self.fewest / max(1, self.exhaustive_maps)

    def ratio(self, forward: float) -> float:
        """Return the exhaustive search's cost over this one's, with a forward pass worth `forward` gradient maps."""
        whole = self.exhaustive_maps + self.images * forward
        return whole / max(self.maps + self.checks + self.forwards * forward, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        more = {"exhaustive_maps": self.exhaustive_maps, "saved": self.saved, "ceiling": self.ceiling}
        return {**asdict(self), **more}


@dataclass(frozen=True, eq=False)
class Found:
    """A ranking with what it cost.

    Parameters
    ----------
    ranking: all channels; those that were dropped have lower bounds.
    search: counts, None where no channel was dropped.
    failures: images that could not be read, with the reason.
    computed: gradient maps that this call computed; the others were found in the folder.
    """

    ranking: Ranking
    search: Search | None
    failures: tuple[Skipped, ...] = ()
    computed: int = 0
