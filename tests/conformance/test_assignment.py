"""Runs the vectors that an implementation in any language must meet; docs/assignment.md is what they check.

A change in what the generator prints is a new scheme with a new name, never new vectors for an old one.
"""

import json
import runpy
import typing
from pathlib import Path

import msgspec
import pytest

from genux._schemes import growthbook_number
from genux.assignment import assign, compile_snapshot
from genux.specs import Condition
from genux.wire import Reason, Snapshot, SnapshotExperiment

FOLDER = Path(__file__).parent
VECTORS = json.loads((FOLDER / "assignment.json").read_text(encoding="utf-8"))
TARGETING = json.loads((FOLDER / "targeting.json").read_text(encoding="utf-8"))
GROWTHBOOK = json.loads((FOLDER / "growthbook.json").read_text(encoding="utf-8"))


def test_the_file_is_what_the_slow_implementation_says():
    written = runpy.run_path(str(FOLDER / "generate_assignment.py"))["written"]
    assert written() == (FOLDER / "assignment.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("group", VECTORS["groups"], ids=lambda group: group["snapshot"]["version"])
def test_every_case_gets_its_variant_reason_and_epoch(group):
    compiled = compile_snapshot(msgspec.convert(group["snapshot"], Snapshot))
    assert not compiled.problems
    for case in group["cases"]:
        got = assign(compiled, case["experiment"], case["unit_id"], case["attributes"])
        assert (got.key, got.reason, got.epoch) == (case["variant"], case["reason"], case["epoch"]), case


def test_the_cases_meet_every_reason_that_a_snapshot_can_give():
    met = {case["reason"] for group in VECTORS["groups"] for case in group["cases"]}
    assert met == {*typing.get_args(Reason)} - {"NO_SNAPSHOT", "UNKNOWN_EXPERIMENT", "NO_UNIT", "ERROR"}


def test_growthbooks_hash_gives_its_numbers():
    for row in VECTORS["growthbook_hashes"]:
        assert growthbook_number(row["version"], row["seed"], row["unit_id"]) == row["number"], row


@pytest.mark.parametrize("row", GROWTHBOOK["rows"], ids=lambda row: f"{row['key']}-{row['coverage']}")
def test_a_growthbook_experiment_moves_over_with_every_user_in_place(row):
    keys = [str(index) for index in range(len(row["weights"]))]
    name, start, end = row.get("namespace", ("", 0.0, 0.0))
    snapshot = {
        "version": "v",
        "layers": [{"key": "namespace", "salt": name or "none", "scheme": "growthbook-1"}],
        "experiments": [
            {
                "key": row["key"],
                "salt": row.get("seed", row["key"]),
                "scheme": f"growthbook-{row['hashVersion']}",
                "control": "0",
                "variants": [{"key": key} for key in keys],
                "allocation": row["weights"],
                "coverage": row["coverage"],
                "layer": "namespace" if name else "",
                "layer_ranges": [[start, end]] if name else [],
            }
        ],
    }
    compiled = compile_snapshot(msgspec.convert(snapshot, Snapshot))
    assert not compiled.problems

    def got(unit_id):
        assignment = assign(compiled, row["key"], unit_id, {})
        return assignment.key if assignment.reason == "ASSIGNED" else "-"

    assert "".join(got(str(number)) for number in range(10_000)) == row["users"]
    assert {unit_id: got(unit_id) for unit_id in row["named"]} == row["named"]


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


def test_the_table_of_targeting_has_every_operator():
    met = {
        condition.get("op", "eq") for case in TARGETING["cases"] for group in case["targeting"] for condition in group
    }
    assert met == set(typing.get_args(typing.get_type_hints(Condition)["op"]))
