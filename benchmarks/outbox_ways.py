"""Ways to keep an event before it is sent: what each costs its caller, and what a `kill -9` takes away.

    python benchmarks/outbox_ways.py

Every writer is a process of its own that keeps event after event, each timed, and kills itself in the end; what it left
is then counted by another. The event is the same, encoded by the same library; the service is a socket that nobody
answers. `one writer` and `four at once` are two runs of the same thing.
"""

import array
import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from _report import Report, parser

import genux
from genux._guard import Guard
from genux._ids import uuid7
from genux._outbox import Outbox
from genux._segments import segment_names
from genux.wire import Track

GROUP = 100
SETTLE_SECONDS = 1.5
MIB = 2**20
AT = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
ROWS = "CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, body BLOB)"
encode = msgspec.json.Encoder().encode

Keep = Callable[[], object]


def event() -> bytes:
    return encode(Track(event_id=uuid7(), at=AT, unit_id="user-42", name="clicked", properties={"page": "home"}))


def floor(folder: Path) -> Keep:
    """No bound, no batch, no lock, no count."""
    fd = os.open(folder / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return lambda: os.write(fd, event() + b"\n")


def outbox(folder: Path, *, fsync: bool = False) -> Keep:
    kept = Outbox(folder, 1_024 * MIB, 8 * MIB, Guard(strict=True), fsync=fsync)
    return lambda: kept.append(event())


def track(folder: Path, *, fsync: bool = False) -> Keep:
    gx = genux.Client("http://127.0.0.1:9", "key", directory=folder, fsync=fsync)
    gx.unit("user-42").__enter__()
    return lambda: gx.track("clicked", page="home")


def sqlite(folder: Path, synchronous: str = "NORMAL") -> Keep:
    connection = sqlite3.connect(folder / "events.db", isolation_level=None, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute(ROWS)
    return lambda: connection.execute("INSERT INTO event (body) VALUES (?)", (event(),))


def sqlite_grouped(folder: Path) -> Keep:
    connection = sqlite3.connect(folder / "events.db", isolation_level=None, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(ROWS)
    waiting: list[tuple[bytes]] = []

    def keep() -> None:
        waiting.append((event(),))
        if len(waiting) >= GROUP:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO event (body) VALUES (?)", waiting)
            connection.execute("COMMIT")
            waiting.clear()

    return keep


WAYS: dict[str, Callable[[Path], Keep]] = {
    "encode + os.write (floor)": floor,
    "genux outbox": outbox,
    "genux Client.track": track,
    "SQLite WAL, NORMAL": sqlite,
    f"SQLite WAL, {GROUP} a commit": sqlite_grouped,
}
POWER_CUT_WAYS: dict[str, Callable[[Path], Keep]] = {
    "genux outbox, fsync": lambda folder: outbox(folder, fsync=True),
    "genux Client.track, fsync": lambda folder: track(folder, fsync=True),
    "SQLite WAL, FULL": lambda folder: sqlite(folder, "FULL"),
}


def write(way: str, folder: Path, n_events: int, begin_at: float) -> None:
    """In a process of its own: keep events, all writers from the same moment, leave the costs beside them, die."""
    keep = {**WAYS, **POWER_CUT_WAYS}[way](folder)
    costs = array.array("q")
    time.sleep(max(0.0, begin_at - time.time()))
    for _ in range(n_events):
        begin = time.perf_counter_ns()
        keep()
        costs.append(time.perf_counter_ns() - begin)
    with (folder / f"{os.getpid()}.costs").open("wb") as file:
        costs.tofile(file)
    os.kill(os.getpid(), signal.SIGKILL)


def count(folder: Path) -> int:
    """Whole events found after everyone is dead."""
    if (folder / "events.db").exists():
        with sqlite3.connect(folder / "events.db") as connection:
            return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])
    folders = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    lines = [line for each in folders for name in segment_names(each) for line in (each / name).open("rb")]
    return sum(line.endswith(b"}\n") for line in lines)


def measure(way: str, base: Path, n_writers: int, n_events: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=base) as name:
        folder = Path(name)
        command = [sys.executable, __file__, "--write", way, name, str(n_events), str(time.time() + SETTLE_SECONDS)]
        quiet = subprocess.DEVNULL
        for writer in [subprocess.Popen(command, stderr=quiet) for _ in range(n_writers)]:
            assert writer.wait() == -signal.SIGKILL, way
        costs = array.array("q")
        for path in folder.glob("*.costs"):
            costs.frombytes(path.read_bytes())
        ordered = sorted(costs)
        assert len(ordered) == n_writers * n_events
        return {
            "way": way,
            "p50 us": ordered[len(ordered) // 2] / 1e3,
            "p99 us": ordered[int(len(ordered) * 0.99)] / 1e3,
            "p99.9 us": ordered[int(len(ordered) * 0.999)] / 1e3,
            "kept": len(ordered),
            "lost": len(ordered) - count(folder),
        }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=40_063, help="by each writer")
    arguments.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to be measured")
    given = arguments.parse_args()
    columns = {"way": "", "p50 us": ",.1f", "p99 us": ",.1f", "p99.9 us": ",.1f", "kept": ",d", "lost": ",d"}
    report = Report(__file__)
    for title, ways, n_writers, n_events in (
        ("One writer, us an event, lost on kill -9", WAYS, 1, given.events),
        ("Four writers at once, us an event, lost on kill -9", WAYS, 4, given.events),
        ("One writer, on the disk itself before the next event", POWER_CUT_WAYS, 1, given.events // 20),
    ):
        report.table(title, columns, [measure(way, given.folder, n_writers, n_events) for way in ways])
    report.save(given.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    main()
