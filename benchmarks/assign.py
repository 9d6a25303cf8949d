"""What an assignment costs, beside the bare hash that it stands on and beside mmh3 of the same key.

    python benchmarks/assign.py

CPU time of this thread, best of many short runs; ratios travel between machines, microseconds do not.
"""

import time
import timeit
from collections.abc import Callable
from hashlib import blake2b

import mmh3

import genux
from genux.assignment import assign, compile_snapshot
from genux.config import parse_config, snapshot_from_config

CONFIG = """
experiments:
  - key: ai-entry
    variants: [{key: chat}, {key: summary}, {key: inline}]
    targeting: [[{attribute: country, op: in, value: [KR, NO, SE]}]]
"""
UNITS = [f"user-{i}" for i in range(1_000)]
ATTRIBUTES = {"country": "KR", "plan": "pro"}


def best(one: Callable[[str], object]) -> float:
    """Microseconds of CPU for one call."""

    def run() -> None:
        for unit in UNITS:
            one(unit)

    return min(timeit.repeat(run, number=1, repeat=200, timer=time.thread_time)) / len(UNITS) * 1e6


def main() -> None:
    compiled = compile_snapshot(snapshot_from_config(parse_config(CONFIG)))
    assigner = compiled.assigners["ai-entry"]
    start = blake2b(b"ai-entry\0", digest_size=16).copy
    gx = genux.Client(url="")
    gx._snapshots.compiled = compiled  # noqa: SLF001 the whole way through a client, without a file

    def hashed(unit: str) -> bytes:
        digest = start()
        digest.update(unit.encode())
        return digest.digest()

    def murmured(unit: str) -> int:
        return mmh3.hash("ai-entry\0" + unit)

    loop = best(lambda _unit: None)
    murmur = best(murmured) - loop
    floor = best(hashed) - loop
    with gx.unit("user-42", **ATTRIBUTES):
        rows = [
            ("mmh3.hash of the same key", murmur),
            ("blake2b copy, update, digest", floor),
            ("one rule, three variants: closure", best(lambda unit: assigner(unit, ATTRIBUTES)) - loop),
            ("the same through assign()", best(lambda unit: assign(compiled, "ai-entry", unit, ATTRIBUTES)) - loop),
            ("Client.peek", best(lambda _unit: gx.peek("ai-entry")) - loop),
            ("Client.variant, exposed before", best(lambda _unit: gx.variant("ai-entry")) - loop),
        ]
    print(f"{'':36}{'us':>8}{'x blake2b':>11}{'x mmh3':>8}")
    for name, cost in rows:
        print(f"{name:36}{cost:8.3f}{cost / floor:11.2f}{cost / murmur:8.1f}")


if __name__ == "__main__":
    main()
