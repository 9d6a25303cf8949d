"""Vectors from scipy and statsmodels: `python tests/conformance/generate_methods_libraries.py`.

Only functions that the engine does not call for the same result: another algorithm, another parametrisation, or the
unit rows behind a summary.
"""

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from method_vectors import VectorFile
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from statsmodels.stats import power as smpower
from statsmodels.stats import proportion, rates
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

SCIPY, STATSMODELS = f"scipy {scipy.__version__}", f"statsmodels {statsmodels.__version__}"
out = VectorFile("libraries", "Second implementations in scipy and statsmodels, run by generate_methods_libraries.py")
rng = np.random.default_rng(20261122)


def rounded(values, digits=3):
    return np.round(values, digits).tolist()


def arms(n_c, n_t, shift=0.2, sd=1.5):
    return rounded(rng.normal(1.0, 1.0, n_c)), rounded(rng.normal(1.0 + shift, sd, n_t))


# Means ---------------------------------------------------------------------------------------------------------------
for n_c, n_t in ((5, 9), (30, 30), (200, 50), (1000, 1200)):
    c, t = arms(n_c, n_t)
    result = stats.ttest_ind(t, c, equal_var=False)
    low, high = result.confidence_interval(0.95)
    expected = {
        "p_value": result.pvalue,
        "df": result.df,
        "statistic": result.statistic,
        "ci_lower": low,
        "ci_upper": high,
    }
    out.add("compare_values", {"control": c, "treatment": t}, expected, f"{SCIPY} ttest_ind(equal_var=False)", 1e-8)
    given = {
        "mean_control": float(np.mean(c)),
        "sd_control": float(np.std(c, ddof=1)),
        "n_control": n_c,
        "mean_treatment": float(np.mean(t)),
        "sd_treatment": float(np.std(t, ddof=1)),
        "n_treatment": n_t,
        "alpha": 0.1,
    }
    low, high = CompareMeans(DescrStatsW(t), DescrStatsW(c)).tconfint_diff(alpha=0.1, usevar="unequal")
    source = f"{STATSMODELS} CompareMeans.tconfint_diff(usevar='unequal')"
    out.add("compare_summaries", given, {"ci_lower": low, "ci_upper": high, "p_value": result.pvalue}, source, 1e-8)

# Proportions ---------------------------------------------------------------------------------------------------------
for x_c, n_c, x_t, n_t in (
    (48, 80, 56, 70),
    (3, 50, 9, 45),
    (500, 10000, 560, 10000),
    (0, 20, 4, 25),
    (8502, 44700, 8279, 45489),
):
    z, p = proportion.proportions_ztest([x_t, x_c], [n_t, n_c])
    low, high = proportion.confint_proportions_2indep(x_t, n_t, x_c, n_c, method="newcomb", compare="diff")
    ratio = proportion.confint_proportions_2indep(x_t, n_t, x_c, n_c, method="score", compare="ratio", correction=False)
    expected = {"statistic": z, "p_value": p, "newcombe_ci_lower": low, "newcombe_ci_upper": high}
    given = {"x_control": x_c, "n_control": n_c, "x_treatment": x_t, "n_treatment": n_t}
    out.add(
        "compare_proportions",
        given,
        expected,
        f"{STATSMODELS} proportions_ztest, confint_proportions_2indep(newcomb)",
        1e-8,
    )
    if x_c:
        expected = {"lift_ci_lower": ratio[0] - 1, "lift_ci_upper": ratio[1] - 1}
        source = f"{STATSMODELS} confint_proportions_2indep(score, ratio, correction=False)"
        out.add("compare_proportions", given, expected, source, 1e-5)
for x, n, alpha in ((3, 10, 0.05), (0, 20, 0.05), (200, 263, 0.01)):
    low, high = proportion.proportion_confint(x, n, alpha=alpha, method="wilson")
    given = {"successes": x, "n": n, "alpha": alpha}
    out.add("wilson", given, {"ci_lower": low, "ci_upper": high}, f"{STATSMODELS} proportion_confint(wilson)", 1e-9)

# Poisson rates -------------------------------------------------------------------------------------------------------
for e_c, t_c, e_t, t_t in (
    (30, 54308.7, 60, 51477.5),
    (9, 100.0, 3, 100.0),
    (10100, 1e4, 10000, 1e4),
    (4, 8.0, 11, 9.5),
    (1, 1.0, 1, 1.0),
):
    test = rates.test_poisson_2indep(e_t, t_t, e_c, t_c, method="score", compare="ratio")
    ratio = rates.confint_poisson_2indep(e_t, t_t, e_c, t_c, method="score", compare="ratio")
    diff = rates.confint_poisson_2indep(e_t, t_t, e_c, t_c, method="score", compare="diff")
    exact = rates.test_poisson_2indep(e_t, t_t, e_c, t_c, method="exact-cond", compare="ratio").pvalue
    given = {"events_control": e_c, "exposure_control": t_c, "events_treatment": e_t, "exposure_treatment": t_t}
    expected = {"statistic": test.statistic, "p_value": test.pvalue, "p_value_exact": exact}
    if e_c == e_t:
        expected.pop("statistic")
    out.add("compare_rates", given, expected, f"{STATSMODELS} test_poisson_2indep(score; exact-cond)", 1e-8)
    expected = {
        "ratio_ci_lower": ratio[0],
        "ratio_ci_upper": ratio[1],
        "effect_ci_lower": diff[0],
        "effect_ci_upper": diff[1],
    }
    out.add("compare_rates", given, expected, f"{STATSMODELS} confint_poisson_2indep(score), found to 1e-6", 2e-5)

# Durations -----------------------------------------------------------------------------------------------------------
for n in (12, 40, 150):
    both = []
    for scale in (10.0, 15.0):
        true, censor = rng.exponential(scale, n), rng.exponential(25.0, n)
        both.append((rounded(np.minimum(true, censor), 1), (true <= censor).tolist()))
    tables = []
    for durations, observed in both:
        times = sorted(set(durations))
        events = [sum(1 for d, o in zip(durations, observed, strict=True) if d == t and o) for t in times]
        censored = [sum(1 for d, o in zip(durations, observed, strict=True) if d == t and not o) for t in times]
        tables.append({"times": times, "events": events, "censored": censored})
        out.add(
            "risk_table",
            {"durations": durations, "observed": observed},
            {
                "times.0": times[0],
                "events.0": events[0],
                "censored.1": censored[1],
                f"events.{len(times) - 1}": events[-1],
            },
            "counted in a loop",
        )
        fit = SurvfuncRight(np.array(durations), np.array(observed, dtype=int))
        expected = {"quantile_time": fit.quantile(0.5)}
        for i in (0, len(fit.surv_prob) // 2):
            expected |= {f"curve.{i}.survival": fit.surv_prob[i], f"curve.{i}.se": fit.surv_prob_se[i]}
        low, high = fit.quantile_ci(0.5)
        expected |= {"quantile_ci_lower": low, "quantile_ci_upper": high if np.isfinite(high) else None}
        source = f"{STATSMODELS} SurvfuncRight, one row per unit"
        out.add("kaplan_meier", {"table": tables[-1]}, expected, source, 1e-9)
    group = np.repeat([0, 1], n)
    durations, observed = np.concatenate([b[0] for b in both]), np.concatenate([b[1] for b in both]).astype(int)
    chi2, p = survdiff(durations, observed, group)
    given = {"control": tables[0], "treatment": tables[1]}
    out.add("log_rank", given, {"chi_square": chi2, "p_value": p}, f"{STATSMODELS} survdiff, one row per unit", 1e-8)
    merged = SurvfuncRight(durations, observed)
    times = sorted({*tables[0]["times"], *tables[1]["times"]})
    event_times = merged.surv_times[merged.n_events > 0]
    at = times.index(event_times[1])
    out.add(
        "merge_risk_tables",
        {"first": tables[0], "second": tables[1]},
        {f"times.{at}": event_times[1], f"events.{at}": merged.n_events[merged.n_events > 0][1]},
        f"{STATSMODELS} SurvfuncRight on all units together",
    )

# Margins -------------------------------------------------------------------------------------------------------------
for n_c, n_t, margin, relative in (
    (20, 25, 0.5, False),
    (80, 90, 0.3, False),
    (40, 60, 0.2, True),
    (300, 250, 0.1, True),
):
    c, t = arms(n_c, n_t, shift=-0.05)
    given = {
        "value_control": float(np.mean(c)),
        "se_control": float(stats.sem(c)),
        "value_treatment": float(np.mean(t)),
        "se_treatment": float(stats.sem(t)),
        "df_control": n_c - 1,
        "df_treatment": n_t - 1,
        "margin": margin,
        "relative": relative,
    }
    cc, tt = np.array(c), np.array(t)
    if relative:
        lower = stats.ttest_ind(tt, (1 - margin) * cc, equal_var=False, alternative="greater")
        upper = stats.ttest_ind(tt, (1 + margin) * cc, equal_var=False, alternative="less")
        source = f"{SCIPY} ttest_ind of treatment's values against (1 -+ r) times control's"
        p_tost = max(lower.pvalue, upper.pvalue)
    else:
        lower = stats.ttest_ind(tt + margin, cc, equal_var=False, alternative="greater")
        upper = stats.ttest_ind(tt - margin, cc, equal_var=False, alternative="less")
        source = f"{SCIPY} ttest_ind on shifted values; {STATSMODELS} ttost_ind(usevar='unequal')"
        p_tost = ttost_ind(tt, cc, -margin, margin, usevar="unequal")[0]
    out.add(
        "non_inferiority", given, {"p_value": lower.pvalue, "statistic": lower.statistic, "df": lower.df}, source, 1e-8
    )
    decrease = {**given, "direction": "decrease"}
    out.add("non_inferiority", decrease, {"p_value": upper.pvalue, "statistic": -upper.statistic}, source, 1e-8)
    out.add("equivalence", given, {"p_value": p_tost}, source, 1e-8)

# Multiplicity --------------------------------------------------------------------------------------------------------
for m in (4, 9, 25):
    p_values = rounded(rng.beta(0.4, 1.5, m), 6)
    adjusted = stats.false_discovery_control(p_values, method="bh")
    expected = {f"secondaries.{i}.p_adjusted": a for i, a in enumerate(adjusted)}
    given = {"p_values": p_values, "method": "bh"}
    out.add("adjust_p_values", given, expected, f"{SCIPY} false_discovery_control", 1e-9)

# Regression ----------------------------------------------------------------------------------------------------------
for n, k, hc in ((30, 1, "HC2"), (60, 2, "HC3"), (400, 3, "HC2")):
    x = np.round(rng.normal(size=(k, n)), 3)
    treated = rng.random(n) < 0.4
    y = np.round(1 + treated * (0.5 + x[0]) + x.sum(axis=0) + rng.normal(size=n) * (1 + treated), 3)
    centred = x - x.mean(axis=1, keepdims=True)
    design = np.column_stack([np.ones(n), treated, *centred, *(treated * centred)])
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    weights = (y - design @ beta) ** 2 / (1 - leverage) ** (1 if hc == "HC2" else 2)
    se = np.sqrt((inverse @ (design.T * weights) @ design @ inverse)[1, 1])
    df = n - design.shape[1]
    expected = {"effect": beta[1], "se": se, "p_value": 2 * stats.t.sf(abs(beta[1] / se), df), "df": df}
    given = {"outcome": y.tolist(), "treated": treated.tolist(), "covariates": x.tolist(), "hc": hc}
    out.add("regression_adjusted", given, expected, "the sandwich written out in numpy", 1e-8)
    fit = sm.OLS(y, design).fit()
    columns = [column.tolist() for column in design[:, 1:].T]
    expected = {f"coefficients.{i}.se": s for i, s in enumerate(fit.bse)} | {"overall.statistic": fit.fvalue}
    out.add("anytime_regression", {"outcome": y.tolist(), "columns": columns}, expected, f"{STATSMODELS} OLS", 1e-8)

# Power ---------------------------------------------------------------------------------------------------------------
for d, n_c, ratio in ((0.5, 64, 1.0), (0.3, 100, 2.0), (1.0, 20, 1.0)):
    found = smpower.TTestIndPower().power(d, n_c, 0.05, ratio=ratio)
    share = ratio / (1 + ratio)
    given = {
        "baseline": {"kind": "mean", "mean": 5.0, "sd": 2.0},
        "effect": 2 * d,
        "n_units": n_c * (1 + ratio),
        "share_treatment": share,
    }
    # Equal standard deviations with unequal arms: Satterthwaite's degrees of freedom differ from the pooled ones.
    out.add("achieved_power", given, {"power": found}, f"{STATSMODELS} TTestIndPower", 1e-6 if ratio == 1 else 5e-3)
for p, d, n in ((0.1, 0.02, 2000), (0.5, 0.1, 300), (0.03, -0.01, 5000)):
    found = proportion.power_proportions_2indep(d, p, n, alpha=0.05).power
    given = {"baseline": {"mean": p}, "effect": d, "n_units": 2 * n}
    out.add("achieved_power", given, {"power": found}, f"{STATSMODELS} power_proportions_2indep", 1e-4)
for low, high, n in ((0.4, 0.5, 500), (2.0, 2.2, 800)):
    found = rates.power_poisson_diff_2indep(high, low, n, 1, 0.05, method_var="score").power
    given = {"baseline": {"kind": "count", "mean": low}, "effect": high - low, "n_units": 2 * n}
    out.add("achieved_power", given, {"power": found}, f"{STATSMODELS} power_poisson_diff_2indep(score)", 1e-9)
for d, target in ((0.4, 0.8), (0.8, 0.9)):
    n = smpower.TTestIndPower().solve_power(d, None, 0.05, target)
    given = {"baseline": {"kind": "mean", "mean": 1.0, "sd": 1.0}, "effect": d, "power": target}
    out.add("required_units", given, {"exact": 2 * n}, f"{STATSMODELS} TTestIndPower.solve_power", 1e-6)
    effect = smpower.TTestIndPower().solve_power(None, 50, 0.05, target)
    given = {"baseline": {"kind": "mean", "mean": 1.0, "sd": 1.0}, "n_units": 100, "power": target}
    out.add("minimum_effect", given, {"effect": effect}, f"{STATSMODELS} TTestIndPower.solve_power", 1e-5)
n = proportion.samplesize_proportions_2indep_onetail(0.02, 0.1, 0.8, alpha=0.05)
given = {"baseline": {"mean": 0.1}, "effect": 0.02}
out.add("required_units", given, {"exact": 2 * n}, f"{STATSMODELS} samplesize_proportions_2indep_onetail", 1e-3)

# Group-sequential tests, by the multivariate normal distribution function --------------------------------------------


def crossing_by_rectangle(fractions, bounds, drift):
    fractions = np.array(fractions)
    cov = np.sqrt(np.minimum.outer(fractions, fractions) / np.maximum.outer(fractions, fractions))
    normal = stats.multivariate_normal(
        drift * np.sqrt(fractions), cov, seed=1, maxpts=4_000_000, abseps=1e-8, releps=1e-8
    )
    return 1 - normal.cdf(np.array(bounds), lower_limit=-np.array(bounds))


for fractions, bounds, drift in (
    ([0.5, 1.0], [2.2, 2.2], 0.0),
    ([0.3, 0.7, 1.0], [2.5, 2.2, 2.0], 0.0),
    ([0.3, 0.7, 1.0], [2.5, 2.2, 2.0], 2.8),
    ([0.2, 0.5, 0.6, 1.0], [3.0, 2.5, 2.4, 2.1], 1.5),
):
    total = crossing_by_rectangle(fractions, bounds, drift)
    given = {"fractions": fractions, "bounds": bounds, "drift": drift}
    out.add("group_sequential_crossing", given, {"total": total}, f"{SCIPY} multivariate_normal.cdf", 1e-5)

# Paired binary, cluster errors ---------------------------------------------------------------------------------------
for b, c in ((8, 2), (59, 6), (1, 7), (25, 30)):
    exact = stats.binomtest(b, b + c).pvalue
    mid = 2 * stats.binom.cdf(min(b, c), b + c, 0.5) - stats.binom.pmf(min(b, c), b + c, 0.5)
    given = {"only_control": b, "only_treatment": c}
    out.add("mcnemar", given, {"p_value_exact": exact, "p_value_mid": mid}, f"{SCIPY} binomtest; binom for mid-p", 1e-9)
for n_cases, trials in ((15, 4), (40, 3)):
    scores = rounded(rng.normal(size=(n_cases, 1)) + rng.normal(size=(n_cases, trials)))
    flat, ids = np.ravel(scores), np.repeat(np.arange(n_cases), trials)
    fit = sm.OLS(flat, np.ones_like(flat)).fit(cov_type="cluster", cov_kwds={"groups": ids}, use_t=True)
    low, high = fit.conf_int()[0]
    expected = {"mean": fit.params[0], "se_clustered": fit.bse[0], "ci_lower": low, "ci_upper": high}
    given = {"scores": flat.tolist(), "clusters": ids.tolist()}
    out.add("score_mean", given, expected, f"{STATSMODELS} OLS(cov_type='cluster')", 1e-8)
    other = rounded(np.array(scores) * 0.5 + 0.2 + rng.normal(size=(n_cases, trials)))
    test = stats.ttest_rel(np.mean(other, axis=1), np.mean(scores, axis=1))
    low, high = test.confidence_interval()
    expected = {"p_value": test.pvalue, "df": test.df, "ci_lower": low, "ci_upper": high}
    out.add(
        "compare_cases", {"control": scores, "treatment": other}, expected, f"{SCIPY} ttest_rel of case means", 1e-8
    )
    groups = np.arange(n_cases) // 3
    d = np.mean(other, axis=1) - np.mean(scores, axis=1)
    fit = sm.OLS(d, np.ones_like(d)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    given = {"control": scores, "treatment": other, "clusters": groups.tolist()}
    expected = {"se": fit.bse[0], "p_value": fit.pvalues[0]}
    out.add("compare_cases", given, expected, f"{STATSMODELS} OLS(cov_type='cluster') of differences", 1e-8)
    between = float(stats.f_oneway(*scores).statistic)
    within = float(np.mean(np.var(scores, axis=1, ddof=1)))
    expected = {"within": within, "between": (between - 1) * within / trials}
    out.add("variance_split", {"scores": scores}, expected, f"{SCIPY} f_oneway", 1e-8)
    fit = sm.MixedLM(flat, np.ones((flat.size, 1)), groups=ids).fit(reml=True)
    expected = {"within": fit.scale, "between": float(fit.cov_re[0, 0])}
    out.add(
        "variance_split",
        {"scores": scores},
        expected,
        f"{STATSMODELS} MixedLM (REML; equal for a balanced design)",
        1e-3,
    )
dev, held = rounded(rng.normal(0.3, 0.5, 30)), rounded(rng.normal(0.02, 0.5, 25))
one, two = stats.ttest_1samp(held, 0), stats.ttest_ind(dev, held, equal_var=False)
low, high = one.confidence_interval()
expected = {
    "held_out_p_value": one.pvalue,
    "held_out_ci_lower": low,
    "held_out_ci_upper": high,
    "gap_p_value": two.pvalue,
}
out.add("generality", {"dev": dev, "held_out": held}, expected, f"{SCIPY} ttest_1samp, ttest_ind", 1e-8)

# Splits --------------------------------------------------------------------------------------------------------------
for counts, shares in (
    ([821588, 815482], [0.5, 0.5]),
    ([510, 480, 1010], [0.25, 0.25, 0.5]),
    ([44700, 45489], [0.5, 0.5]),
):
    test = stats.chisquare(counts, np.array(shares) * sum(counts))
    out.add(
        "split_once",
        {"counts": counts, "shares": shares},
        {"statistic": test.statistic, "p_value": test.pvalue},
        f"{SCIPY} chisquare",
        1e-9,
    )

# Traps ---------------------------------------------------------------------------------------------------------------
callers_c, callers_t = rounded(rng.gamma(2, 1, 60)), rounded(rng.gamma(2, 0.8, 110))
everyone = stats.ttest_ind([*callers_t, *[0.0] * 190], [*callers_c, *[0.0] * 240], equal_var=False)
among = stats.ttest_ind(callers_t, callers_c, equal_var=False).confidence_interval()
whole = everyone.confidence_interval()
out.add(
    "among_callers",
    {
        "n_control": 300,
        "callers_control": 60,
        "mean_control": float(np.mean(callers_c)),
        "variance_control": float(np.var(callers_c, ddof=1)),
        "n_treatment": 300,
        "callers_treatment": 110,
        "mean_treatment": float(np.mean(callers_t)),
        "variance_treatment": float(np.var(callers_t, ddof=1)),
    },
    {
        "itt_p_value": everyone.pvalue,
        "itt_ci_lower": whole.low,
        "itt_ci_upper": whole.high,
        "among_ci_lower": among.low,
        "among_ci_upper": among.high,
        "share_p_value": proportion.proportions_ztest([110, 60], [300, 300])[1],
        "status": "warn",
    },
    f"{SCIPY} ttest_ind with non-callers as zeros; {STATSMODELS} proportions_ztest",
    1e-8,
)
out.add(
    "differential_fallback",
    {
        "n_control": 400,
        "fallback_control": 8,
        "successes_fallback_control": 3,
        "successes_other_control": 120,
        "n_treatment": 380,
        "fallback_treatment": 31,
        "successes_fallback_treatment": 9,
        "successes_other_treatment": 125,
    },
    {
        "rate_p_value": proportion.proportions_ztest([31, 8], [380, 400])[1],
        "itt_p_value": proportion.proportions_ztest([134, 123], [380, 400])[1],
        "bound_lower": 125 / 380 - 128 / 400,
        "bound_upper": 156 / 380 - 120 / 400,
    },
    f"{STATSMODELS} proportions_ztest; bounds counted",
    1e-8,
)

out.write()
