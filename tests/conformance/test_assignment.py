"""Runs the frozen vectors of scheme `genux-1`, against genux and against a second, naive implementation.

`python tests/conformance/test_assignment.py` prints the file anew from the naive implementation. A change in what it
prints is a new scheme with a new name, never a new file.
"""

import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from genux.assignment import assign, compile_snapshot
from genux.wire import Snapshot, SnapshotExperiment

FILE = Path(__file__).with_name("assignment.json")
UNITS = ["", "a", "user-42", "user-43", "0", "42", "Ünïcødé", "한국어", "🙂", " spaced out ", "x" * 256, "null"]


def naive_hash(salt, unit_id):
    digest = hashlib.blake2b(salt.encode() + bytes([0]) + unit_id.encode(), digest_size=16).hexdigest()
    return int(digest[:16], 16), int(digest[16:], 16)


def naive_variant(experiment, unit_id):
    """Straight from the words of the scheme, with exact fractions instead of integer cuts."""
    coverage, choice = naive_hash(experiment["salt"], unit_id)
    keys = [variant["key"] for variant in experiment["variants"]]
    if Fraction(coverage, 2**64) >= Fraction(experiment.get("coverage", 1.0)):
        return experiment["control"], "NOT_IN_COVERAGE"
    total = 0.0
    for key, share in zip(keys, experiment["allocation"], strict=True):
        total += share
        if share and Fraction(choice, 2**64) < Fraction(total):
            return key, "ASSIGNED"
    return next(key for key, share in reversed(list(zip(keys, experiment["allocation"], strict=True))) if share), (
        "ASSIGNED"
    )


def made_experiments():
    two = [{"key": "control", "surface": "chat"}, {"key": "summary", "surface": "action"}]
    three = [*two, {"key": "inline", "surface": "inline"}]
    yield {"key": "halves", "salt": "halves", "control": "control", "variants": two, "allocation": [0.5, 0.5]}
    yield {"key": "thirds", "salt": "s-1", "control": "control", "variants": three, "allocation": [1 / 3, 1 / 3, 1 / 3]}
    yield {"key": "skew", "salt": "s-2", "control": "control", "variants": three, "allocation": [0.1, 0.2, 0.7]}
    yield {"key": "first-off", "salt": "s-3", "control": "control", "variants": three, "allocation": [0.0, 0.5, 0.5]}
    yield {"key": "last-off", "salt": "s-3", "control": "control", "variants": three, "allocation": [0.9, 0.1, 0.0]}
    for coverage in (0.0, 0.1, 0.5, 0.999):
        yield {
            "key": f"coverage-{coverage}",
            "salt": "소금",
            "control": "summary",
            "variants": two,
            "allocation": [0.5, 0.5],
            "coverage": coverage,
        }


def made_vectors():
    experiments = list(made_experiments())
    salts = sorted({experiment["salt"] for experiment in experiments})
    hashes = [
        {"salt": salt, "unit_id": unit_id, "coverage": str(coverage), "choice": str(choice)}
        for salt in salts
        for unit_id in UNITS
        for coverage, choice in [naive_hash(salt, unit_id)]
    ]
    cases = []
    for experiment in experiments:
        for unit_id in [*UNITS[1:], *(f"u{i}" for i in range(20))]:
            variant, reason = naive_variant(experiment, unit_id)
            cases.append({"experiment": experiment["key"], "unit_id": unit_id, "variant": variant, "reason": reason})
    return {
        "scheme": "genux-1",
        "source": "genux/assignment.py, module docstring; computed by the naive implementation beside this file",
        "experiments": experiments,
        "hashes": hashes,
        "cases": cases,
    }


def frozen_vectors():
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_the_file_is_what_the_naive_implementation_says():
    assert made_vectors() == frozen_vectors()


def test_every_case_gets_its_variant():
    vectors = frozen_vectors()
    experiments = msgspec.convert(vectors["experiments"], list[SnapshotExperiment])
    compiled = compile_snapshot(Snapshot(version="v", experiments=experiments))
    assert not compiled.problems
    for case in vectors["cases"]:
        got = assign(compiled, case["experiment"], case["unit_id"], {})
        assert (got.key, got.reason) == (case["variant"], case["reason"]), case
    assert len(vectors["cases"]) > 250


TARGETING = json.loads(Path(__file__).with_name("targeting.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", TARGETING["cases"], ids=lambda case: case["name"])
def test_targeting_admits_whom_the_table_says(case):
    experiment = msgspec.convert(
        {
            "key": "e",
            "salt": "e",
            "control": "a",
            "variants": [{"key": "a"}, {"key": "b"}],
            "allocation": [0.5, 0.5],
            "targeting": case["targeting"],
        },
        SnapshotExperiment,
    )
    compiled = compile_snapshot(Snapshot(version="v", experiments=[experiment]))
    assert not compiled.problems
    for attributes in case["admits"]:
        assert assign(compiled, "e", "u", attributes).reason == "ASSIGNED", attributes
    for attributes in case["refuses"]:
        assert assign(compiled, "e", "u", attributes).reason == "NOT_TARGETED", attributes


if __name__ == "__main__":
    sys.stdout.write(json.dumps(made_vectors(), indent=1, ensure_ascii=False) + "\n")
