"""What a durable `track` costs its caller, beside the floor: the same line encoded and written with `os.write`.

    python benchmarks/sdk_track.py [--json PATH]

The service is a socket that nobody answers, so that shipping is not measured; figures are of one thread.
"""

import datetime as dt
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from _report import Report, parser

import genux
from genux.wire import Track

N_EVENTS = 20_000


def timed(function: Callable[[], object]) -> tuple[float, float, float]:
    """Mean, median and 99th percentile of one call, in microseconds."""
    function()
    costs = []
    for _ in range(N_EVENTS):
        begin = time.perf_counter_ns()
        function()
        costs.append(time.perf_counter_ns() - begin)
    costs.sort()
    return statistics.fmean(costs) / 1e3, costs[N_EVENTS // 2] / 1e3, costs[int(N_EVENTS * 0.99)] / 1e3


def main() -> None:
    asked = parser(__doc__).parse_args()
    # A client that may not wait at its end may still write while the folder goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        encode = msgspec.json.Encoder().encode
        event = Track(
            event_id="0" * 36,
            at=dt.datetime.now(dt.UTC),
            unit_id="user-42",
            name="clicked",
            properties={"page": "home"},
        )
        fd = os.open(Path(folder) / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        floor = timed(lambda: os.write(fd, encode(event) + b"\n"))
        os.close(fd)
        gx = genux.Client("http://127.0.0.1:9", "key", directory=folder, exit_flush_seconds=0.0)
        with gx.unit("user-42"):
            cost = timed(lambda: gx.track("clicked", page="home"))
        kept = gx.status()
        assert kept.accepted == N_EVENTS + 1, kept
        gx.close()
    report = Report(__file__)
    report.table(
        f"us for one event, {N_EVENTS:,} events",
        {"what": "", "mean": ".2f", "p50": ".2f", "p99": ".2f", "x floor (p50)": ".2f"},
        [
            {"what": name, "mean": mean, "p50": median, "p99": tail, "x floor (p50)": median / floor[1]}
            for name, (mean, median, tail) in (("encode + os.write", floor), ("Client.track, durable", cost))
        ],
    )
    report.save(asked.json, events=N_EVENTS)


if __name__ == "__main__":
    main()
