"""The statistics: pure functions over mergeable summaries; `build_report` is the way in."""

from genux_server.stats.report import build_report

__all__ = ["build_report"]
