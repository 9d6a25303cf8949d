"""However a host dies, and however long the service is away: each accepted event is in the lake once."""

import signal
import time

import pytest

FORKS = "import warnings; warnings.simplefilter('ignore', DeprecationWarning); gx = genux.Client()"


def once(start, stop):
    return dict.fromkeys(map(float, range(start, stop)), 1)


def test_a_host_killed_at_once(host, in_lake):
    assert host("track(0, 1_700)\nos.kill(os.getpid(), signal.SIGKILL)").returncode == -signal.SIGKILL
    assert in_lake() == once(0, 1_700)


@pytest.mark.slow
@pytest.mark.parametrize("moment_seconds", [0.02, 0.2, 1.1])
def test_a_host_killed_while_it_ships(host, in_lake, tmp_path, moment_seconds):
    count = tmp_path / "count"
    source = f"""
import threading
threading.Timer({moment_seconds}, os.kill, (os.getpid(), signal.SIGKILL)).start()
with open({str(count)!r}, "wb", 0) as file:
    for n in range(1_000_000):
        track(n, n + 1)
        os.pwrite(file.fileno(), b"%08d" % n, 0)
"""
    assert host(source, preamble="gx = genux.Client(flush_seconds=0.01)").returncode == -signal.SIGKILL
    n_tracked = int(count.read_text()) + 1
    assert in_lake() in (once(0, n_tracked), once(0, n_tracked + 1))


def test_a_forked_child_that_is_killed(host, in_lake):
    forked = host(
        """
track(0, 300)
pid = os.fork()
if not pid:
    track(300, 1_000)
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
track(1_000, 1_100)
""",
        preamble=FORKS,
    )
    assert forked.returncode == 0, forked.err
    assert in_lake() == once(0, 1_100)


def test_a_host_that_leaves_by_os_exit(host, in_lake):
    assert host("track(0, 1_300)\nos._exit(7)").returncode == 7
    assert in_lake() == once(0, 1_300)


@pytest.mark.slow
def test_fifty_thousand_events_while_the_service_is_down_all_the_time(service, host, in_lake):
    service.stop()
    down = host("track(0, 50_000)\nassert gx.status().accepted == 50_000, gx.status()")
    assert down.returncode == 0, down.err
    service.start()
    assert in_lake() == once(0, 50_000)


@pytest.mark.slow
def test_a_service_killed_again_and_again_while_hosts_ship(service, host, in_lake):
    source = "for n in range({0}, {0} + 40_000, 10):\n    track(n, n + 10)\n    time.sleep(0.002)"
    hosts = [
        host(source.format(first), wait=False, preamble="gx = genux.Client(flush_seconds=0.05)")
        for first in (0, 40_000)
    ]
    for victim in ("web", "worker", "all", "main"):
        time.sleep(1.2)
        service.kill(victim)
        if victim in {"all", "main"}:
            service.start()
    for process in hosts:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert in_lake() == once(0, 80_000)


def test_what_a_killed_host_had_to_drop_is_told_to_the_service(service, host, in_lake):
    before = service.dropped()
    killed = host(
        """
track(0, 10)
for _ in range(23):
    genux.track("outside of a unit")
genux.track("\\ud800")
with gx.unit("user-1"):
    genux.track("large", text="x" * 250_000)
    genux.track("no JSON", value=object())
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert killed.returncode == -signal.SIGKILL
    assert in_lake() == once(0, 10)
    told = {reason: n_events - before.get(reason, 0) for reason, n_events in service.dropped().items()}
    assert told == {"no_unit": 24, "too_large": 1, "bad_value": 1}
