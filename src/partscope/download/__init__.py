"""Data sets from their official sources: fetched with a checksum, continued after a stop, unpacked safely."""

from __future__ import annotations

from partscope.download.fetching import fetch
from partscope.download.sources import SOURCES, Source, download
from partscope.download.unpacking import unpack

__all__ = ["SOURCES", "Source", "download", "fetch", "unpack"]
