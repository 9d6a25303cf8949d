"""The real service as real processes, and hosts of the SDK that are real processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter

import duckdb
import psutil
import pytest

from genux_server.config import Config
from genux_server.lake import Lake
from genux_server.store import Store, inbox


class Service:
    """`genux serve` in processes of its own, on one data directory and port for as long as the test."""

    def __init__(self, data):
        self.data = data
        self.keys_file = data / "keys.json"
        self.process = None
        self.port = 0
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("GENUX_")}

    def start(self):
        command = [sys.executable, "-c", "from genux_server.cli import main; main()", "serve"]
        command += ["--data", str(self.data), "--port", str(self.port), "--print-keys-json", str(self.keys_file)]
        with (self.data / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                keys = json.loads(self.keys_file.read_text())
                with urllib.request.urlopen(keys["url"] + "/readyz", timeout=5):
                    self.port = int(keys["url"].rpartition(":")[2])
                    return keys
            time.sleep(0.1)
        raise AssertionError((self.data / "serve.log").read_text()[-3_000:])

    def ready(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as response:
            return json.load(response)

    def wait_until_drained(self):
        """Until every accepted batch is in the lake."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            ready = self.ready()
            if ready["waiting_batches"] == 0:
                return
            time.sleep(0.1)
        raise AssertionError(ready)

    def events_in_lake(self, column="event_id", name="clicked"):
        """How often each value of a column is in the lake's events of that name."""
        with self._store() as store:
            with store.inbox_reading() as connection:
                files = Lake(Config(data=self.data).lake_path).files(inbox.lake_versions(connection))
            with duckdb.connect() as connection:
                query = f"SELECT {column}, count(*) FROM read_parquet(?) WHERE name = ? GROUP BY 1"
                return Counter(dict(connection.execute(query, [list(files.events), name]).fetchall()))

    def dropped(self):
        """Events that SDKs reported as given up, by reason."""
        with self._store() as store, store.inbox_reading() as connection:
            rows = connection.exec_driver_sql("SELECT reason, sum(n_events) FROM dropped_count GROUP BY reason")
            return {reason: int(n_events) for reason, n_events in rows}

    @contextlib.contextmanager
    def _store(self):
        config = Config(data=self.data)
        store = Store(config.control_url, config.inbox_url)
        yield store
        store.close()

    def kill(self, victim):
        """SIGKILL to `main`, `worker`, `web` or `all`."""
        main = psutil.Process(self.process.pid)
        children = main.children()
        workers = [child for child in children if child.cmdline()[-1] == "worker"]
        if victim == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        web = [child for child in children if child not in workers]
        for process in {"main": [main], "worker": workers, "web": web, "all": []}[victim]:
            process.kill()
        if victim in {"main", "all"}:
            self.process.wait()

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="session")
def new_service():
    """Makes a service on a data directory; it is still to be started."""
    made = []

    def make(data):
        made.append(Service(data))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(new_service, tmp_path):
    service = new_service(tmp_path)
    yield service
    service.close()


@pytest.fixture
def launch(tmp_path):
    """Runs a host in a process of its own: a command, or Python source in which `gx` is a client of the service.

    Its outbox is below `tmp_path`. What still runs at the end of the test is killed, children included.
    """
    running = []

    def run(host, *, url, key, wait=True, preamble="gx = genux.Client()", **environment):
        if isinstance(host, str):
            code = f"import os, signal, sys, time, genux\n{preamble}\n" + textwrap.dedent(host)
            host = [sys.executable, "-W", "error", "-c", code]
        process = subprocess.Popen(
            host,
            env={
                **os.environ,
                "GENUX_URL": url,
                "GENUX_API_KEY": key,
                "GENUX_DIR": str(tmp_path / "outbox"),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        if wait:
            process.out, process.err = process.communicate(timeout=120)
        return process

    yield run
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
