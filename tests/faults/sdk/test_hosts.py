"""Hosts of every kind: none is held up by a service in trouble, and none loses what it tracked on its way out."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

TRACK = """
def track(start, stop):
    with gx.unit("user-1"):
        for n in range(start, stop):
            genux.track("clicked", n=n)
"""
NEXT_START = "assert gx.flush(20), gx.status()"
LONG_AGO_SECONDS = 3_600


def assert_all_arrived_once(service, n_events):
    assert service.tracked == dict.fromkeys(range(n_events), 1)


@pytest.fixture
def stalling():
    """The port of something that takes connections, and what it is given, and says nothing, or a byte now and then."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def hold(connection, drip):
        with connection:
            connection.recv(65_536)
            if drip:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.2):
                if drip:
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

    def start(*, drip):
        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=hold, args=(connection, drip), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    stop.set()
    listener.close()


HANGING_NAMES = "import socket; socket.getaddrinfo = lambda *_args, **_kwargs: time.sleep(60)\n"


@pytest.mark.parametrize(
    ("scheme", "drip", "before"),
    [("http", False, ""), ("http", True, ""), ("https", False, ""), ("http", False, HANGING_NAMES)],
    ids=["never answers", "answers a byte at a time", "stalls in TLS", "its name is never found"],
)
def test_a_service_that_holds_the_line_holds_up_neither_the_host_nor_its_exit(
    host, stalling, segments, scheme, drip, before
):
    """Each wait of the client may take a minute here, so that a host which waits for one is still there to be seen."""
    source = """
    with gx.unit("user-1"):
        assert gx.variant("ai-entry").key == "control"
    track(0, 1_200)
    assert not gx.flush(0.3)
    print("done", flush=True)
    """
    clients = "gx = [genux.Client(timeout_seconds=60, exit_flush_seconds=1.5) for _ in range(4)][-1]"
    process = host(
        TRACK + textwrap.dedent(source),
        preamble=before + clients,
        wait=False,
        GENUX_URL=f"{scheme}://localhost:{stalling(drip=drip)}",
    )
    assert process.stdout.readline() == "done\n", process.stderr.read()
    began = time.monotonic()
    assert process.wait(20) == 0, process.stderr.read()
    assert time.monotonic() - began < 2 * 1.5, "four clients share the time that one is allowed"
    assert sum(len(path.read_text().splitlines()) for path in segments()) == 1_200


def test_a_handler_that_tracks_after_our_own_exit_loses_nothing(service, launch):
    source = """
    import atexit, os
    atexit.register(lambda: track(100, 110))  # registered first, so run last
    import genux
    gx = genux.Client()
    atexit.register(lambda: track(110, 120))
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(source) + TRACK + "track(0, 100)"]
    left = launch(command, url=service.url, key="sk_made_up")
    assert (left.returncode, left.err) == (0, "")
    assert launch(NEXT_START, url=service.url, key="sk_made_up").returncode == 0
    assert_all_arrived_once(service, 120)


def test_daemon_threads_that_track_until_the_interpreter_is_gone_lose_nothing(service, host, tmp_path):
    """Each notes what it tracked when it is tracked: the last one may be tracked and not yet noted."""
    source = f"""
import threading
def work(first):
    with open({str(tmp_path)!r} + f"/noted-{{first}}", "wb", 0) as file:
        for n in range(first, first + 1_000_000):
            track(n, n + 1)
            os.pwrite(file.fileno(), b"%08d" % n, 0)
for first in (0, 1_000_000, 2_000_000):
    threading.Thread(target=work, args=(first,), daemon=True).start()
time.sleep(0.3)
"""
    assert host(TRACK + source).returncode == 0
    assert host(NEXT_START).returncode == 0
    assert set(service.tracked.values()) == {1}
    for first in (0, 1_000_000, 2_000_000):
        noted = int((tmp_path / f"noted-{first}").read_text())
        arrived = {n for n in service.tracked if first <= n < first + 1_000_000}
        assert arrived in ({*range(first, noted + 1)}, {*range(first, noted + 2)})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_host_ended_by_a_signal_loses_nothing(service, host, number):
    source = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell, both would be
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored from the start
track(0, 900)
print('tracked', flush=True)
time.sleep(60)
"""
    ended = host(TRACK + source, wait=False)
    assert ended.stdout.readline() == "tracked\n"
    ended.send_signal(number)
    assert ended.wait(30) != 0
    assert host(NEXT_START).returncode == 0
    assert_all_arrived_once(service, 900)


def test_tasks_of_an_event_loop_track_and_flush_beside_one_another(service, host):
    looped = host(
        """
import asyncio
async def task(first):
    with gx.unit(f"user-{first}"):
        for n in range(first, first + 100):
            gx.track("clicked", n=n)
            await asyncio.sleep(0)
async def main():
    cancelled = asyncio.create_task(asyncio.sleep(60))
    await asyncio.gather(*(task(first) for first in range(0, 1_000, 100)))
    cancelled.cancel()
    assert await asyncio.to_thread(gx.flush, 20)
asyncio.run(main())
"""
    )
    assert looped.returncode == 0, looped.err
    assert_all_arrived_once(service, 1_000)
    assert all(event["unit_id"] == f"user-{event['properties']['n'] // 100 * 100}" for event in service.events)


def test_a_sender_that_is_stopped_does_not_keep_the_others_from_shipping(service, host, tmp_path):
    arrived, go_on = threading.Event(), threading.Event()

    def hang(batch):
        service.answer = None
        arrived.set()
        go_on.wait(30)
        return service.keep(batch)

    service.answer = hang
    service.take = lambda batch: service.answer(batch) if service.answer else service.keep(batch)
    frozen = host(TRACK + "track(0, 600)\nassert gx.flush(60)\ntrack(600, 700)", wait=False)
    assert arrived.wait(20)
    frozen.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOWAIT)
    other = TRACK + "track({0}, {0} + 50)\nprint(gx.flush({1}))"
    assert host(other.format(700, 0.5)).out == "False\n"
    (lock,) = (tmp_path / "outbox").glob("*/sender.lock")
    os.utime(lock, (time.time() - LONG_AGO_SECONDS, time.time() - LONG_AGO_SECONDS))
    for first in (750, 800):
        host(other.format(first, 0.5))
    assert {*service.tracked} >= {*range(700, 850), *range(500, 600)}
    go_on.set()
    frozen.send_signal(signal.SIGCONT)
    _, err = frozen.communicate(timeout=60)
    assert frozen.returncode == 0, err
    assert host(NEXT_START).returncode == 0
    assert_all_arrived_once(service, 850)


def test_a_clock_that_jumps_loses_and_delays_nothing(service, host):
    jumpy = host(
        TRACK
        + """
real, real_ns = time.time, time.time_ns
for step, hours in enumerate((0, -30, 5, -1, 200, 0)):
    time.time, time.time_ns = lambda: real() + 3600 * hours, lambda: real_ns() + 3600 * 10**9 * hours
    track(step * 150, step * 150 + 150)
    if step % 2:
        assert gx.flush(20), gx.status()
assert gx.flush(20), gx.status()
"""
    )
    assert jumpy.returncode == 0, jumpy.err
    assert_all_arrived_once(service, 900)


UWSGI = """
import types
uwsgi = sys.modules["uwsgi"] = types.ModuleType("uwsgi")
uwsgi.worker_id = lambda: worker
uwsgi.mule_id = lambda: 0
worker = 0
gx = genux.Client()
"""


def test_under_uwsgi_no_thread_runs_before_the_worker_is_forked(service, host):
    forked = host(
        TRACK
        + """
import threading
track(0, 10)
assert not gx.ready(60)
assert not gx.flush(60)
assert threading.active_count() == 1
if not os.fork():
    worker = 1
    track(10, 20)
    assert gx.ready(20) and threading.active_count() == 2
    assert gx.flush(20)
    os._exit(0)
assert os.wait()[1] == 0
""",
        preamble=UWSGI,
    )
    assert forked.returncode == 0, forked.err
    assert_all_arrived_once(service, 20)


def test_a_disk_that_is_read_only_costs_no_event(service, host, tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip("cannot mount a file system")
    try:
        shipped = host(
            TRACK + "genux.track('outside')\ntrack(0, 1_200)\nassert gx.flush(20), gx.status()",
            GENUX_DIR=str(folder / "outbox"),
        )
        assert shipped.returncode == 0, shipped.err
        assert shipped.err.count("keeping events in memory") == 1
        assert_all_arrived_once(service, 1_200)
        assert [batch["dropped"] for batch in service.batches.values() if batch["dropped"]] == [{"no_unit": 1}]
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_what_was_dropped_is_told_once_though_every_process_died_in_the_telling(service, host):
    """The answer to the report is lost each time, and its sender is killed before it can hear of it."""
    service.stop()
    host("for _ in range(5): genux.track('outside of a unit')\nos.kill(os.getpid(), signal.SIGKILL)")
    service.start()

    def keep_but_never_say(batch):
        service.keep(batch)
        return 502, {}, b""

    service.answer = keep_but_never_say
    for _ in range(3):
        host("gx.flush(1)\nos.kill(os.getpid(), signal.SIGKILL)")
    service.answer = None
    assert host(NEXT_START).returncode == 0
    assert [batch["dropped"] for batch in service.batches.values()] == [{"no_unit": 5}]
    assert service.n_posts > 3


def test_events_are_on_the_disk_itself_when_asked(service, host):
    synced = host(
        TRACK
        + """
import fcntl
track(0, 10)
(fd,) = [int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")
         and os.readlink(f"/proc/self/fd/{fd}").endswith(".jsonl")]
assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DSYNC == os.O_DSYNC
assert gx.flush(20)
""",
        preamble="gx = genux.Client(fsync=True, flush_seconds=60)\ntime.sleep(0.5)",
    )
    assert synced.returncode == 0, synced.err
    assert_all_arrived_once(service, 10)
