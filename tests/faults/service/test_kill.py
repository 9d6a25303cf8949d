import contextlib
import datetime as dt
import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter

import pytest


def send(url, key, body):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/events", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def new_batch(n_events):
    now = dt.datetime.now(dt.UTC).isoformat()
    events = [
        {"type": "event", "event_id": str(uuid.uuid4()), "at": now, "unit_id": f"u{index}", "name": "clicked"}
        for index in range(n_events)
    ]
    body = json.dumps({"batch_id": str(uuid.uuid4()), "sent_at": now, "events": events}).encode()
    return body, [event["event_id"] for event in events]


class Load:
    """Threads that send batch after batch, each again and again until it is acknowledged, as an outbox does."""

    def __init__(self, url, key, threads=4):
        self.sent, self.acknowledged, self.again = [], 0, 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(url, key)) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, url, key):
        while not self._stop.is_set():
            body, ids = new_batch(50)
            self.sent.extend(ids)
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException, urllib.error.HTTPError):
                    self.acknowledged += send(url, key, body)["accepted"]
                    break
                self.again += 1
                time.sleep(0.05)

    def finish(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_the_service_starts_answers_and_stops(service):
    keys = service.start()
    body, ids = new_batch(3)
    assert send(keys["url"], keys["server_key"], body) == {"status": "ok", "accepted": 3, "rejected": []}
    service.wait_until_drained()
    assert service.stop() == 0
    assert service.events_in_lake() == Counter(ids)
    assert service.keys_file.stat().st_mode & 0o777 == 0o600
    # the keys in the file still work, so that a restarted demonstration goes on with them
    assert service.start() == keys


@pytest.mark.slow
def test_killing_any_process_at_any_moment_loses_and_doubles_nothing(service):
    keys = service.start()
    load = Load(keys["url"], keys["server_key"])
    choice = random.Random(20261122)
    for victim in ("main", "worker", "web", "all", "main", "worker", "all", "web"):
        time.sleep(choice.uniform(0.3, 2.5))
        service.kill(victim)
        if victim in {"main", "all"}:
            service.start()
    time.sleep(1)
    load.finish()
    service.wait_until_drained()
    service.stop()
    found = service.events_in_lake()
    assert load.again > 0
    assert found == Counter(load.sent)
