"""Vectors typed in from papers and manuals: `python tests/conformance/generate_methods_published.py` formats them.

Tolerances are the rounding of the printed figure.
"""

import csv
import sys
from pathlib import Path

from method_vectors import VectorFile

out = VectorFile("published", "Published tables and manuals, typed in by generate_methods_published.py")


def two(x_t, n_t, x_c, n_c):
    return {"x_control": x_c, "n_control": n_c, "x_treatment": x_t, "n_treatment": n_t}


# Newcombe (1998), Statistics in Medicine 17, 873-890, Table II: Mee, Miettinen-Nurminen and method 10.
newcombe = "Newcombe (1998b), Table II"
for row, mee, mn, hybrid in (
    (two(56, 70, 48, 80), (0.0533, 0.3377), (0.0528, 0.3382), (0.0524, 0.3339)),
    (two(9, 10, 3, 10), (0.1821, 0.8370), (0.1700, 0.8406), (0.1705, 0.8090)),
    (two(6, 7, 2, 7), (0.0544, 0.8478), (0.0342, 0.8534), (0.0582, 0.8062)),
):
    expected = {
        "ci_lower": mee[0],
        "ci_upper": mee[1],
        "miettinen_nurminen_ci_lower": mn[0],
        "miettinen_nurminen_ci_upper": mn[1],
        "newcombe_ci_lower": hybrid[0],
        "newcombe_ci_upper": hybrid[1],
    }
    out.add("compare_proportions", row, expected, newcombe, 2e-3)
for x, n, low, high in (
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
):
    out.add(
        "wilson",
        {"successes": x, "n": n},
        {"ci_lower": low, "ci_upper": high},
        "Newcombe (1998a), Table I, method 3",
        1e-2,
    )

# Cookie Cats, a widely published A/B test, from its counts.
given = two(8279, 45489, 8502, 44700)
expected = {"effect": -0.008201, "statistic": -3.164359, "p_value": 0.00155425}
out.add("compare_proportions", given, expected, "Cookie Cats, retention after 7 days, published counts", 1e-4)
given = {"counts": [44700, 45489], "shares": [0.5, 0.5]}
out.add("split_once", given, {"statistic": 6.902405, "p_value": 0.00860799}, "Cookie Cats, published counts", 1e-6)
given = {"counts": [821588, 815482], "shares": [0.5, 0.5]}
out.add("split_once", given, {"p_value": 1.8e-6}, "Kohavi, Tang and Xu (2020), chapter 21, sample ratio 50.2 %", 2e-2)
given = {"counts": [821600, 815482], "shares": [0.5, 0.5], "concentration": 100}
out.add(
    "split_anytime",
    given,
    {"statistic": 6.57707971},
    "sequential SRM at concentration 100, independently computed",
    1e-8,
)

# Group-sequential constants.
looks = [0.2, 0.4, 0.6, 0.8, 1.0]
for spending, bounds in (
    ("obrien_fleming", (4.876885, 3.357012, 2.680280, 2.289817, 2.031032)),
    ("power", (3.090232, 2.714112, 2.472777, 2.279863, 2.114027)),
):
    expected = {f"bounds.{i}": b for i, b in enumerate(bounds)}
    given = {"fractions": looks, "spending": spending}
    out.add("group_sequential_bounds", given, expected, "Lan and DeMets (1983) spending, R ldbounds", 1e-5)
pocock = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413176, 10: 2.555}
flat = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040073, 10: 2.087}
for n, constant in pocock.items():
    given = {"looks": n, "family": "pocock"}
    out.add("classical_bounds", given, {"bounds.0": constant}, "Jennison and Turnbull (2000), Table 2.1", 4e-4)
for n, constant in flat.items():
    given = {"looks": n, "family": "obrien_fleming"}
    expected = {f"bounds.{n - 1}": constant}
    out.add("classical_bounds", given, expected, "Jennison and Turnbull (2000), Table 2.3", 4e-4)
for n, reach in ((1000, 3.36388773), (5000, 3.03520899), (10000, 3.06147722), (100000, 3.33685753)):
    given = {"n_units": n, "planned_units": 5000, "tuned": "approximate"}
    out.add(
        "sequence_multiplier", given, {"multiplier": reach}, "GrowthBook's documented formula at tuning 5,000", 1e-8
    )

# Durations: Freireich et al. (1963), 6-mercaptopurine against placebo, weeks in remission.
drug = {
    "times": [6, 7, 9, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 34, 35],
    "events": [3, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0],
    "censored": [1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 2, 1, 1],
}
placebo = {
    "times": [1, 2, 3, 4, 5, 8, 11, 12, 15, 17, 22, 23],
    "events": [2, 2, 1, 2, 2, 4, 2, 2, 1, 1, 1, 1],
    "censored": [0] * 12,
}
freireich = "Freireich et al. (1963), in Cox and Oakes (1984), Table 1.1; Kleinbaum and Klein (2012), chapter 2"
expected = {"chi_square": 16.79, "observed_treatment": 9, "expected_treatment": 19.25}
out.add("log_rank", {"control": placebo, "treatment": drug}, expected, freireich, 5e-4)
expected = {"quantile_time": 23, "curve.0.survival": 0.8571, "curve.1.survival": 0.8067, "curve.6.survival": 0.4482}
out.add("kaplan_meier", {"table": drug}, expected, freireich, 2e-4)
out.add("kaplan_meier", {"table": placebo}, {"quantile_time": 8}, freireich)

# R's aml data: survfit and survdiff in the manual of package survival.
kept = {
    "times": [9, 13, 18, 23, 28, 31, 34, 45, 48, 161],
    "events": [1, 1, 1, 1, 0, 1, 1, 0, 1, 0],
    "censored": [0, 1, 0, 0, 1, 0, 0, 1, 0, 1],
}
stopped = {
    "times": [5, 8, 12, 16, 23, 27, 30, 33, 43, 45],
    "events": [2, 2, 1, 0, 1, 1, 1, 1, 1, 1],
    "censored": [0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
}
aml = "R survival: survdiff(Surv(time, status) ~ x, data = aml)"
expected = {"chi_square": 3.396389, "observed_treatment": 7, "expected_treatment": 10.69, "p_value": 0.0653}
out.add("log_rank", {"control": stopped, "treatment": kept}, expected, aml, 1e-3)
out.add("kaplan_meier", {"table": kept}, {"quantile_time": 31}, aml)
out.add("kaplan_meier", {"table": stopped}, {"quantile_time": 23}, aml)

# Power: examples of R's stats package.
mean = {"kind": "mean", "mean": 0.0, "sd": 1.0}
out.add(
    "achieved_power", {"baseline": mean, "effect": 1.0, "n_units": 40}, {"power": 0.8689528}, "R ?power.t.test", 1e-6
)
given = {"baseline": mean, "effect": 1.0, "power": 0.9}
out.add("required_units", given, {"exact": 2 * 22.02110}, "R ?power.t.test", 1e-6)
given = {"baseline": {"mean": 0.5}, "effect": 0.25, "n_units": 100}
out.add("achieved_power", given, {"power": 0.740}, "R ?power.prop.test", 1e-3)
for power, n in ((0.9, 76.7), (0.8, 57.67344)):
    given = {"baseline": {"mean": 0.5}, "effect": 0.25, "power": power}
    out.add("required_units", given, {"exact": 2 * n}, "R ?power.prop.test", 2e-4)
ratio = {"kind": "ratio", "mean": 1.0, "sd": 1.0}
n = 3139.5442037018765  # where one fixed look has 80 %
simulated = "simulated reference: 14 looks at the drift where one look has 80 %, 10,000 runs"
for design, power, share in (
    ({"kind": "group_sequential", "looks": 14}, 0.784, 0.76),
    ({"kind": "group_sequential", "looks": 14, "spending": "power"}, 0.767, 0.72),
    ({"kind": "confidence_sequence", "looks": 14}, 0.484, 0.83),
):
    given = {"baseline": ratio, "effect": 0.1, "n_units": n, "design": design}
    out.add("achieved_power", given, {"power": power, "expected_share_of_units": share}, simulated, 1.5e-2)
for looks, spending, inflation in ((5, "obrien_fleming", 1.026), (5, "pocock", 1.229)):
    # Classical boundaries; the spending versions are close to them but not equal.
    given = {
        "baseline": ratio,
        "effect": 0.1,
        "design": {"kind": "group_sequential", "looks": looks, "spending": spending},
    }
    expected = {"inflation": inflation}
    out.add(
        "required_units",
        given,
        expected,
        "Jennison and Turnbull (2000), Tables 2.2 and 2.4, power 0.8 (classical)",
        2e-2,
    )

# Anytime-valid regression: lm(mpg ~ wt + hp) on R's mtcars, g = 1 (R avlm).
mpg = [
    21,
    21,
    22.8,
    21.4,
    18.7,
    18.1,
    14.3,
    24.4,
    22.8,
    19.2,
    17.8,
    16.4,
    17.3,
    15.2,
    10.4,
    10.4,
    14.7,
    32.4,
    30.4,
    33.9,
]
mpg += [21.5, 15.5, 15.2, 13.3, 19.2, 27.3, 26, 30.4, 15.8, 19.7, 15, 21.4]
wt = [
    2.62,
    2.875,
    2.32,
    3.215,
    3.44,
    3.46,
    3.57,
    3.19,
    3.15,
    3.44,
    3.44,
    4.07,
    3.73,
    3.78,
    5.25,
    5.424,
    5.345,
    2.2,
    1.615,
]
wt += [1.835, 2.465, 3.52, 3.435, 3.84, 3.845, 1.935, 2.14, 1.513, 3.17, 2.77, 3.57, 2.78]
hp = [
    110,
    110,
    93,
    110,
    175,
    105,
    245,
    62,
    95,
    123,
    123,
    180,
    180,
    180,
    205,
    215,
    230,
    66,
    52,
    65,
    97,
    150,
    150,
    245,
    175,
]
hp += [66, 91, 113, 264, 175, 335, 109]
given = {"outcome": mpg, "columns": [wt, hp], "names": ["wt", "hp"]}
expected = {"coefficients.1.p_value": 3.960321e-5, "coefficients.2.p_value": 0.0336434}
out.add("anytime_regression", given, expected, "R avlm: summary(av(lm(mpg ~ wt + hp, mtcars), g = 1))", 2e-6)
expected = {
    "coefficients.0.estimate": 37.22727,
    "coefficients.1.estimate": -3.87783,
    "coefficients.2.estimate": -0.03177,
    "coefficients.1.se": 0.63273,
    "coefficients.2.se": 0.00903,
    "overall.statistic": 69.21,
}
out.add("anytime_regression", given, expected, "R: summary(lm(mpg ~ wt + hp, mtcars))", 4e-4)

# Multiplicity: the fifteen p-values of Benjamini and Hochberg (1995), section 3.2.
p_values = [
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.3240,
    0.4262,
    0.5719,
    0.6528,
    0.7590,
    1.0,
]
source = "Benjamini and Hochberg (1995), section 3.2: four rejected, three by Bonferroni-type procedures"
expected = {f"secondaries.{i}.rejected": i < 4 for i in range(15)}
out.add("adjust_p_values", {"p_values": p_values, "method": "bh"}, expected, source)
expected = {f"secondaries.{i}.rejected": i < 3 for i in range(15)}
out.add("adjust_p_values", {"p_values": p_values}, expected, source)

# Simpson's paradox: Berkeley admissions (R's UCBAdmissions), women against men by department.
rows = [
    (512, 825, 89, 108),
    (353, 560, 17, 25),
    (120, 325, 202, 593),
    (138, 417, 131, 375),
    (53, 191, 94, 393),
    (22, 373, 24, 341),
]
names = ("x_control", "n_control", "x_treatment", "n_treatment")
given = {"epochs": [dict(zip(names, row, strict=True)) for row in rows]}
expected = {"odds_ratio": 1 / 0.9046968, "statistic": 1.5246**0.5, "p_value": 0.2169, "simpson": "reversed"}
out.add(
    "combine_rates", given, expected, "R: mantelhaen.test(UCBAdmissions, correct = FALSE); Bickel et al. (1975)", 4e-4
)

# McNemar: Bentur et al., in Fagerland, Lydersen and Laake (2013), Table 1.
given = {"only_control": 1, "only_treatment": 7, "n_cases": 21}
expected = {"p_value_exact": 0.0703125, "p_value_mid": 0.0390625}
out.add("mcnemar", given, expected, "Fagerland, Lydersen and Laake (2013), Table 3: 0.070 and 0.039", 1e-9)

# tau-bench, gpt-4o, airline (MIT licence): successes of 50 tasks in 4 trials each.
successes = [0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 4, 2, 0, 2, 1, 1, 4, 0, 4, 3, 0, 0, 4]
successes += [0, 2, 2, 0, 1, 2, 2, 0, 0, 3, 4, 4, 3, 4, 1, 3, 2, 4, 1, 2, 2, 2, 1, 4, 4]
for k, value in ((1, 0.42), (2, 0.273333), (3, 0.22), (4, 0.20)):
    given = {"successes": successes, "trials": [4] * 50, "k": k}
    out.add("pass_all", given, {"pass_all": value}, "tau-bench leaderboard, gpt-4o airline, pass^k", 2e-6)
trials = [[1.0] * s + [0.0] * (4 - s) for s in successes]
given = {"scores": [score for case in trials for score in case], "clusters": [i for i in range(50) for _ in range(4)]}
expected = {"mean": 0.42, "se_naive": 0.034900, "se_clustered": 0.052216}
out.add("score_mean", given, expected, "tau-bench trajectories, independently computed", 1e-5)

# Poisson rates: Ng and Tang (2005), breast cancer after fluoroscopy (Boice and Monson 1977).
given = {"events_control": 15, "exposure_control": 19017.0, "events_treatment": 41, "exposure_treatment": 28010.0}
expected = {"ratio": 1.8558, "statistic": 2.0818}
out.add("compare_rates", given, expected, "Boice and Monson (1977), in Graham, Mengersen and Morton (2003)", 2e-3)

if len(sys.argv) > 1:  # the trajectories themselves, where they are at hand
    with Path(sys.argv[1]).open(newline="") as file:
        rewards = list(csv.DictReader(file))
    found = [sum(float(r["reward"]) for r in rewards if int(r["task_id"]) == i) for i in range(50)]
    assert found == [float(s) for s in successes]

out.write()
