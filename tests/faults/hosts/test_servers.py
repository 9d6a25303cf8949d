"""Web servers that fork, recycle and kill their workers: what a worker accepted is in the lake once."""

import contextlib
import http.client
import itertools
import os
import re
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

N_REQUESTS = 1_200
APP = """
import os
from urllib.parse import parse_qs

import genux

gx = genux.Client(flush_seconds=0.2)


def app(environ, start_response):
    with gx.unit("user-1"):
        gx.track(os.environ["EVENT"], int(environ["QUERY_STRING"]))
    assert not gx.status().dropped
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Visitors:
    """Threads that ask for one number after the other until told enough, each number once."""

    def __init__(self, port, n_requests, threads=6):
        self.answered, self.asked, self.pids = set(), set(), set()
        self._port = port
        self._numbers = iter(range(n_requests))
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        for n in self._numbers:
            self.asked.add(float(n))
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", f"/?{n}")
                answer = connection.getresponse()
                pid = answer.read()
                assert answer.status == 200
                self.answered.add(float(n))
                self.pids.add(int(pid))
            connection.close()

    def finish(self):
        for thread in self._threads:
            thread.join()

    @property
    def running(self):
        return any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def app(tmp_path):
    """A folder with the app in it."""
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def listening_port(process, pattern):
    """The port that a server names when it starts; what it says later is read and thrown away."""
    found = threading.Event()
    port = 0

    def read():
        nonlocal port
        for line in process.stderr:
            if not found.is_set() and (match := re.search(pattern, line)):
                port = int(match[1])
                found.set()

    threading.Thread(target=read, daemon=True).start()
    assert found.wait(30)
    return port


def kill_workers_until_done(visitors, master):
    for victim in itertools.count():
        if not visitors.running:
            return
        time.sleep(0.15)
        workers = psutil.Process(master).children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            workers[victim % len(workers)].kill()


def assert_each_answered_once(found, visitors, at_least):
    assert set(found.values()) == {1}
    assert visitors.answered <= found.keys() <= visitors.asked
    assert len(visitors.answered) >= at_least


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (["--preload", "-k", "sync"], "terminate"),
        pytest.param(["--preload", "-k", "gthread", "--threads", "3"], "kill workers", marks=pytest.mark.slow),
        pytest.param(["-k", "sync"], "kill all", marks=pytest.mark.slow),
        pytest.param(["-k", "gthread", "--threads", "3"], "terminate", marks=pytest.mark.slow),
    ],
)
def test_gunicorn_with_workers_that_are_recycled(host, in_lake, app, arguments, end):
    command = [sys.executable, "-m", "gunicorn", "shop:app", "--chdir", str(app), "-b", "127.0.0.1:0", "-w", "4"]
    command += ["--max-requests", "60", "--max-requests-jitter", "30", "--no-control-socket", *arguments]
    server = host(command, wait=False)
    visitors = Visitors(listening_port(server, r"Listening at: http://127\.0\.0\.1:(\d+)"), N_REQUESTS)
    if end == "kill workers":
        kill_workers_until_done(visitors, server.pid)
    visitors.finish()
    if end == "kill all":
        os.killpg(server.pid, signal.SIGKILL)
    else:
        server.terminate()
    server.wait(60)
    assert len(visitors.pids) > 8
    assert_each_answered_once(in_lake(), visitors, N_REQUESTS // 2 if end == "kill workers" else N_REQUESTS)


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        ([], "terminate"),  # forked after the app was loaded, without the hooks of Python's forks
        pytest.param(["--enable-threads", "--threads", "3"], "kill workers", marks=pytest.mark.slow),
        pytest.param(["--lazy-apps", "--enable-threads"], "kill all", marks=pytest.mark.slow),
    ],
)
def test_uwsgi_with_workers_that_are_recycled(host, in_lake, app, arguments, end):
    command = [str(Path(sys.executable).with_name("uwsgi")), "--http-socket", "127.0.0.1:0", "--master"]
    command += [
        "--processes",
        "4",
        "--max-requests",
        "60",
        "--min-worker-lifetime",
        "0",
        "--chdir",
        str(app),
        "--module",
        "shop:app",
    ]
    command += ["--need-app", "--die-on-term", "--disable-logging", "--virtualenv", sys.prefix, *arguments]
    server = host(command, wait=False)
    visitors = Visitors(listening_port(server, r"bound to TCP address 127\.0\.0\.1:(\d+)"), N_REQUESTS // 2)
    if end == "kill workers":
        kill_workers_until_done(visitors, server.pid)
    visitors.finish()
    if end != "terminate":
        os.killpg(server.pid, signal.SIGKILL)
    else:
        server.terminate()
    server.wait(60)
    assert len(visitors.pids) > 4
    assert_each_answered_once(in_lake(), visitors, N_REQUESTS // 4 if end == "kill workers" else N_REQUESTS // 2)


def test_a_child_forked_behind_pythons_back_keeps_its_hands_off_its_parents_files(host, in_lake):
    forked = host(
        """
import ctypes
fork = ctypes.PyDLL(None).fork
assert gx.ready(20)
track(0, 120)
children = []
for first in (1_000, 2_000, 3_000):
    pid = fork()
    if not pid:
        signal.alarm(60)
        track(first, first + 200)
        gx.track(7)  # refused: outside of a unit, and counted by the child alone
        ok = gx.status().accepted == 200 and gx.status().dropped == {"no_unit": 1}
        gx.flush(1)
        os._exit(not ok)
    children.append(pid)
track(120, 240)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
track(240, 360)
assert gx.status().accepted == 360 and not gx.status().dropped, gx.status()
assert gx.flush(30), gx.status()
"""
    )
    assert forked.returncode == 0, forked.err
    expected = [*range(360), *range(1_000, 1_200), *range(2_000, 2_200), *range(3_000, 3_200)]
    assert in_lake() == dict.fromkeys(map(float, expected), 1)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_and_of_an_executor(launch, service, name, in_lake, tmp_path, method):
    script = tmp_path / "jobs.py"
    script.write_text(
        textwrap.dedent("""
        import multiprocessing, os, sys, warnings
        from concurrent.futures import ProcessPoolExecutor

        warnings.simplefilter("ignore", DeprecationWarning)
        import genux

        gx = genux.Client(flush_seconds=0.05)

        def work(first):
            with gx.unit("user-1"):
                for n in range(first, first + 50):
                    gx.track(os.environ["EVENT"], n)
            return gx.status().dropped

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            work(0)
            processes = [context.Process(target=work, args=(first,)) for first in (50, 100)]
            for process in processes: process.start()
            for process in processes: process.join()
            assert not any(process.exitcode for process in processes)
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                assert not any(pool.map(work, range(150, 650, 50)))
        """)
    )
    jobs = launch(
        [sys.executable, "-W", "error", str(script), method],
        url=service.keys["url"],
        key=service.keys["server_key"],
        EVENT=name,
    )
    assert jobs.returncode == 0, jobs.err
    assert in_lake() == dict.fromkeys(map(float, range(650)), 1)
