"""CPU that measuring adds to an OpenAI call and to a chunk of a stream: genux as its users have it, beside six peers.

    python benchmarks/llm_peers.py [--rounds 20] [--processes 3] [--json PATH]

Every library runs in processes and an environment of its own, with the same openai unless it forbids that, against one
local server with a canned reply and a canned stream of 50 chunks, over kept-alive connections. Telemetry goes to a sink
in that server: genux through its outbox on disk, inside a unit with a variant; OpenTelemetry through BatchSpanProcessor
and OTLP over HTTP, traces only; Sentry with traces_sample_rate=1 and a transaction around ten calls, once more with its
OpenAI integration off, since the transactions cost too. What each keeps of prompts and answers is its default.

`caller` is the CPU of the thread that calls, the least of all rounds less the same of a bare client in the same
process, or in a twin process where the library patches openai itself; rounds take turns. `process` adds what other
threads and the flush take until everything is sent. Medians over the processes, and their range. Chunks carry what a
stream costs beyond a call. The rows `bare` show what these two ways of measuring make of no difference at all.
`recorded` counts calls with a name of their own that reached the sink; litellm calls models, also by a router with two
keys as a route of genux has, and records nothing here.
"""

import statistics
from typing import Any

from _peers import FOLDER, PeerError, run
from _report import Report, parser
from _server import count_marks, running

SCRIPT = FOLDER / "peers" / "llm.py"
LIBRARIES = {  # in the script: environment, name
    "genux": ("genux", "genux, wrap"),
    "genux_route": ("genux", "genux, wrap and a route of two keys"),
    "posthog": ("posthog", "posthog.ai.openai"),
    "langfuse": ("langfuse", "langfuse.openai"),
    "otel": ("otel", "OpenTelemetry"),
    "openllmetry": ("openllmetry", "OpenLLMetry"),
    "sentry": ("sentry", "Sentry"),
    "sentry_off": ("sentry", "Sentry, openai integration off"),
    "litellm": ("litellm", "litellm.completion"),
    "litellm_router": ("litellm", "litellm.Router of two keys"),
    "bare": ("openai", "bare, beside bare"),
    "bare_twin": ("openai", "bare, beside a twin"),
}
FIGURES = ("caller a call", "process a call", "caller a chunk", "process a chunk")


def measured(library: str, rounds: int) -> dict[str, Any]:
    with running() as url:
        result: dict[str, Any] = run(LIBRARIES[library][0], SCRIPT, library, url, str(rounds))
        recorded = f"{count_marks(url)} of {result['checked']}" if result["checked"] else "-"
        return {**result, "recorded": recorded}


def row(library: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {key: [result["figures"][key] for result in results] for key in results[0]["figures"]}
    per_call = figures["process a call"]
    return {
        "added us of CPU": f"{LIBRARIES[library][1]} ({results[0]['versions'] or 'no library'})",
        "openai": results[0]["openai"],
        **{key: statistics.median(values) for key, values in figures.items()},
        "from-to": f"{min(per_call):.0f} to {max(per_call):.0f}",
        "recorded": results[0]["recorded"],
        "processes": figures,
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--processes", type=int, default=3)
    asked = arguments.parse_args()
    results: dict[str, list[dict[str, Any]]] = {library: [] for library in LIBRARIES}
    errors: dict[str, str] = {}
    for _ in range(asked.processes):
        for library in [name for name in LIBRARIES if name not in errors]:
            try:
                results[library].append(measured(library, asked.rounds))
            except PeerError as error:
                errors[library] = str(error)
    rows: list[dict[str, Any]] = [
        {"added us of CPU": LIBRARIES[library][1], "error": errors[library]}
        if library in errors
        else row(library, results[library])
        for library in LIBRARIES
    ]
    ours = rows[0].get("process a call")
    rows = [
        {**each, "x genux": each["process a call"] / ours} if ours and "error" not in each else each for each in rows
    ]
    report = Report(__file__)
    columns = {"added us of CPU": "", "openai": "", "bare call": ".0f"} | dict.fromkeys(FIGURES, ".1f")
    columns |= {"from-to": "", "x genux": ".1f", "recorded": ""}
    report.table(f"{asked.processes} processes of {asked.rounds} rounds each", columns, rows)
    report.save(asked.json, rounds=asked.rounds, processes=asked.processes)


if __name__ == "__main__":
    main()
