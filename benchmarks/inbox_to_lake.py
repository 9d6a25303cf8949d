"""From the inbox's JSON to the lake, beside a raw Delta append of the same rows already decoded.

python benchmarks/inbox_to_lake.py [events in a chunk] [--json PATH]
"""

import datetime as dt
import tempfile
import time
import uuid

import msgspec
from _report import Report, parser, spread
from deltalake import WriterProperties, write_deltalake

from genux import wire
from genux_server.lake import Lake
from genux_server.lake._rows import arrow_tables
from genux_server.model import IngestedBatch

START = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
BATCH = 500
CHUNKS = 6


def event(number: int) -> wire.Event:
    """Two exposures, seven outcomes and one call in ten."""
    common = {
        "event_id": str(uuid.uuid4()),
        "at": START + dt.timedelta(milliseconds=number),
        "unit_id": f"user-{number // 10}",
        "properties": {"page": "/article/42"},
    }
    match number % 10:
        case 0 | 1:
            attributes = {"country": "KR", "plan": "pro"}
            return wire.Exposure(
                **common, experiment="ai-entry", variant="summary", surface="action", attributes=attributes
            )
        case 2:
            return wire.Call(
                **common,
                call_id=str(uuid.uuid4()),
                latency_seconds=1.25,
                requested_model="gpt-5-mini",
                served_model="gpt-5-mini-2026-08-07",
                tokens=wire.Tokens(input=812, cached=512, output=120),
                cost_usd="0.000431",
                attempts=[wire.Attempt(model="gpt-5-mini", latency_seconds=1.25)],
                assignments=[wire.AssignmentRef(experiment="ai-entry", variant="summary")],
            )
        case _:
            return wire.Track(**common, name="answer_seen")


def chunk_of(n_events: int) -> list[IngestedBatch]:
    return [
        IngestedBatch(
            project_id=1,
            environment_id=1,
            batch_id=str(uuid.uuid4()),
            received_at=START,
            sdk="genux-python 0.1.0",
            events=msgspec.json.encode([event(first + i) for i in range(min(BATCH, n_events - first))]),
        )
        for first in range(0, n_events, BATCH)
    ]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("events", nargs="?", type=int, default=50_000, help="in a chunk")
    asked = arguments.parse_args()
    n_events = asked.events
    batches = chunk_of(n_events)
    decoded = arrow_tables(1, batches)
    lake_seconds, raw_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"{folder}/lake")
        for chunk in range(1, CHUNKS + 1):
            began = time.perf_counter()
            lake.append(chunk, batches)
            lake_seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            for name, rows in decoded.items():
                write_deltalake(
                    f"{folder}/raw/{name}",
                    rows,
                    mode="append",
                    partition_by=["received_date"],
                    writer_properties=WriterProperties(compression="ZSTD"),
                )
            raw_seconds.append(time.perf_counter() - began)
    raw_best = min(raw_seconds[1:])
    rows = [
        {
            "what": name,
            **spread(seconds[1:]),
            "rows/s": n_events / min(seconds[1:]),
            "of raw": raw_best / min(seconds[1:]),
        }
        for name, seconds in (("inbox to lake", lake_seconds), ("raw Delta append", raw_seconds))
    ]
    report = Report(__file__)
    columns = {"what": "", "rows/s": ",.0f", "of raw": ".0%", "median": ".3f", "q1": ".3f", "q3": ".3f"}
    report.table(f"{n_events:,} events in batches of {BATCH}: best rows a second, and seconds a chunk", columns, rows)
    report.save(asked.json, events=n_events)


if __name__ == "__main__":
    main()
