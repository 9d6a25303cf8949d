# ruff: noqa: ANN001, ANN201, ANN202
"""Check and time one SDK's assignments; run by benchmarks/assign_peers.py in that SDK's environment.

    python peers/assign.py PEER REPEATS URL

`assign_PEER.py` beside this hands over the rule as the SDK would get it from its service, but without it: by
constructor, file, data store or cache provider, whichever it offers. With a URL, exposures are logged to a sink there.
"""

import importlib
import json
import sys
import time
import timeit

from _subject import COUNTRIES, N_EXPOSURES, NONE, VARIANTS, Subject, attributes


def check(subject):
    """A row must be of assignments, not of an error path."""
    users = [(f"user-{i}", attributes(COUNTRIES[i % 3])) for i in range(1_000)]
    keys = subject.run(subject.make, users)
    counts = {v: keys.count(v) for v in VARIANTS}
    assert sum(counts.values()) == len(users), (subject.name, counts, set(keys))
    assert min(counts.values()) > 250, (subject.name, counts)
    refused = subject.run(subject.make, [("user-1", attributes("US"))])
    assert refused == [NONE], (subject.name, refused)


def evaluate(subject, repeats):
    """Microseconds of this thread's CPU for one assignment: objects made before, and made in the call."""
    users = [(f"user-{i}", attributes("KR")) for i in range(1_000)]
    made = [subject.make(user) for user in users]
    empty = Subject("loop", tuple, lambda _user: NONE)

    def best(run):
        return [seconds * 1e3 for seconds in timeit.repeat(run, number=1, repeat=repeats, timer=time.thread_time)]

    loop = min(best(lambda: empty.run(lambda user: user, users)))
    prepared = best(lambda: subject.run(lambda user: user, made))
    whole = best(lambda: subject.run(subject.make, users))
    return {"prepared": [us - loop for us in prepared], "whole": [us - loop for us in whole]}


def expose(subject, repeats):
    """Microseconds of CPU for one assignment that is logged: of this thread, and of the process until it is sent."""
    thread, process = [], []
    for repeat in range(repeats):
        first = 1_000_000 + repeat * N_EXPOSURES
        users = [(f"mark-{first + i}x", attributes("KR")) for i in range(N_EXPOSURES)]
        began, caller = time.process_time(), time.thread_time()
        subject.run(subject.make, users)
        thread.append((time.thread_time() - caller) / N_EXPOSURES * 1e6)
        if subject.loop is None or repeat == repeats - 1:
            subject.flush()
        time.sleep(subject.settle_seconds)
        process.append((time.process_time() - began) / N_EXPOSURES * 1e6)
    return {"thread": thread, "process": process, "n": repeats * N_EXPOSURES}


def main():
    peer, repeats, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rows = []
    for subject in importlib.import_module(f"assign_{peer}").subjects(url):
        check(subject)
        rows.append({"name": subject.name, **(expose if url else evaluate)(subject, repeats)})
    print()
    print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
