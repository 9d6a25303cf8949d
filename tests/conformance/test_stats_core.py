"""Runs the vectors of the statistics core; each names where its expected values come from and how near they are."""

import json
import math
from pathlib import Path

import pytest

from genux_server.model import Moments
from genux_server.stats.contrast import fieller
from genux_server.stats.estimates import Estimate, arm_estimates
from genux_server.stats.groupseq import boundaries, classical_boundaries, crossing_probabilities
from genux_server.stats.means import welch
from genux_server.stats.moments import comoment, mean_of, moments_from_arrays
from genux_server.stats.proportions import (
    koopman_interval,
    newcombe_interval,
    pooled_z,
    score_difference_interval,
    two_sided_p,
    wilson_interval,
)
from genux_server.stats.sequential import always_valid, anytime_p_value, multiplier, tuning, tuning_approximate
from genux_server.stats.srm import srm_chi_square, srm_sequential

VECTORS = json.loads(Path(__file__).with_name("stats_core.json").read_text())
TUNING = {"approximate": tuning_approximate, "exact": tuning}


def bounds(pair):
    return {"lower": pair[0], "upper": pair[1]}


def summary(arm):
    n, mean, sd = arm
    return Estimate(n, mean, sd**2 / n, n - 1)


def of_contrast(contrast):
    return {
        "effect": contrast.effect,
        "statistic": contrast.statistic,
        "p_value": contrast.p_value,
        "df": contrast.df,
        "lower": contrast.lower,
        "upper": contrast.upper,
    }


def estimates(control, treatment):
    arms = arm_estimates({"c": Moments(**control), "t": Moments(**treatment)})
    return of_contrast(welch(arms["c"], arms["t"]))


def srm(result):
    return {"statistic": result.statistic, "p_value": result.p_value}


def of_moments(values):
    moments = moments_from_arrays({"y": values})
    return {"mean": mean_of(moments, "y"), "comoment": comoment(moments, "y", "y")}


def cs_tuning(n_units, alpha):
    rho2 = tuning(n_units, alpha)
    return {"rho2": rho2, "multiplier": multiplier(n_units, rho2, alpha)}


def listed(**given):
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


METHODS = {
    "pooled_z": lambda **a: dict(zip(("statistic", "p_value"), pooled_z(**a), strict=True)),
    "normal_two_sided": lambda z: {"p_value": two_sided_p(z)},
    "newcombe": lambda **a: bounds(newcombe_interval(**a)),
    "wilson": lambda **a: bounds(wilson_interval(**a)),
    "mee": lambda **a: bounds(score_difference_interval(**a)),
    "miettinen_nurminen": lambda **a: bounds(score_difference_interval(**a, unbiased=True)),
    "koopman": lambda **a: bounds(koopman_interval(**a)),
    "welch": lambda control, treatment: of_contrast(welch(summary(control), summary(treatment))),
    "fieller": lambda **a: bounds(fieller(**a)),
    "estimates": estimates,
    "confidence_sequence": lambda control, treatment, tuned_units, tuning: of_contrast(
        always_valid(summary(control), summary(treatment), TUNING[tuning](tuned_units))
    ),
    "cs_multiplier": lambda n_units, tuned_units, tuning: {
        "multiplier": multiplier(n_units, TUNING[tuning](tuned_units))
    },
    "cs_tuning": cs_tuning,
    "anytime_p": lambda **a: {"p_value": anytime_p_value(**a)},
    "boundaries": lambda **a: {"bounds": list(boundaries(**listed(**a)))},
    "classical": lambda **a: {"last": classical_boundaries(**a)[-1]},
    "crossing": lambda fractions, bounds, drift: {
        "total": math.fsum(up + down for up, down in crossing_probabilities(fractions, bounds, drift))
    },
    "srm_chi_square": lambda counts, shares: srm(srm_chi_square([(counts, shares)])),
    "srm_sequential": lambda counts, shares, concentration: srm(srm_sequential([(counts, shares)], concentration)),
    "moments": of_moments,
}


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{i}-{v['method']}" for i, v in enumerate(VECTORS)])
def test_the_vector_is_met(vector):
    ours = METHODS[vector["method"]](**vector["input"])
    for name, expected in vector["expected"].items():
        # A tolerance is absolute; 0 asks for all the digits a double has, also of a tail of 1e-299.
        assert ours[name] == pytest.approx(expected, abs=vector["tolerance"], rel=1e-11), vector["source"]


def test_every_vector_names_its_source():
    assert all(len(vector["source"]) > 10 for vector in VECTORS)
    assert {vector["method"] for vector in VECTORS} == set(METHODS)
