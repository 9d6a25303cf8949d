"""One targeting rule (country in KR, NO, SE) and three equal variants, in six SDKs on one machine in one run.

    python benchmarks/assign_peers.py [--repeats 30] [--json PATH]

Each SDK runs in a process and environment of its own, by the same loop over 1,000 users, and is configured as its
documentation says (benchmarks/peers/assign.py tells how). Before anything is timed it must have given each variant to a
quarter of the users at the least, and refused one from another country. Figures are CPU of the calling thread, the
least of all repeats in three passes, the loop taken off; `own object` excludes making the SDK's own object for a user
where it has one.

The second table logs exposures, each of a new user, to a sink that answers at once: what the caller pays, and what the
whole process pays until the last is sent. `arrived` counts different users whose exposure reached the sink.
"""

from collections.abc import Callable, Iterable
from typing import Any

from _peers import FOLDER, PeerError, run
from _report import Report, parser, spread
from _server import count_marks, running

Row = dict[str, Any]
PASSES = 3
SCRIPT = FOLDER / "peers" / "assign.py"
PEERS = ("floors", "genux", "eppo", "growthbook", "launchdarkly", "posthog", "statsig")
OURS = "genux.assignment.assign"
OURS_WHOLE = "genux.Client, unit and peek"
OURS_EXPOSED = "genux.Client, unit and variant"
EXPOSING = {  # peer: environment
    "genux": "genux",
    "eppo": "eppo",
    "growthbook": "growthbook-tracking",
    "launchdarkly": "launchdarkly",
    "posthog": "posthog",
    "statsig": "statsig",
}


def evaluated(peer: str, repeats: int) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = run(peer, SCRIPT, peer, str(repeats), "")
    return results


def exposed(peer: str, repeats: int) -> list[dict[str, Any]]:
    with running() as url:
        results: list[dict[str, Any]] = run(EXPOSING[peer], SCRIPT, peer, str(repeats), url)
        arrived = count_marks(url)
    return [{**result, "arrived": arrived / result["n"]} for result in results]


def passes(measure: Callable[[str, int], list[dict[str, Any]]], peers: Iterable[str], repeats: int) -> list[Row]:
    """Every peer once in each pass, so that the machine's pace, which comes and goes, meets all of them."""
    found: dict[str, Row] = {}
    for _ in range(PASSES):
        for peer in peers:
            try:
                results = measure(peer, repeats)
            except PeerError as error:
                results = [{"name": peer, "error": str(error)}]
            for result in results:
                row = found.setdefault(result["name"], {**result, "us of CPU": result["name"], "each": []})
                row["each"].append(result)
    return list(found.values())


def least(rows: list[Row], columns: dict[str, str], ours: dict[str, str]) -> list[Row]:
    """The least of all passes by column, and the multiple of our row, which is what travels between machines."""
    for row in rows:
        if "error" not in row:
            pooled = {key: [us for result in row["each"] for us in result[key]] for key in columns.values()}
            row |= {column: min(pooled[key]) for column, key in columns.items()}
            row["median"] = spread(pooled[list(columns.values())[-1]])["median"]
    for column, name in ours.items():
        base = next((row[column] for row in rows if row["us of CPU"] == name and column in row), None)
        for row in rows:
            if base and column in row:
                row[f"{column} x genux"] = row[column] / base
    return rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--repeats", type=int, default=30, help=f"in each of {PASSES} passes")
    asked = arguments.parse_args()
    report = Report(__file__)
    columns = {"own object": "prepared", "whole": "whole"}
    report.table(
        "Assignment without exposure",
        {
            "us of CPU": "",
            "own object": ".2f",
            "own object x genux": ".1f",
            "whole": ".2f",
            "whole x genux": ".1f",
            "median": ".2f",
        },
        least(passes(evaluated, PEERS, asked.repeats), columns, {"own object": OURS, "whole": OURS_WHOLE}),
    )
    columns = {"caller": "thread", "process": "process"}
    report.table(
        "Assignment with its exposure logged",
        {
            "us of CPU": "",
            "caller": ".1f",
            "process": ".1f",
            "median": ".1f",
            "process x genux": ".1f",
            "arrived": ".0%",
        },
        least(passes(exposed, EXPOSING, max(2, asked.repeats // 10)), columns, {"process": OURS_EXPOSED}),
    )
    report.save(asked.json, repeats=asked.repeats, passes=PASSES)


if __name__ == "__main__":
    main()
