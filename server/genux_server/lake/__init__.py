"""The only room that writes Delta: accepted batches in, three tables out, each event exactly once."""

from genux_server.lake._lake import Lake, StaleChunkError
from genux_server.lake._units import FoundRow, FoundUnit

__all__ = ["FoundRow", "FoundUnit", "Lake", "StaleChunkError"]
