"""Vectors from packages that are no dependency of genux: `python tests/conformance/generate_methods_oracles.py`.

Run it in an environment of its own: `pip install lifelines==0.30.3 tea-tasting==1.14.0 savvi==0.3.1 matplotlib`.
"""

from importlib.metadata import version

import numpy as np
import pandas as pd
import tea_tasting as tt
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import median_survival_times
from method_vectors import VectorFile
from savvi.linear_regression import log_bf
from savvi.multinomial import InhomogeneousBernoulliProcess, Multinomial

out = VectorFile("oracles", "Peers' packages, run by generate_methods_oracles.py")
rng = np.random.default_rng(99)

# lifelines -----------------------------------------------------------------------------------------------------------
source = f"lifelines {version('lifelines')}"
for n in (25, 80):
    arms = []
    for scale in (8.0, 14.0):
        true, censor = rng.exponential(scale, n), rng.exponential(20.0, n)
        arms.append((np.round(np.minimum(true, censor), 1), true <= censor))
    tables = []
    for durations, observed in arms:
        fit = KaplanMeierFitter().fit(durations, observed)
        times, where = np.unique(durations, return_inverse=True)
        table = {
            "times": times.tolist(),
            "events": np.bincount(where, weights=observed).astype(int).tolist(),
            "censored": np.bincount(where, weights=~observed).astype(int).tolist(),
        }
        tables.append(table)
        low, high = median_survival_times(fit.confidence_interval_).iloc[0]
        expected = {
            "quantile_time": fit.median_survival_time_,
            "quantile_ci_lower": low,
            "quantile_ci_upper": high if np.isfinite(high) else None,
        }
        at = next(i for i, e in enumerate(np.cumsum(np.array(table["events"]) > 0)) if e == 4)
        row = fit.confidence_interval_.loc[times[at]]
        expected |= {
            "curve.3.ci_lower": row.iloc[0],
            "curve.3.ci_upper": row.iloc[1],
            "curve.3.survival": fit.predict(times[at]),
        }
        out.add("kaplan_meier", {"table": table}, expected, f"{source} KaplanMeierFitter", 1e-9)
    test = logrank_test(arms[1][0], arms[0][0], arms[1][1], arms[0][1])
    expected = {"chi_square": test.test_statistic, "p_value": test.p_value}
    out.add("log_rank", {"control": tables[0], "treatment": tables[1]}, expected, f"{source} logrank_test", 1e-9)

# tea-tasting ---------------------------------------------------------------------------------------------------------
source = f"tea-tasting {version('tea-tasting')}"
for n_c, n_t in ((200, 180), (900, 1100)):
    n = n_c + n_t
    variant = np.repeat([0, 1], [n_c, n_t])
    visits = 1 + rng.poisson(3 + 0.2 * variant)
    clicks = rng.binomial(visits, 0.3 + 0.02 * variant)
    before = np.round(clicks * 0.5 + rng.gamma(2, 1, n), 3)
    data = pd.DataFrame({"variant": variant, "visits": visits, "clicks": clicks, "before": before})
    result = tt.Experiment(
        mean=tt.Mean("clicks"), ratio=tt.RatioOfMeans("clicks", "visits"), cuped=tt.Mean("clicks", covariate="before")
    ).analyze(data)
    c, t = data[data.variant == 0], data[data.variant == 1]
    rows = {"control": c.clicks.tolist(), "treatment": t.clicks.tolist()}
    parts = {"control_denominator": c.visits.tolist(), "treatment_denominator": t.visits.tolist()}
    covariates = {"control_covariate": c.before.tolist(), "treatment_covariate": t.before.tolist()}
    # Its theta uses covariances over both arms together, ours those within arms: equal to a few per mille of the error.
    for name, given, tolerance in (
        ("mean", rows, 1e-8),
        ("ratio", rows | parts, 1e-8),
        ("cuped", rows | covariates, 2e-2),
    ):
        m = result[name]
        expected = {
            "effect": m.effect_size,
            "ci_lower": m.effect_size_ci_lower,
            "ci_upper": m.effect_size_ci_upper,
            "p_value": m.pvalue,
        }
        if name == "cuped":
            expected.pop("p_value")
        out.add("compare_values", given, expected, f"{source} {name}, absolute scale", tolerance)
srm = tt.SampleRatio().analyze(pd.DataFrame({"variant": np.repeat([0, 1], [5100, 4900])}), 0, 1, "variant")
out.add(
    "split_once",
    {"counts": [5100, 4900], "shares": [0.5, 0.5]},
    {"p_value": srm.pvalue},
    f"{source} SampleRatio (its continuity correction)",
    0.05,
)

# savvi ---------------------------------------------------------------------------------------------------------------
source = f"savvi {version('savvi')}"
for t, df, g, n in ((2.5, 47, 1.0, 50), (4.0, 197, 1.0, 200), (1.0, 97, 3.0, 100)):
    value = float(np.squeeze(log_bf(np.array([t * t]), df, g, np.array([float(n)]))))
    given = {"estimate": t, "se": 1.0, "n": n, "n_coefficients": n - df, "g": g}
    out.add("anytime_coefficient", given, {"log_e_value": value}, f"{source} log_bf", 1e-9)
for counts, shares, k in (([821600, 815482], [0.5, 0.5], 100), ([300, 280, 640], [0.25, 0.25, 0.5], 100)):
    test = Multinomial(0.05, np.array(shares), k)
    test.update(np.array(counts))
    given = {"counts": counts, "shares": shares, "concentration": k}
    out.add("split_anytime", given, {"statistic": np.log(test.odds)}, f"{source} Multinomial", 1e-7)
for control, treatment, k in ((50, 90, 100), (400, 430, 100)):
    test = InhomogeneousBernoulliProcess(0.05, np.array([0.5, 0.5]), lambda d: [d[0] == d[1]], np.array([[-1, 1]]), k)
    test.counts, test.n = np.array([control, treatment]), control + treatment
    low, high = np.exp(test.calculate_conf_int()[0])
    given = {"successes_control": control, "successes_treatment": treatment, "concentration": k}
    out.add(
        "sequential_conversion",
        given,
        {"ratio_ci_lower": low, "ratio_ci_upper": high},
        f"{source} InhomogeneousBernoulliProcess (convex solver)",
        1e-4,
    )

out.write()
