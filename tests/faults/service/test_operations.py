"""What an operator does to a service at work: watch it, stop it, copy it."""

import contextlib
import datetime as dt
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from genux_server.config import Config
from genux_server.store import Store, lease

GENUX = [sys.executable, "-c", "from genux_server.cli import main; main()"]


def new_batch(n_events):
    now = dt.datetime.now(dt.UTC).isoformat()
    events = [
        {"type": "event", "event_id": str(uuid.uuid4()), "at": now, "unit_id": "u", "name": "clicked"}
        for _ in range(n_events)
    ]
    body = json.dumps({"batch_id": str(uuid.uuid4()), "sent_at": now, "events": events}).encode()
    return body, [event["event_id"] for event in events]


def send(keys, body):
    headers = {"Authorization": f"Bearer {keys['server_key']}"}
    request = urllib.request.Request(f"{keys['url']}/v1/events", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def scrape(keys):
    with urllib.request.urlopen(f"{keys['url']}/metrics", timeout=30) as response:
        text = response.read().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_any_web_process_answers_for_all_of_them_and_for_the_worker(service):
    service.environment["GENUX_WEB_PROCESSES"] = "2"
    keys = service.start()
    for _ in range(40):  # on connections of their own, so that both processes get some
        send(keys, new_batch(2)[0])
    service.wait_until_drained()
    for _ in range(4):
        found = scrape(keys)
        assert found["genux_ingest_batches_total", ("result", "ok")] == 40
        assert found["genux_ingest_events_total", ("trust", "server")] == 80
        assert found["genux_lake_batches_total",] == 40
    service.kill("worker")
    send(keys, new_batch(2)[0])
    service.wait_until_drained()
    assert scrape(keys)["genux_lake_batches_total",] == 41  # what the dead process had counted still counts


def test_a_worker_of_its_own_shows_its_metrics_and_stops_at_once(service):
    service.start()
    service.stop()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = service.environment | {"GENUX_WORKER_METRICS_PORT": str(port), "GENUX_METRICS_TOKEN": "t0ken"}
    command = [*GENUX, "worker", "--data", str(service.data)]
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": "Bearer t0ken"})
    try:
        deadline = time.monotonic() + 60
        text = ""
        while "genux_worker_lease_held 1.0" not in text:
            assert time.monotonic() < deadline, text
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as response:
                text = response.read().decode()
            time.sleep(0.1)
    finally:
        worker.terminate()
    assert worker.wait(30) == 0


def test_counters_lie_in_memory_and_go_with_the_service(service):
    keys = service.start()
    port = keys["url"].rpartition(":")[2]
    folder = Path(f"/dev/shm/genux-telemetry-{os.getuid()}-127.0.0.1-{port}")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.glob("*.db"))
    service.kill("all")
    assert folder.exists()
    assert service.start() == keys
    found = scrape(keys)
    assert found["genux_ingest_batches_total", ("result", "ok")] == 0  # what the killed one left behind is gone
    assert service.stop() == 0
    assert not folder.exists()


def test_every_line_of_the_log_is_an_object_and_carries_its_request(service):
    keys = service.start()
    request = urllib.request.Request(f"{keys['url']}/nowhere?x=1", headers={"X-Request-Id": "edge-99"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as refused:
        assert refused.headers["X-Request-Id"] == "edge-99"
    deadline = time.monotonic() + 60
    while not service.ready()["worker"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert service.stop() == 0
    lines = [line for line in (service.data / "serve.log").read_text().splitlines() if line.startswith("{")]
    logged = [json.loads(line) for line in lines]
    assert [line["route"] for line in logged if line.get("request_id") == "edge-99"] == ["unmatched"]
    assert any(line["message"] == "this worker is active" for line in logged)


def test_a_stop_finishes_the_request_under_way_and_gives_the_lease_back(service):
    keys = service.start()
    body, ids = new_batch(3)
    host, port = "127.0.0.1", service.port
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {keys['server_key']}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(head + body[:-10])
        time.sleep(0.5)
        service.process.terminate()
        time.sleep(0.5)
        connection.sendall(body[-10:])
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"200 OK" in answer.partition(b"\r\n")[0]
    assert b'"accepted":3' in answer
    assert service.process.wait(60) == 0
    config = Config(data=service.data)
    store = Store(config.control_url, config.inbox_url)
    with store.inbox_writing() as connection:
        assert lease.acquire(connection, "the next one", 5)
    store.close()
    service.start()
    service.wait_until_drained()
    assert service.events_in_lake() == dict.fromkeys(ids, 1)


@pytest.mark.slow
def test_a_backup_under_load_restores_what_was_acknowledged_before_it_once(service, new_service, tmp_path):
    keys = service.start()
    sent, acknowledged, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            body, ids = new_batch(50)
            sent.extend(ids)
            send(keys, body)
            acknowledged.extend(ids)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    before = set(acknowledged)
    subprocess.run([*GENUX, "backup", str(tmp_path / "copy"), "--data", str(service.data)], check=True)
    after = set(sent)
    service.kill("worker")
    stop.set()
    for thread in threads:
        thread.join()
    service.close()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    restored = new_service(elsewhere)
    subprocess.run([*GENUX, "restore", str(tmp_path / "copy"), "--data", str(elsewhere)], check=True)
    manifest = json.loads((tmp_path / "copy" / "backup.json").read_text())
    published = restored.events_in_lake()
    assert manifest["lake"]["chunk"] > 0
    assert published
    restored.start()
    restored.wait_until_drained()
    restored.stop()
    found = restored.events_in_lake()
    assert published.keys() < found.keys()  # something waited in the inbox
    assert before <= found.keys() <= after
    assert set(found.values()) == {1}
