"""Frozen data that store, engine, stats, decision and pages share, so that those rooms need not know each other.

`facts` is what the engine computes from the lake (or `genux analyze` from a file), `report` what the statistics make
of it. What people configure stands in `genux.specs`.
"""

from genux_server.model.facts import (
    ArmCount,
    CallFacts,
    Cell,
    Epoch,
    Facts,
    FunnelCount,
    Moments,
    Outlier,
    Quantiles,
    QuantileSummary,
    RiskTable,
)
from genux_server.model.report import (
    ArmReport,
    ArmResult,
    Check,
    Comparison,
    FunnelStep,
    Message,
    MetricReport,
    Money,
    Report,
    SeriesPoint,
    Verdict,
)
from genux_server.model.tables import TABLES, IngestedBatch, LakeFiles, LakeVersions

__all__ = [
    "TABLES",
    "ArmCount",
    "ArmReport",
    "ArmResult",
    "CallFacts",
    "Cell",
    "Check",
    "Comparison",
    "Epoch",
    "Facts",
    "FunnelCount",
    "FunnelStep",
    "IngestedBatch",
    "LakeFiles",
    "LakeVersions",
    "Message",
    "MetricReport",
    "Moments",
    "Money",
    "Outlier",
    "QuantileSummary",
    "Quantiles",
    "Report",
    "RiskTable",
    "SeriesPoint",
    "Verdict",
]
