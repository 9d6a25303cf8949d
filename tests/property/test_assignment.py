"""What must hold for every unit, share and rule, not only for the vectors."""

import math
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genux.assignment import assign, compile_snapshot
from genux.errors import SnapshotError
from genux.specs import Condition, VariantSpec
from genux.wire import Snapshot, SnapshotExperiment

units = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
operators = st.sampled_from(typing.get_args(typing.get_type_hints(Condition)["op"]))


def compiled(*, allocation=(0.5, 0.5), coverage=1.0, targeting=(), salt="salt"):
    return compile_snapshot(
        Snapshot(
            version="v",
            experiments=[
                SnapshotExperiment(
                    key="e",
                    salt=salt,
                    control="v0",
                    variants=[VariantSpec(key=f"v{i}") for i in range(len(allocation))],
                    allocation=list(allocation),
                    coverage=coverage,
                    targeting=list(targeting),
                )
            ],
        )
    )


@given(units, st.floats(0, 1), st.floats(0, 1), st.text(min_size=1, max_size=8).filter(str.isascii))
def test_raising_coverage_admits_more_and_moves_nobody(unit_id, one, other, salt):
    low, high = sorted((one, other))
    before = assign(compiled(coverage=low, salt=salt), "e", unit_id, {})
    after = assign(compiled(coverage=high, salt=salt), "e", unit_id, {})
    if before.reason == "ASSIGNED":
        assert (after.reason, after.key) == ("ASSIGNED", before.key)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(any), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_shares_come_out_within_binomial_bounds(weights, salt):
    shares = [weight / sum(weights) for weight in weights]
    snapshot = compiled(allocation=shares, salt=str(salt))
    n_units = 4_000
    counts = dict.fromkeys((f"v{i}" for i in range(len(shares))), 0)
    for unit in range(n_units):
        counts[assign(snapshot, "e", f"user-{unit}", {}).key] += 1
    for i, share in enumerate(shares):
        # 5.5 standard errors: one false alarm in 10^7 draws
        assert abs(counts[f"v{i}"] - n_units * share) <= 5.5 * math.sqrt(n_units * share * (1 - share))


@given(st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_coverage_and_choice_are_independent(salt):
    half = compiled(coverage=0.5, salt=str(salt))
    admitted = [assign(half, "e", f"user-{unit}", {}) for unit in range(6_000)]
    keys = [assignment.key for assignment in admitted if assignment.reason == "ASSIGNED"]
    assert abs(keys.count("v0") - len(keys) / 2) <= 5.5 * math.sqrt(len(keys) / 4)


@given(st.dictionaries(st.sampled_from("ab"), values), st.sampled_from("ab"), operators, values, units)
def test_targeting_is_total_on_any_json(attributes, attribute, op, value, unit_id):
    rule = Condition(attribute=attribute, op=op, value=value)
    snapshot = compiled(targeting=[[rule]])
    if snapshot.problems:
        assert assign(snapshot, "e", unit_id, attributes).reason == "ERROR"
        return
    reason = assign(snapshot, "e", unit_id, attributes).reason
    assert reason in {"ASSIGNED", "NOT_TARGETED"}


@given(st.dictionaries(st.sampled_from("ab"), values), st.sampled_from("ab"), values)
def test_an_operator_and_its_negation_never_agree(attributes, attribute, value):
    for op, negated in (("eq", "ne"), ("exists", "not_exists"), ("in", "not_in")):
        expected = [value] if op == "in" else value
        one = compiled(targeting=[[Condition(attribute=attribute, op=op, value=expected)]])
        other = compiled(targeting=[[Condition(attribute=attribute, op=negated, value=expected)]])
        assert assign(one, "e", "u", attributes).reason != assign(other, "e", "u", attributes).reason


def test_a_condition_whose_value_does_not_fit_names_its_place():
    from genux._targeting import compile_targeting

    rules = [[Condition(attribute="a")], [Condition(attribute="b"), Condition(attribute="c", op="matches", value="(")]]
    with pytest.raises(SnapshotError, match=r"targeting\[1\]\[1\]\.value: not a regular expression"):
        compile_targeting(rules, "targeting")
