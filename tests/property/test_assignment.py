"""What must hold for every unit, share and rule, not only for the vectors."""

import itertools
import math
import random
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genux.assignment import assign, compile_snapshot
from genux.config import check_snapshot
from genux.errors import SnapshotError
from genux.specs import Condition, Prerequisite, VariantSpec
from genux.wire import Band, Holdout, Layer, Snapshot, SnapshotExperiment

units = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
salts = st.text(min_size=1, max_size=8).filter(str.isascii)
schemes = st.sampled_from(["genux-1", "growthbook-1", "growthbook-2"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
operators = st.sampled_from(typing.get_args(typing.get_type_hints(Condition)["op"]))


def shares(n):
    """Shares of n variants that sum to 1."""
    weights = st.lists(st.integers(0, 50), min_size=n, max_size=n).filter(any)
    return weights.map(lambda drawn: [weight / sum(drawn) for weight in drawn])


def experiment(key="e", *, allocation=(0.5, 0.5), salt="salt", **more):
    return SnapshotExperiment(
        key=key,
        salt=salt,
        control="v0",
        variants=[VariantSpec(key=f"v{i}") for i in range(len(allocation))],
        allocation=list(allocation),
        **more,
    )


def compiled(*experiments, **rules):
    return compile_snapshot(Snapshot(version="v", experiments=list(experiments), **rules))


def one(**more):
    return compiled(experiment(**more))


@given(units, st.floats(0, 1), st.floats(0, 1), salts, schemes, shares(3))
def test_raising_coverage_admits_more_and_moves_nobody(
    unit_id, first, second, salt, scheme, allocation
):  # drawn, in order
    low, high = sorted((first, second))
    before = assign(one(coverage=low, salt=salt, scheme=scheme, allocation=allocation), "e", unit_id, {})
    after = assign(one(coverage=high, salt=salt, scheme=scheme, allocation=allocation), "e", unit_id, {})
    if before.reason == "ASSIGNED":
        assert (after.reason, after.key) == ("ASSIGNED", before.key)


@st.composite
def histories(draw):
    """An experiment as it was at each change: ramps at the shares in force, and new shares with more coverage."""
    scheme, salt = draw(schemes), draw(salts)
    coverages = sorted(draw(st.lists(st.floats(0, 1), min_size=2, max_size=6)))
    states, bands, epoch = [], [], 1
    allocation = draw(shares(3))
    for before, coverage in zip([None, *coverages], coverages, strict=False):
        if before is not None and coverage > before and draw(st.booleans()):
            bands = [*bands, Band(epoch=epoch, coverage=before, allocation=allocation)]
            epoch, allocation = epoch + 1, draw(shares(3))
        states.append(one(salt=salt, scheme=scheme, coverage=coverage, allocation=allocation, bands=bands, epoch=epoch))
    return states


@given(histories(), st.lists(units, min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_ramp_and_no_new_shares_ever_move_a_unit_or_its_epoch(states, unit_ids):
    assert not any(state.problems for state in states)
    for unit_id in unit_ids:
        answers = [assign(state, "e", unit_id, {}) for state in states]
        admitted = [(each.key, each.epoch) for each in answers if each.reason == "ASSIGNED"]
        assert len(set(admitted)) <= 1
        reasons = [each.reason for each in answers]
        assert reasons == sorted(reasons, key=("NOT_IN_COVERAGE", "ASSIGNED").index)


@pytest.mark.parametrize("scheme", ["genux-1", "growthbook-2"])
def test_each_epoch_splits_its_own_units_by_its_own_shares(scheme):
    bands = [
        Band(epoch=1, coverage=0.3, allocation=[0.5, 0.3, 0.2]),
        Band(epoch=2, coverage=0.55, allocation=[0.1, 0.2, 0.7]),
    ]
    state = one(scheme=scheme, bands=bands, epoch=3, coverage=0.9, allocation=[0.6, 0.1, 0.3])
    counts = {}
    for number in range(60_000):
        got = assign(state, "e", f"user-{number}", {})
        if got.reason == "ASSIGNED":
            counts.setdefault(got.epoch, dict.fromkeys(("v0", "v1", "v2"), 0))[got.key] += 1
    for band, width in zip(
        [*bands, Band(epoch=3, coverage=0.9, allocation=[0.6, 0.1, 0.3])], (0.3, 0.25, 0.35), strict=True
    ):
        seen = list(counts[band.epoch].values())
        assert abs(sum(seen) / 60_000 - width) < 0.012
        assert stats.chisquare(seen, [share * sum(seen) for share in band.allocation]).pvalue > 1e-4


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=6, unique=True).map(sorted),
    st.lists(units, min_size=1, max_size=30),
    st.sampled_from(["genux-1", "growthbook-1"]),
    salts,
)
def test_experiments_that_share_a_layer_never_share_a_unit(edges, unit_ids, scheme, salt):
    ranges = list(itertools.pairwise(edges))
    layers = [Layer(key="page", salt=salt, scheme=scheme)]
    experiments = [
        experiment(f"e{index}", salt=f"s{index}", layer="page", layer_ranges=[each])
        for index, each in enumerate(ranges)
    ]
    check_snapshot(Snapshot(version="v", layers=layers, experiments=experiments))
    snapshot = compiled(*experiments, layers=layers)
    for unit_id in unit_ids:
        reasons = [assign(snapshot, each.key, unit_id, {}).reason for each in experiments]
        assert reasons.count("ASSIGNED") <= 1
        assert set(reasons) <= {"ASSIGNED", "EXCLUDED"}


def test_a_layer_that_is_divided_without_a_gap_leaves_nobody_out():
    layers = [Layer(key="page", salt="page")]
    parts = [experiment("a", layer="page", layer_ranges=[(0.0, 0.3), (0.7, 1.0)]),
             experiment("b", layer="page", layer_ranges=[(0.3, 0.7)])]  # fmt: skip
    snapshot = compiled(*parts, layers=layers)
    n_first = 0
    for number in range(5_000):
        reasons = [assign(snapshot, key, f"user-{number}", {}).reason for key in "ab"]
        assert sorted(reasons) == ["ASSIGNED", "EXCLUDED"]
        n_first += reasons[0] == "ASSIGNED"
    assert abs(n_first - 3_000) < 5.5 * math.sqrt(5_000 * 0.6 * 0.4)


def independent(pairs):
    """The p-value of a chi-square test that the two halves of the pairs have nothing to do with each other."""
    rows, columns = ({pair[i] for pair in pairs} for i in (0, 1))
    table = [[pairs.count((row, column)) for column in sorted(columns)] for row in sorted(rows)]
    return stats.chi2_contingency(table).pvalue


def test_holdout_layer_coverage_and_variant_have_nothing_to_do_with_each_other():
    """All of them under one salt, which is the worst case: each hash reads something of its own."""
    free = one(salt="same")
    held = compiled(experiment(salt="same"), holdouts=[Holdout(key="h", salt="same", share=0.3)])
    half = one(salt="same", coverage=0.5)
    layered = compiled(
        experiment(salt="same", layer="l", layer_ranges=[(0.0, 0.5)]), layers=[Layer(key="l", salt="same")]
    )
    names = [f"user-{number}" for number in range(8_000)]
    variants = [assign(free, "e", name, {}).key for name in names]
    traits = [[assign(each, "e", name, {}).reason for name in names] for each in (held, half, layered)]
    for trait in traits:
        assert independent(list(zip(trait, variants, strict=True))) > 1e-3
    for index, trait in enumerate(traits):
        for other in traits[index + 1 :]:
            assert independent(list(zip(trait, other, strict=True))) > 1e-3


@pytest.mark.parametrize("scheme", ["genux-1", "growthbook-1", "growthbook-2"])
def test_variants_are_uniform_over_kinds_of_ids(scheme):
    """Chi-square over twenty equal variants; ids drawn by a fixed seed, so that the figure never changes."""
    drawn = random.Random(7)
    state = one(scheme=scheme, allocation=[0.05] * 20, salt="uniform")
    kinds = {
        "counted": [str(number) for number in range(20_000)],
        "uuid": [f"{drawn.getrandbits(128):032x}" for _ in range(20_000)],
        "mail": [f"{drawn.getrandbits(40):x}@example.com" for _ in range(20_000)],
    }
    for name, ids in kinds.items():
        counts = dict.fromkeys((f"v{index}" for index in range(20)), 0)
        for unit_id in ids:
            counts[assign(state, "e", unit_id, {}).key] += 1
        assert stats.chisquare(list(counts.values())).pvalue > 1e-4, name


@given(shares(4), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_shares_come_out_within_binomial_bounds(allocation, salt):
    snapshot = one(allocation=allocation, salt=str(salt))
    n_units = 4_000
    counts = dict.fromkeys((f"v{i}" for i in range(len(allocation))), 0)
    for unit in range(n_units):
        counts[assign(snapshot, "e", f"user-{unit}", {}).key] += 1
    for i, share in enumerate(allocation):
        # 5.5 standard errors: one false alarm in 10^7 draws
        assert abs(counts[f"v{i}"] - n_units * share) <= 5.5 * math.sqrt(n_units * share * (1 - share))


@given(st.dictionaries(st.sampled_from("ab"), values), st.sampled_from("ab"), operators, values, units)
def test_targeting_is_total_on_any_json(attributes, attribute, op, value, unit_id):
    rule = Condition(attribute=attribute, op=op, value=value)
    snapshot = one(targeting=[[rule]])
    if snapshot.problems:
        assert assign(snapshot, "e", unit_id, attributes).reason == "ERROR"
        return
    reason = assign(snapshot, "e", unit_id, attributes).reason
    assert reason in {"ASSIGNED", "NOT_TARGETED"}


conditions = st.builds(Condition, attribute=st.sampled_from("ab"), op=operators, value=values)
rules = st.lists(st.lists(conditions, max_size=2), max_size=2)
small_shares = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
any_experiment = st.builds(
    SnapshotExperiment,
    key=st.sampled_from("efg"),
    status=st.sampled_from(["running", "paused", "stopped", "shipped"]),
    epoch=st.integers(1, 3),
    salt=salts,
    scheme=schemes | st.just("unknown"),
    unit_kind=st.sampled_from(["user", "user", "document"]),
    control=st.sampled_from(["v0", "v1"]),
    variants=st.just([VariantSpec(key="v0"), VariantSpec(key="v1")]),
    allocation=st.lists(small_shares, min_size=1, max_size=3),
    coverage=small_shares,
    bands=st.lists(
        st.builds(Band, epoch=st.integers(1, 3), coverage=small_shares, allocation=st.lists(small_shares, max_size=3)),
        max_size=2,
    ),
    targeting=rules,
    forced_units=st.dictionaries(st.sampled_from("uv"), st.sampled_from(["v0", "v1", "v2"]), max_size=1),
    layer=st.sampled_from(["", "", "l", "m"]),
    layer_ranges=st.lists(st.tuples(small_shares, small_shares), max_size=2),
    prerequisites=st.lists(
        st.builds(Prerequisite, experiment=st.sampled_from("efgh"), variants=st.just(["v0"])), max_size=2
    ),
    shipped=st.sampled_from(["", "v1"]),
)
any_snapshot = st.builds(
    Snapshot,
    version=st.just("v"),
    layers=st.lists(st.builds(Layer, key=st.sampled_from("lm"), salt=salts, scheme=schemes), max_size=2),
    holdouts=st.lists(
        st.builds(
            Holdout,
            key=st.just("h"),
            salt=salts,
            share=small_shares,
            experiments=st.lists(st.sampled_from("efgh"), max_size=1),
        ),
        max_size=2,
    ),
    exclusions=rules,
    experiments=st.lists(any_experiment, max_size=4),
)


@given(any_snapshot, units, st.dictionaries(st.sampled_from("ab"), values))
@settings(max_examples=400, deadline=None)
def test_any_snapshot_compiles_and_answers_and_what_it_cannot_say_is_an_error(snapshot, unit_id, attributes):
    found = compile_snapshot(snapshot)
    for key in "efgh":
        got = assign(found, key, unit_id, attributes)
        assert (got.reason == "ERROR") == (key in found.problems)
        assert (got.reason == "UNKNOWN_EXPERIMENT") == (key not in found.experiments)
        if got.reason == "ASSIGNED":
            assert got.key in {"v0", "v1"}
    try:
        check_snapshot(snapshot)
    except SnapshotError:
        return
    assert not found.problems


@given(st.dictionaries(st.sampled_from("ab"), values), st.sampled_from("ab"), values)
def test_an_operator_and_its_negation_never_agree(attributes, attribute, value):
    for op, negated in (("eq", "ne"), ("exists", "not_exists"), ("in", "not_in")):
        expected = [value] if op == "in" else value
        left = one(targeting=[[Condition(attribute=attribute, op=op, value=expected)]])
        right = one(targeting=[[Condition(attribute=attribute, op=negated, value=expected)]])
        assert assign(left, "e", "u", attributes).reason != assign(right, "e", "u", attributes).reason


def test_a_condition_whose_value_does_not_fit_names_its_place():
    from genux._targeting import compile_targeting

    wrong = [[Condition(attribute="a")], [Condition(attribute="b"), Condition(attribute="c", op="matches", value="(")]]
    with pytest.raises(SnapshotError, match=r"targeting\[1\]\[1\]\.value: not a regular expression"):
        compile_targeting(wrong, "targeting")


@pytest.mark.parametrize(
    "bands",
    [
        [Band(epoch=2, coverage=0.5, allocation=[0.5, 0.5])],
        [Band(epoch=1, coverage=0.9, allocation=[0.5, 0.5])],
        [Band(epoch=1, coverage=0.5, allocation=[0.5, 0.5]), Band(epoch=1, coverage=0.6, allocation=[0.5, 0.5])],
        [Band(epoch=1, coverage=0.5, allocation=[0.5])],
        [Band(epoch=1, coverage=0.5, allocation=[0.5, 0.6])],
    ],
)
def test_bands_that_do_not_rise_or_fit_are_refused(bands):
    snapshot = Snapshot(version="v", experiments=[experiment(epoch=2, coverage=0.8, bands=bands)])
    with pytest.raises(SnapshotError, match=r"experiments\[0\]"):
        check_snapshot(snapshot)


@pytest.mark.parametrize("length", [2, 3])
def test_prerequisites_in_a_circle_are_refused_with_the_way_round(length):
    keys = "abc"[:length]
    experiments = [
        experiment(key, prerequisites=[Prerequisite(experiment=keys[(index + 1) % length], variants=["v0"])])
        for index, key in enumerate(keys)
    ]
    with pytest.raises(SnapshotError, match=" -> ".join([*keys, keys[0]])):
        check_snapshot(Snapshot(version="v", experiments=experiments))
    assert set(compiled(*experiments).problems) == set(keys)


def test_a_chain_of_prerequisites_may_be_five_deep():
    def chain(n):
        return [
            experiment(
                f"e{index}",
                prerequisites=[Prerequisite(experiment=f"e{index + 1}", variants=["v0"])] if index < n else [],
            )
            for index in range(n + 1)
        ]

    assert not compiled(*chain(5)).problems
    with pytest.raises(SnapshotError, match="5 deep"):
        check_snapshot(Snapshot(version="v", experiments=chain(6)))
