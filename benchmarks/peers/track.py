# Run in an environment that holds the SDK it is asked for; most of them publish no types.
# ruff: noqa: ANN001, ANN201, ANN202
"""Track events with one SDK, default settings, pointed at a local URL; run by benchmarks/sdk_track_peers.py.

    python peers/track.py SDK URL FOLDER cost N
    python peers/track.py SDK URL FOLDER kill N              tracks, says so, then waits to be killed
    python peers/track.py SDK URL FOLDER outage N SECONDS    tracks over that time, says so, closes when told to
    python peers/track.py SDK URL FOLDER again SECONDS       the app's next start: tracks nothing, closes

Each closes as its documentation asks a process to before it ends. An event is a user, a name, three properties.
"""

import json
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version

BURST, PAUSE_SECONDS = 100, 0.05


@dataclass
class Sender:
    name: str
    track: object
    flush: object
    close: object


def properties(mark):
    return {"page": "home", "plan": "pro", "mark": f"mark-{mark}x"}


def genux(url, folder):
    import genux

    gx = genux.Client(url, "key", directory=folder)

    def track(mark):
        with gx.unit("user-42"):
            gx.track("clicked", **properties(mark))

    return Sender(f"genux {version('genux')}, unit and track", track, lambda: gx.flush(20.0), gx.close)


def posthog(url, _folder):
    from posthog import Posthog

    client = Posthog("phc_key", host=url)

    def track(mark):
        client.capture("clicked", distinct_id="user-42", properties=properties(mark))

    return Sender(f"posthog {version('posthog')}, capture", track, client.flush, client.shutdown)


def segment(url, _folder):
    from segment.analytics.client import Client

    client = Client("key", host=url)

    def track(mark):
        client.track("user-42", "clicked", properties(mark))

    name = f"segment {version('segment-analytics-python')}, track"
    return Sender(name, track, client.flush, client.shutdown)


def langfuse_event(url, _folder):
    from langfuse import Langfuse

    client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=url)

    def track(mark):
        client.create_event(name="clicked", metadata={"user": "user-42", **properties(mark)})

    return Sender(f"langfuse {version('langfuse')}, create_event", track, client.flush, client.shutdown)


def langfuse_score(url, _folder):
    from langfuse import Langfuse

    client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=url)
    trace_id = "0af7651916cd43dd8448eb211c80319c"

    def track(mark):
        client.create_score(name="clicked", value=1.0, trace_id=trace_id, metadata=properties(mark))

    return Sender(f"langfuse {version('langfuse')}, create_score", track, client.flush, client.shutdown)


def cost(sender, n):
    """Microseconds. Bursts with pauses, so that no queue overflows and no row is of dropping."""
    for mark in range(200):
        sender.track(mark)
    sender.flush()
    each = []
    began = time.process_time()
    for mark in range(200, 200 + n):
        start = time.perf_counter_ns()
        sender.track(mark)
        each.append((time.perf_counter_ns() - start) / 1e3)
        if mark % BURST == 0:
            time.sleep(PAUSE_SECONDS)
    sender.flush()
    process = (time.process_time() - began) / n * 1e6
    each.sort()
    sender.close()
    figures = {"p50": each[n // 2], "p99": each[int(n * 0.99)], "mean": sum(each) / n, "process": process}
    print(json.dumps({"name": sender.name, "n": n + 200, **figures}), flush=True)


def say(sender):
    print(json.dumps({"name": sender.name}), flush=True)


def kill(sender, n):
    for mark in range(n):
        sender.track(mark)
    say(sender)
    time.sleep(600)


def outage(sender, n, seconds):
    began = time.monotonic()
    for mark in range(n):
        sender.track(mark)
        if mark % BURST == 0:
            time.sleep(max(0.0, began + seconds * mark / n - time.monotonic()))
    say(sender)
    sys.stdin.readline()
    sender.close()


def again(sender, seconds):
    time.sleep(seconds)
    sender.close()


def main():
    sdk, url, folder, mode, *numbers = sys.argv[1:]
    globals()[mode](globals()[sdk](url, folder), *map(int, numbers))


if __name__ == "__main__":
    main()
