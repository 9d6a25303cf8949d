"""The only room that writes Delta: accepted batches in, three tables out, each event exactly once."""

from genux_server.lake._lake import Lake, StaleChunkError

__all__ = ["Lake", "StaleChunkError"]
