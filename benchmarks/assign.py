"""What an assignment costs, beside the bare hash that it stands on and beside mmh3 of the same key.

    python benchmarks/assign.py [--repeats 200] [--json PATH]

CPU time of this thread, best of many short runs; ratios travel between machines, microseconds do not. Other SDKs stand
beside these in assign_peers.py.
"""

import time
import timeit
from collections.abc import Callable
from hashlib import blake2b

import mmh3
from _report import Report, parser

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


def best(one: Callable[[str], object], repeats: int) -> float:
    """Microseconds of CPU for one call."""

    def run() -> None:
        for unit in UNITS:
            one(unit)

    return min(timeit.repeat(run, number=1, repeat=repeats, timer=time.thread_time)) / len(UNITS) * 1e6


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--repeats", type=int, default=200)
    asked = arguments.parse_args()
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

    def cost(one: Callable[[str], object]) -> float:
        return best(one, asked.repeats) - loop

    loop = best(lambda _unit: None, asked.repeats)
    murmur = cost(murmured)
    floor = cost(hashed)
    with gx.unit("user-42", **ATTRIBUTES):
        rows = [
            ("mmh3.hash of the same key", murmur),
            ("blake2b copy, update, digest", floor),
            ("one rule, three variants: closure", cost(lambda unit: assigner(unit, ATTRIBUTES))),
            ("the same through assign()", cost(lambda unit: assign(compiled, "ai-entry", unit, ATTRIBUTES))),
            ("Client.peek", cost(lambda _unit: gx.peek("ai-entry"))),
            ("Client.variant, exposed before", cost(lambda _unit: gx.variant("ai-entry"))),
        ]
    report = Report(__file__)
    report.table(
        "us of CPU for one assignment",
        {"what": "", "us": ".3f", "x blake2b": ".2f", "x mmh3": ".1f"},
        [{"what": name, "us": us, "x blake2b": us / floor, "x mmh3": us / murmur} for name, us in rows],
    )
    report.save(asked.json, repeats=asked.repeats)


if __name__ == "__main__":
    main()
