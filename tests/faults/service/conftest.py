import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest


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


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    service.close()
