"""A chunk survives a crash at any point: whatever was committed before, running it again completes it."""

import datetime as dt
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import duckdb
import pytest

from genux_server.lake import Lake, _lake
from genux_server.model import TABLES, IngestedBatch, LakeVersions

AT = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def batches_of(chunk: int) -> list[IngestedBatch]:
    """The same two batches every time the chunk is run: three events of each kind."""
    common = {"at": "2026-11-20T12:00:00Z", "unit_id": "u"}
    batches = []
    for number in range(2):
        events = [
            {"type": "exposure", "event_id": f"x{chunk}-{number}", "experiment": "e", "variant": "a", **common},
            {"type": "event", "event_id": f"t{chunk}-{number}", "name": "n", **common},
            {"type": "call", "event_id": f"c{chunk}-{number}", "call_id": "c", "latency_seconds": 1, **common},
        ]
        batches.append(
            IngestedBatch(
                project_id=1,
                environment_id=1,
                batch_id=f"{chunk}-{number}",
                received_at=AT,
                events=json.dumps(events).encode(),
            )
        )
    return batches


def event_ids(lake: Lake, versions: LakeVersions) -> Counter:
    files = lake.files(versions)
    with duckdb.connect() as connection:
        return Counter(
            row[0]
            for table in TABLES
            for row in connection.read_parquet(list(getattr(files, table))).project("event_id").fetchall()
        )


def expected_ids(last_chunk: int) -> Counter:
    return Counter(f"{kind}{chunk}-{n}" for kind in "xtc" for chunk in range(1, last_chunk + 1) for n in range(2))


class PowerCut(BaseException):
    """Not an Exception, so that nothing in between can handle it."""


@pytest.mark.parametrize("after_commit", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("chunk", [1, 2], ids=["new tables", "existing tables"])
def test_a_crash_around_any_commit_loses_and_doubles_nothing(tmp_path, monkeypatch, chunk, nth, after_commit):
    lake = Lake(tmp_path)
    for earlier in range(1, chunk):
        lake.append(earlier, batches_of(earlier))
    real, calls = _lake.write_deltalake, 0

    def write_then_die(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls < nth or after_commit:
            real(*args, **kwargs)
        if calls == nth:
            raise PowerCut

    monkeypatch.setattr(_lake, "write_deltalake", write_then_die)
    with pytest.raises(PowerCut):
        lake.append(chunk, batches_of(chunk))
    monkeypatch.undo()

    again = Lake(tmp_path)
    versions = again.append(chunk, batches_of(chunk))
    assert event_ids(again, versions) == expected_ids(chunk)
    assert (versions.exposures, versions.events, versions.calls) == (chunk - 1,) * 3


WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_crashes import batches_of
from genux_server.lake import Lake
lake, chunk = Lake(sys.argv[1]), int(sys.argv[3])
while True:
    print("start", chunk, flush=True)
    lake.append(chunk, batches_of(chunk))
    chunk += 1
"""


def test_a_worker_killed_at_random_moments_loses_and_doubles_nothing(tmp_path):
    rng = random.Random(1)
    chunk = 1
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "lake"), str(__file__.rsplit("/", 1)[0]), str(chunk)],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [process.stdout.readline() for _ in range(rng.randint(1, 4))]
        time.sleep(rng.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        started = [int(line.split()[1]) for line in (*lines, *process.stdout)]
        process.wait()
        process.stdout.close()
        chunk = max(started)
    lake = Lake(tmp_path / "lake")
    versions = lake.append(chunk, batches_of(chunk))
    assert chunk > 2
    assert event_ids(lake, versions) == expected_ids(chunk)
