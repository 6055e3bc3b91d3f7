"""Searches for each part's channel that compute few of the gradient maps: bounded search, which is exact, and racing."""

from partscope.search.ceiling import fewest_maps
from partscope.search.cells import Cells, RecordedCells
from partscope.search.result import Found, Search
from partscope.search.run import DROPPING, check_search, search_cells, search_channels
from partscope.search.screening import Screening, screen, silent_channels

__all__ = [
    "DROPPING",
    "Cells",
    "Found",
    "RecordedCells",
    "Screening",
    "Search",
    "check_search",
    "fewest_maps",
    "screen",
    "search_cells",
    "search_channels",
    "silent_channels",
]
