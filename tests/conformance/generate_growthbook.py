"""Writes growthbook.json from GrowthBook's own SDK (`pip install growthbook` in an environment of its own), to stdout.

10,000 users of each experiment as one text, a character a user: the index of the variant, or `-` for nobody's. The
units in `named` are those whose spelling is hard, in full.
"""

import json
import sys
from importlib.metadata import version

from growthbook import Experiment, GrowthBook

NAMED = ["0", "user-42", "Ünïcødé", "한국어", "🙂", " spaced out ", "x" * 256, "null", 'a\\b"c']
EXPERIMENTS = [
    {"key": "halves", "weights": [0.5, 0.5], "coverage": 1.0, "hashVersion": 2},
    {"key": "ramp", "weights": [0.2, 0.3, 0.5], "coverage": 0.4, "hashVersion": 2},
    {"key": "ramp", "weights": [0.2, 0.3, 0.5], "coverage": 0.7, "hashVersion": 2},
    {"key": "thirds", "weights": [1 / 3, 1 / 3, 1 / 3], "coverage": 0.9, "hashVersion": 2, "seed": "가격-7"},
    {"key": "first", "weights": [0.5, 0.5], "coverage": 0.8, "hashVersion": 1},
    {"key": "spaced", "weights": [0.1, 0.9], "coverage": 1.0, "hashVersion": 2, "namespace": ("pricing", 0.2, 0.7)},
]


def asked(experiment, unit_id):
    keys = [str(index) for index in range(len(experiment["weights"]))]
    result = GrowthBook(attributes={"id": unit_id}).run(Experiment(variations=keys, **experiment))
    return str(result.variationId) if result.inExperiment else "-"


def row(experiment):
    return {
        **experiment,
        "users": "".join(asked(experiment, str(number)) for number in range(10_000)),
        "named": {unit_id: asked(experiment, unit_id) for unit_id in NAMED},
    }


if __name__ == "__main__":
    rows = [row(experiment) for experiment in EXPERIMENTS]
    data = {"source": f"growthbook {version('growthbook')} (PyPI, MIT), run by generate_growthbook.py", "rows": rows}
    sys.stdout.write(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
