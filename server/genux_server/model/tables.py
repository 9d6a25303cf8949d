"""The lake's three tables, column by column, and how a batch reaches them.

Types are Arrow's names. Every table is partitioned by `received_date`. `seq` is `(chunk << 32) | position`, unique over
the lake: it breaks ties between rows of equal time, so that every engine finds the same first exposure. `units` is a
JSON object of the ids of units of other kinds by kind, null where there are none.
"""

import datetime as dt
from collections.abc import Mapping

import msgspec

__all__ = ["CALLS", "EVENTS", "EXPOSURES", "TABLES", "IngestedBatch", "LakeFiles", "LakeVersions"]

_COMMON = {
    "project_id": "int64",
    "environment_id": "int64",
    "event_id": "string",
    "batch_id": "string",
    "at": "timestamp[us, UTC]",
    "received_at": "timestamp[us, UTC]",
    "received_date": "date32",
    "trust": "string",
    "sdk": "string",
    "seq": "int64",
    "unit_kind": "string",
    "unit_id": "string",
    "units": "string",
    "properties": "string",
}

EXPOSURES: Mapping[str, str] = {
    **_COMMON,
    "experiment": "string",
    "variant": "string",
    "epoch": "int64",
    "scheme": "string",
    "reason": "string",
    "forced": "bool",
    "surface": "string",
    "attributes": "string",
}
"""`properties` and `attributes` are JSON objects as text."""

EVENTS: Mapping[str, str] = {
    **_COMMON,
    "name": "string",
    "value": "float64",
    "call_id": "string",
    "exposure_id": "string",
    "known_id": "string",
}
"""Tracked events; an alias is a row called `genux_alias` with `known_id`. A resumed outcome has `call_id` or
`exposure_id` and an empty `unit_id`: the engine finds the unit through that row."""

CALLS: Mapping[str, str] = {
    **_COMMON,
    "call_id": "string",
    "feature": "string",
    "operation": "string",
    "provider": "string",
    "requested_model": "string",
    "served_model": "string",
    "service_tier": "string",
    "streaming": "bool",
    "status": "string",
    "error_type": "string",
    "http_status": "int64",
    "latency_seconds": "float64",
    "ttfb_seconds": "float64",
    "ttft_seconds": "float64",
    "chunks": "int64",
    "input_tokens": "int64",
    "cached_tokens": "int64",
    "cache_write_tokens": "int64",
    "output_tokens": "int64",
    "reasoning_tokens": "int64",
    "images": "int64",
    "audio_seconds": "float64",
    "characters": "int64",
    "usage_reason": "string",
    "cost_usd": "decimal128(30, 12)",
    "cost_reason": "string",
    "price_version": "string",
    "prompt": "string",
    "prompt_version": "string",
    "prompt_text": "string",
    "answer_text": "string",
    "n_attempts": "int64",
    "n_rate_limited": "int64",
    "attempts": "string",
    "fallback": "bool",
    "fallback_reason": "string",
    "retrieval": "string",
    "scores": "string",
    "assignments": "string",
}
"""`attempts`, `retrieval`, `scores` and `assignments` are JSON as text, the middle two null where there are none.
Tokens and cost are null when unknown, never 0."""

TABLES: Mapping[str, Mapping[str, str]] = {
    "exposures": EXPOSURES,
    "events": EVENTS,
    "calls": CALLS,
}


class IngestedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What the inbox keeps of a batch: the accepted events, as one JSON array, and who sent them.

    `trust` is `server`, `browser_verified` or `browser`.
    """

    project_id: int
    environment_id: int
    batch_id: str
    received_at: dt.datetime
    trust: str = "server"
    sdk: str = ""
    events: bytes = b"[]"


class LakeVersions(msgspec.Struct, frozen=True, kw_only=True):
    """One consistent state of the lake: the last chunk in it, and each table's Delta version (-1: no table yet)."""

    chunk: int = 0
    exposures: int = -1
    events: int = -1
    calls: int = -1

    def __str__(self) -> str:
        """Short form for people and keys, such as `c12-e11-v12-k9`."""
        return f"c{self.chunk}-e{self.exposures}-v{self.events}-k{self.calls}"


class LakeFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The Parquet files that make up one state of the lake; an empty tuple is an empty table.

    `received_date` is in the files' paths (`received_date=2026-11-22/`), not in the files.
    """

    versions: LakeVersions
    exposures: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
