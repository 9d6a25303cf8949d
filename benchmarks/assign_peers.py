"""One targeting rule (country in KR, NO, SE) and three equal variants, in seven SDKs on one machine in one run.

    python benchmarks/assign_peers.py [--repeats 30] [--json PATH]

Each SDK runs in a process and environment of its own, by the same loop over 1,000 users, and is configured as its
documentation says (benchmarks/peers/assign.py tells how). Before anything is timed it must have given each variant to a
quarter of the users at the least, and refused one from another country. Figures are CPU of the calling thread, the
best of all repeats, the loop taken off; `own object` excludes making the SDK's own object for a user where it has one.

The second table logs exposures, each of a new user, to a sink that answers at once: what the caller pays, and what the
whole process pays until the last is sent. `arrived` counts different users whose exposure reached the sink.
"""

from typing import Any

from _peers import FOLDER, PeerError, run
from _report import Report, parser, spread
from _server import count_marks, running

SCRIPT = FOLDER / "peers" / "assign.py"
PEERS = ("floors", "genux", "eppo", "growthbook", "launchdarkly", "posthog", "statsig")
OURS = "genux.assignment.assign"
OURS_WHOLE = "genux.Client, unit and peek"
OURS_EXPOSED = "genux.Client, unit and variant"
EXPOSING = {  # environment: function in the script
    "genux": "genux",
    "eppo": "eppo",
    "growthbook-tracking": "growthbook",
    "launchdarkly": "launchdarkly",
    "posthog": "posthog",
    "statsig": "statsig",
}


def evaluated(peer: str, repeats: int) -> list[dict[str, Any]]:
    try:
        results = run(peer, SCRIPT, peer, str(repeats), "")
    except PeerError as error:
        return [{"us of CPU": peer, "error": str(error)}]
    return [
        {
            "us of CPU": result["name"],
            "own object": min(result["prepared"]),
            "whole": min(result["whole"]),
            "median": spread(result["whole"])["median"],
        }
        for result in results
    ]


def exposed(environment: str, function: str, repeats: int) -> list[dict[str, Any]]:
    with running() as url:
        try:
            results = run(environment, SCRIPT, function, str(repeats), url)
        except PeerError as error:
            return [{"us of CPU": function, "error": str(error)}]
        arrived = count_marks(url)
    return [
        {
            "us of CPU": result["name"],
            "caller": min(result["thread"]),
            "process": min(result["process"]),
            "median": spread(result["process"])["median"],
            "arrived": arrived / result["n"],
        }
        for result in results
    ]


def with_ratios(rows: list[dict[str, Any]], figure: str, ours: str) -> list[dict[str, Any]]:
    """Add each row's multiple of ours, which is what travels between machines."""
    base = next((row[figure] for row in rows if row["us of CPU"] == ours and figure in row), None)
    return [{**row, f"{figure} x genux": row[figure] / base} if base and figure in row else row for row in rows]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--repeats", type=int, default=30)
    asked = arguments.parse_args()
    report = Report(__file__)
    rows = [row for peer in PEERS for row in evaluated(peer, asked.repeats)]
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
        with_ratios(with_ratios(rows, "own object", OURS), "whole", OURS_WHOLE),
    )
    n_runs = max(2, asked.repeats // 10)
    rows = [row for peer in EXPOSING.items() for row in exposed(*peer, n_runs)]
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
        with_ratios(rows, "process", OURS_EXPOSED),
    )
    report.save(asked.json, repeats=asked.repeats)


if __name__ == "__main__":
    main()
