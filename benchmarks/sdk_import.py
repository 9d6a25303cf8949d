"""What an import costs a starting process, over a bare interpreter of the same environment.

    python benchmarks/sdk_import.py [--rounds 30] [--json PATH]

Wall time of whole fresh processes, interleaved: every round starts each once. Every library stands alone with what it
needs in a virtual environment of its own, made on the first run, so that another's `.pth` file is nobody's cost.
openai is imported by whoever calls a model anyhow, and is here for scale.
"""

import statistics
import subprocess
import tempfile
import time
from typing import Any

from _peers import PeerError, python_of, released
from _report import Report, parser, spread

CLIENT = "import genux; genux.Client('http://127.0.0.1:9', 'key', directory=sys.argv[1], exit_flush_seconds=0.0)"
IMPORTS = {  # label: environment, distribution, statement
    "genux": ("genux", "genux", "import genux"),
    "genux, with a Client made": ("genux", "genux", CLIENT),
    "eppo_client": ("eppo", "eppo-server-sdk", "import eppo_client"),
    "growthbook": ("growthbook", "growthbook", "import growthbook"),
    "langfuse": ("langfuse", "langfuse", "import langfuse"),
    "ldclient": ("launchdarkly", "launchdarkly-server-sdk", "import ldclient"),
    "openfeature": ("openfeature", "openfeature-sdk", "from openfeature import api"),
    "posthog": ("posthog", "posthog", "import posthog"),
    "segment": ("segment", "segment-analytics-python", "import segment.analytics"),
    "sentry_sdk": ("sentry", "sentry-sdk", "import sentry_sdk"),
    "statsig_python_core": ("statsig", "statsig-python-core", "import statsig_python_core"),
    "openai": ("openai", "openai", "import openai"),
}


def process_seconds(environment: str, statement: str) -> float:
    """One process from start to end; it leaves at once, since how a library shuts down is another question."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(python_of(environment)), "-c", f"import os, sys; {statement}; os._exit(0)", folder]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - began


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=30)
    asked = arguments.parse_args()
    rows: list[dict[str, Any]] = []
    works = {}
    for label, (environment, distribution, statement) in IMPORTS.items():
        try:
            name = f"{label} ({released(environment, distribution)})"
            process_seconds(environment, statement)  # once for the bytecode caches
            works[label] = (name, environment, statement)
        except PeerError as error:
            rows.append({"import": label, "error": str(error)})
        except subprocess.CalledProcessError as error:
            rows.append({"import": label, "error": f"could not be run: {error.stderr.decode().strip()[-200:]}"})
    added: dict[str, list[float]] = {label: [] for label in works}
    bare: list[float] = []
    for _ in range(asked.rounds):
        for label, (_, environment, statement) in works.items():
            floor = process_seconds(environment, "pass")
            bare.append(floor)
            added[label].append(process_seconds(environment, statement) - floor)
    # `import genux` loads its names when they are first used, so the ratio is to the client that a host ends up with.
    ours = statistics.median(added["genux, with a Client made"])
    for label, (name, _, _) in works.items():
        over = spread([1e3 * value for value in added[label]])
        rows.append({"import": name, **over, "x Client": over["median"] / (1e3 * ours)})
    report = Report(__file__)
    report.table(
        f"added ms of wall time over bare python ({1e3 * statistics.median(bare):.1f} ms), {asked.rounds} rounds",
        {"import": "", "median": ".1f", "q1": ".1f", "q3": ".1f", "x Client": ".1f"},
        rows,
    )
    report.save(asked.json, rounds=asked.rounds)


if __name__ == "__main__":
    main()
