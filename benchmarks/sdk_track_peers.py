"""What one tracked event costs its caller, and what is lost on the way, beside three peers.

    python benchmarks/sdk_track_peers.py [--events 5000] [--outage-seconds 45] [--outage-events 20000] [--json PATH]

Every SDK runs in a process and environment of its own with default settings, pointed at a sink in another process that
answers at once, and closes as its documentation asks (benchmarks/peers/track.py). Costs are wall time of the call and
CPU of the whole process until everything is sent, the least of three passes over all SDKs.

Lost is what had not arrived after the app was started once more and ended well: an outbox on disk delivers then.
Killed: SIGKILL at once, and a second after the last of 20 events. Outage: the service is down while the events are
tracked, comes up, and the process ends; those runs go on side by side.
"""

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from _peers import FOLDER, PeerError, environment_of, python_of, run
from _report import Report, parser
from _server import count_marks, running

SCRIPT = FOLDER / "peers" / "track.py"
SDKS = {  # function in the script: environment
    "genux": "genux",
    "segment": "segment",
    "posthog": "posthog",
    "langfuse_event": "langfuse",
    "langfuse_score": "langfuse",
}
N_KILLED = 20
PASSES = 3
EXIT_SECONDS = 120.0
AGAIN_SECONDS = 10


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def cost(sdk: str, n: int) -> dict[str, Any]:
    with running() as url, tempfile.TemporaryDirectory() as folder:
        result = run(SDKS[sdk], SCRIPT, sdk, url, folder, "cost", str(n))
        return {**result, "arrived": count_marks(url) / result["n"]}


def least(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The least of each figure: whatever else the machine does only ever adds."""
    broken = next((result for result in results if "error" in result), None)
    if broken:
        return broken
    figures = {key: min(result[key] for result in results) for key in ("p50", "p99", "mean", "process", "arrived")}
    return {"name": results[0]["name"], **figures, "each": results}


def start(sdk: str, url: str, folder: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python_of(SDKS[sdk]), SCRIPT, sdk, url, folder, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment_of(folder),
    )


def said(process: subprocess.Popen[str]) -> str:
    """The name that it prints once everything is tracked."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"name"'):
            return str(json.loads(line)["name"])
    raise PeerError("could not be run: it ended before everything was tracked")


def start_again(sdk: str, url: str, folder: str) -> None:
    start(sdk, url, folder, "again", str(AGAIN_SECONDS)).communicate()


def killed(sdk: str, after_seconds: int) -> dict[str, Any]:
    with running() as url, tempfile.TemporaryDirectory() as folder:
        with start(sdk, url, folder, "kill", str(N_KILLED)) as process:
            name = said(process)
            time.sleep(after_seconds)
            process.kill()
        before = count_marks(url)
        start_again(sdk, url, folder)
        return {
            "name": name,
            "n": N_KILLED,
            "missing at the end": N_KILLED - before,
            "lost": N_KILLED - count_marks(url),
        }


def outlasted(sdk: str, n: int, seconds: int) -> dict[str, Any]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{port}"
        with start(sdk, url, folder, "outage", str(n), str(seconds)) as process:
            name = said(process)
            with running(port):
                began = time.monotonic()
                try:
                    process.communicate("\n", timeout=EXIT_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                exit_seconds = time.monotonic() - began
                before = count_marks(url)
                start_again(sdk, url, folder)
                lost = {"missing at the end": n - before, "lost": n - count_marks(url)}
    return {"name": name, "n": n, **lost, "exit s": exit_seconds}


def guarded(measure: Callable[..., dict[str, Any]], sdk: str, *arguments: int) -> dict[str, Any]:
    try:
        return measure(sdk, *arguments)
    except PeerError as error:
        return {"name": sdk, "error": str(error)}


def side_by_side(measure: Callable[..., dict[str, Any]], *arguments: int) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(len(SDKS)) as pool:
        return list(pool.map(lambda sdk: guarded(measure, sdk, *arguments), SDKS))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--events", type=int, default=5_000)
    arguments.add_argument("--outage-seconds", type=int, default=45)
    arguments.add_argument("--outage-events", type=int, default=20_000)
    asked = arguments.parse_args()
    report = Report(__file__)
    passes = [{sdk: guarded(cost, sdk, asked.events) for sdk in SDKS} for _ in range(PASSES)]
    rows = [least([each[sdk] for each in passes]) for sdk in SDKS]
    ours = rows[0].get("p50")
    rows = [{**row, "x genux": row["p50"] / ours} if ours and "p50" in row else row for row in rows]
    report.table(
        f"us for one track, {PASSES} times {asked.events:,} events",
        {"name": "", "p50": ".1f", "x genux": ".1f", "p99": ".1f", "mean": ".1f", "process": ".1f", "arrived": ".1%"},
        rows,
    )
    losses = {"name": "", "n": ",", "missing at the end": ",", "lost": ","}
    for seconds in (0, 1):
        title = f"Events lost of {N_KILLED}: SIGKILL {seconds} s after the last"
        report.table(title, losses, side_by_side(killed, seconds))
    report.table(
        f"Events lost: service down for {asked.outage_seconds} s of tracking, then up, then a normal end",
        {**losses, "exit s": ".1f"},
        side_by_side(outlasted, asked.outage_events, asked.outage_seconds),
    )
    report.save(asked.json, events=asked.events, outage_seconds=asked.outage_seconds)


if __name__ == "__main__":
    main()
