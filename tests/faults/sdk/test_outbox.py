"""Every accepted event arrives exactly once, whatever happens to the host, the service or the disk."""

import json
import os
import signal
import subprocess
import textwrap
import time

import pytest

TRACK = """
def track(start, stop):
    with gx.unit("user-1"):
        for n in range(start, stop):
            genux.track("clicked", n=n)
"""
NEXT_START = "assert gx.flush(20), gx.status()"


def assert_all_arrived_once(service, n_events):
    assert service.tracked == dict.fromkeys(range(n_events), 1)


def test_a_host_killed_at_once_loses_nothing(service, host, segments):
    service.stop()
    killed = host(TRACK + "track(0, 1_234)\nos.kill(os.getpid(), signal.SIGKILL)")
    assert killed.returncode == -signal.SIGKILL
    assert segments()
    service.start()
    later = host(NEXT_START)
    assert later.returncode == 0, later.err
    assert_all_arrived_once(service, 1_234)
    assert not segments()


def test_a_host_killed_while_it_ships_loses_nothing_and_repeats_nothing(service, host):
    for round_ in range(5):
        body = f"""
        gx.ready()
        track({round_ * 3_000}, {round_ * 3_000 + 2_000})
        time.sleep(0.0{round_}1)
        track({round_ * 3_000 + 2_000}, {round_ * 3_000 + 3_000})
        os.kill(os.getpid(), signal.SIGKILL)
        """
        host(TRACK + textwrap.dedent(body), preamble="gx = genux.Client(flush_seconds=0.01)")
    assert host(NEXT_START).returncode == 0
    assert_all_arrived_once(service, 15_000)


@pytest.mark.parametrize("n_events", [5_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_a_service_that_is_down_all_the_while_gets_everything_when_it_is_up(service, host, n_events):
    service.stop()
    down = host(TRACK + f"track(0, {n_events})\nassert not gx.flush(0.5)\nprint(gx.status().accepted)")
    assert down.returncode == 0, down.err
    assert down.out == f"{n_events}\n"
    assert down.err.count("events are kept, and sent when it works again") == 1
    service.start()
    assert host(NEXT_START).returncode == 0
    assert_all_arrived_once(service, n_events)


def test_a_service_that_comes_back_is_found_by_the_same_process(service, host):
    service.stop()
    process = host(
        TRACK + "track(0, 5_000)\nprint('tracked', flush=True)\nassert gx.flush(30), gx.status()", wait=False
    )
    assert process.stdout.readline() == "tracked\n"
    service.start()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert_all_arrived_once(service, 5_000)


def test_forked_children_deliver_their_own_events_and_none_of_the_parents(service, host):
    forked = host(
        TRACK
        + """
gx.ready()
track(0, 700)
children = []
for child in range(1, 4):
    pid = os.fork()
    if not pid:
        track(child * 700, child * 700 + 700)
        assert gx.status().accepted == 700, gx.status()
        sys.exit(0)
    children.append(pid)
track(2_800, 3_500)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
assert gx.flush(20), gx.status()
""",
        preamble="import warnings; warnings.simplefilter('ignore', DeprecationWarning); gx = genux.Client()",
    )
    assert forked.returncode == 0, forked.err
    assert_all_arrived_once(service, 3_500)


def test_a_server_that_forks_right_after_making_its_client_has_workers_that_assign(service, host):
    forked = host(
        """
        for _ in range(8):
            pid = os.fork()
            if pid == 0:
                signal.alarm(30)
                ok = gx.ready(20)
                with gx.unit("user-1"):
                    ok = ok and gx.variant("ai-entry").reason == "ASSIGNED"
                os._exit(not (ok and gx.flush(20)))
            assert os.waitpid(pid, 0)[1] == 0
        """
    )
    assert forked.returncode == 0, forked.err
    assert len(service.events) == 8


def test_children_forked_while_the_price_list_loads_price_their_calls(service, host):
    done = host(
        """
import threading

def one_call(n):
    with gx.unit(f"user-{n}"), gx.call(model="gpt-5-mini", provider="openai") as call:
        call.usage(input_tokens=1_000, output_tokens=1_000)

assert gx.ready(20)
one_call(0)
shipping = threading.Thread(target=gx.flush, args=(30,))
shipping.start()  # imports the price list, which takes its time
children = []
for n in range(1, 9):
    time.sleep(0.03)
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        one_call(n)
        os._exit(not gx.flush(30))
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)
shipping.join()
""",
        preamble="import warnings; warnings.simplefilter('ignore', DeprecationWarning); gx = genux.Client()",
    )
    assert done.returncode == 0, done.err
    costs = {event["unit_id"]: event.get("cost_usd") for event in service.events if event["type"] == "call"}
    assert costs == dict.fromkeys((f"user-{n}" for n in range(9)), "0.00225")


def test_children_of_a_killed_parent_take_over_its_shipping(service, host):
    process = host(
        TRACK
        + """
gx.ready()
track(0, 600)
assert gx.flush(10)
parent = os.getpid()
if os.fork():
    track(600, 650)
    os.kill(parent, signal.SIGKILL)
while os.getppid() == parent:
    time.sleep(0.01)
track(650, 1_000)
flushed = gx.flush(20)
print(flushed, gx.status().shipped, flush=True)
os._exit(0)
""",
        preamble="import warnings; warnings.simplefilter('ignore', DeprecationWarning); gx = genux.Client()",
    )
    assert process.returncode == -signal.SIGKILL
    assert process.out == "True 400\n", process.err
    assert_all_arrived_once(service, 1_000)


def test_a_child_that_only_lives_on_does_not_hold_its_dead_parents_batches(service, host):
    def hang(batch):
        service.answer = None
        time.sleep(1)
        return service.keep(batch)

    service.answer = hang
    process = host(
        TRACK
        + """
track(0, 600)
time.sleep(0.5)  # the first batch is on its way, its file locked
pid = os.fork()
if pid:
    print(pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
""",
        preamble="import warnings; warnings.simplefilter('ignore', DeprecationWarning); "
        "gx = genux.Client(flush_seconds=0.01)",
        wait=False,
    )
    child = int(process.stdout.readline())
    try:
        process.wait(20)
        later = host(NEXT_START)
        assert later.returncode == 0, later.err
        os.kill(child, 0)
    finally:
        os.kill(child, signal.SIGKILL)
    assert_all_arrived_once(service, 600)


def test_a_process_frozen_after_a_flush_has_nothing_in_flight(service, host):
    frozen = host(
        TRACK + "track(0, 700)\nassert gx.flush(20)\nos.kill(os.getpid(), signal.SIGSTOP)\ntrack(700, 800)", wait=False
    )
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOWAIT)
    assert_all_arrived_once(service, 700)
    service.stop()
    service.start()
    frozen.send_signal(signal.SIGCONT)
    _, err = frozen.communicate(timeout=60)
    assert frozen.returncode == 0, err
    assert_all_arrived_once(service, 800)


@pytest.mark.parametrize("leave", ["os._exit(3)", "sys.exit(3)", "raise SystemExit(3)"])
def test_however_a_process_leaves_its_events_arrive(service, host, leave):
    left = host(TRACK + f"track(0, 800)\n{leave}")
    assert left.returncode == 3, left.err
    assert host(NEXT_START).returncode == 0
    assert_all_arrived_once(service, 800)


def test_a_normal_exit_ships_by_itself(service, host, segments):
    assert host(TRACK + "track(0, 800)").returncode == 0
    assert_all_arrived_once(service, 800)
    assert not segments()


def test_many_threads_and_a_signal_handler_that_tracks_lose_nothing(service, host):
    threads = host(
        TRACK
        + """
import threading
extra = iter(range(8_000, 1_000_000))
def on_alarm(*_):
    n = next(extra)
    track(n, n + 1)
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
workers = [threading.Thread(target=track, args=(i * 1_000, i * 1_000 + 1_000)) for i in range(7)]
for worker in workers: worker.start()
track(7_000, 8_000)
for worker in workers: worker.join()
signal.setitimer(signal.ITIMER_REAL, 0)
assert gx.flush(20), gx.status()
print(next(extra))
"""
    )
    assert threads.returncode == 0, threads.err
    n_events = int(threads.out)
    assert n_events > 8_000
    assert_all_arrived_once(service, n_events)


def test_a_line_torn_by_a_power_cut_spoils_no_other(service, host, segments):
    service.stop()
    host(TRACK + "track(0, 10)\nos.kill(os.getpid(), signal.SIGKILL)")
    (segment,) = segments()
    segment.write_bytes(segment.read_bytes() + b'{"type":"event","event_id":"torn')
    service.start()
    later = host("assert gx.flush(20)\nprint(gx.status().dropped)")
    assert later.out == "{'torn': 1}\n"
    assert_all_arrived_once(service, 10)


def test_an_answer_lost_on_the_way_back_repeats_the_same_batch(service, host):
    lost = []

    def keep_but_fail(batch):
        service.keep(batch)
        lost.append(batch["batch_id"])
        service.answer = None
        return 502, {}, b""

    service.answer = keep_but_fail
    assert host(TRACK + "track(0, 100)\nassert gx.flush(20)").returncode == 0
    assert lost
    assert service.n_posts > len(service.batches)
    assert_all_arrived_once(service, 100)


def test_a_poison_batch_is_parked_and_its_neighbours_go_on(service, host, tmp_path):
    def refuse_the_first(batch):
        service.answer = None
        return 400, {}, b'{"code": "unreadable"}'

    service.answer = refuse_the_first
    done = host(TRACK + "track(0, 1_200)\nassert gx.flush(20)\ns = gx.status()\nprint(s.parked, s.dropped)")
    assert done.returncode == 0, done.err
    assert done.out == "1 {'parked': 500}\n"
    assert "HTTP 400" in done.err
    (parked,) = (tmp_path / "outbox").glob("*/parked/*.jsonl")
    assert len(parked.read_text().splitlines()) == 500
    assert sum(service.tracked.values()) == 700


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_refusal_keeps_the_events_and_says_so_once(service, host, segments, status):
    service.answer = lambda _batch: (status, {}, b"")
    refused = host(
        TRACK + "track(0, 600)\nassert not gx.flush(0.3)\ntrack(600, 700)\nassert not gx.flush(0.3)",
        preamble="gx = genux.Client(flush_seconds=0.01)",
    )
    assert refused.returncode == 0, refused.err
    assert refused.err.count("\n") == 1
    assert segments()
    service.answer = None
    assert host(NEXT_START).returncode == 0
    assert_all_arrived_once(service, 700)


def test_retry_after_is_honoured_even_when_the_host_flushes(service, host):
    service.answer = lambda _batch: (429, {"Retry-After": "20"}, b"")
    asked = host(TRACK + "track(0, 10)\nassert not gx.flush(0.5)\nassert not gx.flush(0.5)")
    assert asked.returncode == 0, asked.err
    assert service.n_posts == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://", "ftp://x", "http://[bad", "http://x:y"])
def test_a_wrong_url_never_disturbs_the_host(host, url):
    odd = host(TRACK + "gx.unit('u').__enter__()\nprint(gx.variant('ai-entry').key)\ntrack(0, 10)", GENUX_URL=url)
    assert (odd.returncode, odd.out) == (0, "control\n"), odd.err


def test_the_snapshot_is_kept_for_a_start_without_the_service(service, host):
    decide = "gx.unit('user-7').__enter__()\nprint(gx.variant('ai-entry').key, gx.variant('ai-entry').reason)"
    first = host("assert gx.ready(10)\n" + decide)
    service.stop()
    second = host(decide)
    assert "ASSIGNED" in first.out
    assert second.out == first.out


NOBODY = """
import email.utils, encodings.idna, http.client, importlib.metadata, logging, tempfile, genux._shipper
genux.Client, genux._shipper.sdk()  # the interpreter's own files may be out of nobody's reach
os.setgid(54321)
os.setuid(54321)
gx = genux.Client()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become a user without a home")
@pytest.mark.parametrize("home", ["", "/root", "/nonexistent"])
def test_a_user_without_a_home_measures_all_the_same(service, host, tmp_path, home):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    temporary.chmod(0o1777)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    homeless = host(
        TRACK + "track(0, 600)\nassert gx.flush(20), gx.status()\nprint(gx._delivery.outbox.directory)",
        preamble=NOBODY,
        GENUX_DIR="",
        HOME=home,
        XDG_STATE_HOME="",
        TMPDIR=str(temporary),
    )
    assert homeless.returncode == 0, homeless.err
    assert homeless.out.startswith(str(temporary / "genux-54321"))
    assert_all_arrived_once(service, 600)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may make a folder that is another's")
def test_a_temporary_folder_that_another_user_laid_out_is_not_trusted(service, host, tmp_path):
    trap = tmp_path / "genux-0"
    trap.mkdir()
    os.chown(trap, 54321, 54321)
    wary = host(
        TRACK + "track(0, 10)\nassert gx.flush(20)\nprint(gx._delivery.outbox.directory)",
        GENUX_DIR="",
        HOME="/proc/nowhere",
        XDG_STATE_HOME="relative",
        TMPDIR=str(tmp_path),
    )
    assert wary.returncode == 0, wary.err
    assert list(trap.iterdir()) == []
    assert_all_arrived_once(service, 10)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_events_in_memory_and_writes_them_back(service, host, small_disk):
    service.stop()
    filler = small_disk / "filler"
    full = host(
        TRACK
        + f"""
with open({str(filler)!r}, "wb", 0) as file:
    try:
        while True: file.write(b"x" * 4096)
    except OSError:
        pass
track(0, 3_000)
status = gx.status()
assert status.accepted == 3_000 and status.in_memory > 0 and not status.dropped, status
os.unlink({str(filler)!r})
time.sleep(1.1)
track(3_000, 3_001)
print(gx.status().accepted, gx.status().dropped)
print('ready', flush=True)
sys.stdin.readline()
assert gx.flush(30), gx.status()
""",
        wait=False,
        GENUX_DIR=str(small_disk / "outbox"),
    )
    assert full.stdout.readline() == "3001 {}\n"
    assert full.stdout.readline() == "ready\n"
    service.start()
    _, err = full.communicate("\n", timeout=60)
    assert full.returncode == 0, err
    assert err.count("keeping events in memory") == 1
    assert_all_arrived_once(service, 3_001)


def test_a_folder_that_cannot_be_written_still_ships_from_memory(service, host, tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    unwritable = host(TRACK + "track(0, 1_200)\nassert gx.flush(20), gx.status()", GENUX_DIR=str(in_the_way / "outbox"))
    assert unwritable.returncode == 0, unwritable.err
    assert unwritable.err.count("keeping events in memory") == 1
    assert_all_arrived_once(service, 1_200)


def test_memory_is_bounded_while_the_disk_refuses(service, host, tmp_path):
    service.stop()
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    bounded = host(
        TRACK + "track(0, 1_000)\ns = gx.status()\nprint(s.accepted + s.dropped['memory_full'], s.accepted < 1_000)",
        preamble="gx = genux.Client(max_memory_bytes=20_000)",
        GENUX_DIR=str(in_the_way / "outbox"),
    )
    assert bounded.out == "1000 True\n", bounded.err


def test_the_outbox_is_bounded_on_disk_and_tells_the_service_what_it_dropped(service, host, segments):
    service.stop()
    bounded = host(
        TRACK
        + """
track(0, 20_000)
s = gx.status()
assert s.accepted + s.dropped['outbox_full'] == 20_000
assert 0 < s.dropped['outbox_full']
print(s.accepted, s.dropped['outbox_full'], flush=True)
sys.stdin.readline()
assert gx.flush(30)
""",
        wait=False,
        preamble="gx = genux.Client(max_outbox_bytes=1_000_000)",
    )
    accepted, dropped = map(int, bounded.stdout.readline().split())
    assert sum(path.stat().st_size for path in segments()) < 1_000_000 + 256 * 1_024
    service.start()
    _, err = bounded.communicate("\n", timeout=60)
    assert bounded.returncode == 0, err
    assert sum(service.tracked.values()) == accepted
    assert sum(batch["dropped"].get("outbox_full", 0) for batch in service.batches.values()) == dropped


def test_files_are_for_their_owner_only(host, segments, service):
    service.stop()
    host(TRACK + "track(0, 10)")
    (segment,) = segments()
    assert segment.stat().st_mode & 0o777 == 0o600
    assert segment.parent.stat().st_mode & 0o777 == 0o700
    assert all(json.loads(line)["unit_id"] == "user-1" for line in segment.read_text().splitlines())
