"""Merging moments is the same as taking them of the whole, in any order, whatever the offset."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genux_server.model import Moments
from genux_server.stats.moments import comoment, covariance, mean_of, merge, moments_from_arrays, total_of

EPS = np.finfo(float).eps


@st.composite
def batches(draw):
    sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0.0, 1.0, -1e6, 1e9, 1e15, 1e18]))
    scale = 10 ** draw(st.floats(-6, 6))
    return [{"y": offset + scale * rng.normal(size=n), "c": rng.exponential(size=n)} for n in sizes]


def close(ours, exact, scale):
    return abs(ours - exact) <= 64 * EPS * scale


@settings(max_examples=60, deadline=None)
@given(batches())
def test_merged_moments_are_those_of_the_whole(parts):
    whole = {key: np.concatenate([part[key] for part in parts]) for key in ("y", "c")}
    merged, batch = merge(moments_from_arrays(part) for part in parts), moments_from_arrays(whole)
    assert merged.n == batch.n == whole["y"].size
    if not merged.n:
        return
    assert (merged.minimum, merged.maximum) == (whole["y"].min(), whole["y"].max())
    # The condition of the problem: rounding of the data itself, eps |y|, enters each deviation.
    spread = [math.sqrt(max(comoment(batch, key, key), 0)) for key in ("y", "c")]
    error = [EPS * float(np.abs(whole[key]).max()) * math.sqrt(merged.n) for key in ("y", "c")]
    for i, key in enumerate(("y", "c")):
        assert close(mean_of(merged, key), mean_of(batch, key), float(np.abs(whole[key]).max()))
        for j, other in enumerate(("y", "c")):
            scale = spread[i] * spread[j] + (spread[i] * error[j] + spread[j] * error[i] + error[i] * error[j]) / EPS
            assert close(comoment(merged, key, other), comoment(batch, key, other), scale)


@settings(max_examples=40, deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_parts_changes_nothing_at_all(parts, random):
    moments = [moments_from_arrays(part) for part in parts]
    shuffled = list(moments)
    random.shuffle(shuffled)
    assert merge(moments) == merge(shuffled)


@settings(max_examples=40, deadline=None)
@given(batches(), st.integers(0, 5))
def test_merging_is_associative_up_to_rounding(parts, cut):
    moments = [moments_from_arrays(part) for part in parts]
    nested = merge([merge(moments[:cut]), merge(moments[cut:])]) if cut < len(moments) else merge(moments)
    flat = merge(moments)
    assert nested.n == flat.n
    if flat.n > 1:
        scale = abs(mean_of(flat, "y")) + math.sqrt(abs(comoment(flat, "y", "y")))
        assert close(mean_of(nested, "y"), mean_of(flat, "y"), scale)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_sum_of_whole_numbers_is_whole(days):
    counts = [(n, int(n * share)) for n, share in days]
    parts = [
        Moments(n=n, components=("y",), mean=(k / n,), comoments=(0.0,), minimum=0.0, maximum=1.0) for n, k in counts
    ]
    assert total_of(merge(parts), "y") == sum(k for _, k in counts)


def test_an_offset_of_a_thousand_million_costs_no_precision():
    rng = np.random.default_rng(3)
    values = np.round(rng.normal(size=50_000), 4)
    # Halves and quarters are exact, so the offset values carry the same information as the plain ones.
    values = np.floor(values * 1024) / 1024
    plain = merge(moments_from_arrays({"y": chunk}) for chunk in np.array_split(values, 37))
    moved = merge(moments_from_arrays({"y": chunk + 1e9}) for chunk in np.array_split(values, 37))
    # A stored mean near 1e9 is good to 1e-7, a raw sum of squares would be good to no digit at all.
    assert covariance(moved, "y", "y") == pytest.approx(covariance(plain, "y", "y"), rel=1e-9)
    batch = moments_from_arrays({"y": values + 1e9})
    assert covariance(batch, "y", "y") == pytest.approx(covariance(plain, "y", "y"), rel=1e-13)
    assert mean_of(moved, "y") - 1e9 == pytest.approx(mean_of(plain, "y"), abs=1e-6)


def test_permuting_units_changes_nothing_that_matters():
    rng = np.random.default_rng(4)
    values = rng.lognormal(sigma=2, size=10_000)
    first, second = (moments_from_arrays({"y": v}) for v in (values, rng.permutation(values)))
    assert first.n == second.n
    assert total_of(first, "y") == pytest.approx(total_of(second, "y"), rel=1e-14)
    assert comoment(first, "y", "y") == pytest.approx(comoment(second, "y", "y"), rel=1e-13)


def test_the_upper_triangle_is_read_in_both_orders():
    rng = np.random.default_rng(5)
    data = {key: rng.normal(size=100) for key in ("y", "d", "x", "w", "c")}
    moments = moments_from_arrays(data)
    for a, b in itertools.product(data, repeat=2):
        assert covariance(moments, a, b) == pytest.approx(float(np.cov(data[a], data[b])[0, 1]), rel=1e-12)


def test_different_components_are_not_merged():
    with pytest.raises(ValueError, match="components"):
        merge([moments_from_arrays({"y": [1.0]}), moments_from_arrays({"y": [1.0], "c": [1.0]})])
    with pytest.raises(ValueError, match="y"):
        moments_from_arrays({"x": [1.0]})
    with pytest.raises(ValueError, match="length"):
        moments_from_arrays({"y": [1.0], "c": [1.0, 2.0]})


def test_no_parts_are_no_units():
    assert merge([]).n == 0
    assert merge([moments_from_arrays({"y": [], "c": []})]).components == ("y", "c")
