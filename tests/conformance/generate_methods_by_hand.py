"""Vectors from independent, naive implementations: `python tests/conformance/generate_methods_by_hand.py`.

Loops, exact fractions, numerical integration and numerical maximisation, straight from the definitions. Nothing here
imports genux.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
from method_vectors import VectorFile
from scipy import integrate, optimize, special, stats

out = VectorFile("by_hand", "Naive second implementations, run by generate_methods_by_hand.py")
rng = np.random.default_rng(7)


def rounded(values, digits=3):
    return np.round(values, digits).tolist()


# Anytime-valid regression: the marginal density under the prior, from scipy's central t and F -----------------------


def t_evidence(t, df, n, g):
    """With a standardised effect of variance 1 / g, t over sqrt(1 + n / g) is central t: a ratio of densities."""
    scale = math.sqrt(1 + n / g)
    return stats.t.pdf(t / scale, df) / scale / stats.t.pdf(t, df)


for t, n, k, g in ((2.0, 40, 3, 1.0), (3.5, 32, 3, 1.0), (-2.8, 100, 2, 5.0), (0.5, 60, 4, 2.0)):
    e = t_evidence(t, n - k, n, g)
    given = {"estimate": t * 0.3, "se": 0.3, "n": n, "n_coefficients": k, "g": g}
    out.add(
        "anytime_coefficient",
        given,
        {"log_e_value": math.log(e), "p_value": min(1.0, 1 / e)},
        "ratio of scipy t densities: marginal under the prior over null",
        1e-9,
    )
for t, n, k, g in ((2.0, 200, 3, 1.0), (4.0, 500, 2, 10.0)):
    edge = optimize.brentq(lambda u, n=n, k=k, g=g: t_evidence(u, n - k, n, g) - 20, 2.0, 4.5)
    given = {"estimate": t, "se": 1.0, "n": n, "n_coefficients": k, "g": g}
    out.add(
        "anytime_coefficient",
        given,
        {"ci_lower": t - edge, "ci_upper": t + edge},
        "root of the ratio of densities",
        1e-8,
    )


def f_evidence(f, d, df, n, g):
    scale = 1 + n / g
    return stats.f.pdf(f / scale, d, df) / scale / stats.f.pdf(f, d, df)


for f, d, df, n, g in ((5.0, 2, 29, 32, 1.0), (2.5, 3, 96, 100, 2.0)):
    log_e = math.log(f_evidence(f, d, df, n, g))
    given = {"statistic": f, "df": d, "df_residual": df, "n": n, "g": g}
    out.add(
        "anytime_f_test",
        given,
        {"log_e_value": log_e},
        "ratio of scipy F densities: marginal under the prior over null",
        1e-9,
    )


def t_radius(n, k, alpha, g):
    """Where the evidence reaches 1 / alpha, by bisection on the closed form of the paper's theorem."""

    def log_e(t2):
        r, nu = g / (g + n), n - k
        return 0.5 * math.log(r) + 0.5 * (nu + 1) * (math.log1p(t2 / nu) - math.log1p(r * t2 / nu))

    return math.sqrt(optimize.brentq(lambda t2: log_e(t2) + math.log(alpha), 0, 1e6))


for n, k in ((1000, 3), (10000, 5)):
    best = optimize.minimize_scalar(
        lambda u, n=n, k=k: t_radius(n, k, 0.05, math.exp(u)), bounds=(0, 12), method="bounded", options={"xatol": 1e-9}
    )
    out.add(
        "best_g", {"n": n, "n_coefficients": k}, {"value": math.exp(best.x)}, "minimum of the bisected radius", 1e-3
    )

# Sequential counts: the Beta mixture integrated ----------------------------------------------------------------------


def log_mixture(c, t, share, k):
    """ln of int theta^t (1 - theta)^c dBeta(theta), relative to its peak."""
    peak = (t + k * share) / (c + t + k)

    def log_term(x):
        return t * math.log(x) + c * math.log1p(-x) + stats.beta.logpdf(x, k * share, k * (1 - share))

    top = log_term(peak)
    width = math.sqrt(peak * (1 - peak) / (c + t + k))
    low, high = max(1e-12, peak - 12 * width), min(1 - 1e-12, peak + 12 * width)
    return top + math.log(
        integrate.quad(lambda x: math.exp(log_term(x) - top), low, high, points=[peak], epsabs=0, epsrel=1e-11)[0]
    )


for c, t, share, k in ((50, 90, 0.5, 100), (500, 620, 0.5, 1000), (30, 12, 0.3, 200), (4000, 4100, 0.5, 1000)):
    mixture = log_mixture(c, t, share, k)
    log_e = mixture - t * math.log(share) - c * math.log1p(-share)

    def against(ratio, c=c, t=t, share=share, mixture=mixture):
        theta = share * ratio / (share * ratio + 1 - share)
        return mixture - t * math.log(theta) - c * math.log1p(-theta) - math.log(20)

    point = t / c * (1 - share) / share
    expected = {
        "log_e_value": log_e,
        "ratio": point,
        "ratio_ci_lower": optimize.brentq(against, 1e-6, point),
        "ratio_ci_upper": optimize.brentq(against, point, 1e6),
    }
    given = {"successes_control": c, "successes_treatment": t, "share_treatment": share, "concentration": k}
    out.add(
        "sequential_conversion", given, expected, "Beta mixture integrated by scipy quad, bounds by bisection", 1e-7
    )
    given = {"counts": [c, t], "shares": [1 - share, share], "concentration": k}
    out.add("split_anytime", given, {"statistic": log_e}, "Beta mixture integrated by scipy quad", 1e-7)

# Confidence sequence: the normal mixture integrated ------------------------------------------------------------------
for n, planned in ((1000, 5000), (5000, 5000), (40000, 10000)):
    rho2 = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / planned

    def mixture_is_twenty(z, n=n, rho2=rho2):
        # S = z sqrt(n), V = n: int exp(lambda S - lambda^2 V / 2) dN(lambda; 0, rho^2)
        s = z * math.sqrt(n)
        centre, width = rho2 * s / (1 + n * rho2), math.sqrt(rho2 / (1 + n * rho2))
        value = integrate.quad(
            lambda x: math.exp(x * s - x * x * n / 2 - x * x / (2 * rho2)),
            centre - 12 * width,
            centre + 12 * width,
            points=[centre],
            epsabs=0,
        )[0]
        return math.log(value / math.sqrt(2 * math.pi * rho2)) - math.log(20)

    edge = optimize.brentq(mixture_is_twenty, 1.0, 8.0)
    given = {"n_units": n, "planned_units": planned, "tuned": "approximate"}
    out.add(
        "sequence_multiplier", given, {"multiplier": edge}, "normal mixture martingale integrated by scipy quad", 1e-8
    )


def boundary(n, rho2, alpha=0.05):
    return math.sqrt(2 * (n * rho2 + 1) / (n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))


for planned, n in ((5000, 2000), (20000, 30000)):
    best = optimize.minimize_scalar(
        lambda u, m=planned: boundary(m, math.exp(u)), bounds=(-16, -4), method="bounded", options={"xatol": 1e-11}
    )
    rho2 = math.exp(best.x)
    reach = boundary(n, rho2)
    given = {"effect": 0.4, "se": 0.1, "n_units": n, "planned_units": planned}
    expected = {"multiplier": reach, "ci_lower": 0.4 - 0.1 * reach, "ci_upper": 0.4 + 0.1 * reach}
    out.add(
        "confidence_sequence", given, expected, "the multiplier minimised numerically over rho at the planned end", 1e-6
    )

# Group sequential: alpha spent, by the bivariate normal --------------------------------------------------------------
for t1, spending, function in (
    (0.5, "obrien_fleming", lambda t: 2 * stats.norm.sf(stats.norm.isf(0.0125) / math.sqrt(t))),
    (0.4, "pocock", lambda t: 0.025 * math.log(1 + (math.e - 1) * t)),
    (0.6, "power", lambda t: 0.025 * t**2),
):
    first = stats.norm.isf(function(t1))
    normal = stats.multivariate_normal([0, 0], [[1, math.sqrt(t1)], [math.sqrt(t1), 1]])

    def unspent(second, first=first, normal=normal, t1=t1, function=function):
        inside = normal.cdf([first, 40], lower_limit=[-first, second])
        return inside - (0.025 - function(t1))

    second = optimize.brentq(unspent, 1.5, 4.0, xtol=1e-12)
    given = {"fractions": [t1, 1.0], "spending": spending}
    out.add(
        "group_sequential_bounds",
        given,
        {"bounds.0": first, "bounds.1": second},
        "bivariate normal of scipy, bisection",
        1e-6,
    )
    # The repeated p-value at a first look is the level whose first boundary is |z|.
    z = 3.2
    if spending == "power":
        given = {"z": z, "fractions": [t1], "spending": spending}
        out.add(
            "group_sequential_p_value",
            given,
            {"p_value": 2 * stats.norm.sf(z) / t1**2},
            "spending function inverted by hand",
            1e-6,
        )

# Proportions: restricted likelihood maximised numerically ------------------------------------------------------------


def restricted(x_c, n_c, x_t, n_t, link):
    """Most likely (p_c, p_t) under p_t = link(p_c), on a fine grid and then by golden section."""

    def minus_log(p_c):
        p_t = link(p_c)
        if not (0 <= p_c <= 1 and 0 <= p_t <= 1):
            return math.inf
        return -(
            special.xlogy(x_c, p_c)
            + special.xlogy(n_c - x_c, 1 - p_c)
            + special.xlogy(x_t, p_t)
            + special.xlogy(n_t - x_t, 1 - p_t)
        )

    grid = np.linspace(0, 1, 20001)
    best = grid[int(np.argmin([minus_log(p) for p in grid]))]
    found = optimize.minimize_scalar(
        minus_log, bounds=(max(0, best - 1e-4), min(1, best + 1e-4)), method="bounded", options={"xatol": 1e-14}
    )
    return found.x, link(found.x)


for x_c, n_c, x_t, n_t, margin, relative in (
    (80, 100, 78, 100, 0.1, False),
    (40, 50, 52, 60, 0.05, False),
    (300, 1000, 290, 1000, 0.1, True),
    (0, 30, 1, 40, 0.1, False),
):
    if relative:
        p_c, p_t = restricted(x_c, n_c, x_t, n_t, lambda p, m=margin: (1 - m) * p)
        slope, shift = 1 - margin, 0.0
    else:
        p_c, p_t = restricted(x_c, n_c, x_t, n_t, lambda p, m=margin: p - m)
        slope, shift = 1.0, margin
    z = (x_t / n_t - slope * x_c / n_c + shift) / math.sqrt(p_t * (1 - p_t) / n_t + slope**2 * p_c * (1 - p_c) / n_c)
    given = {
        "x_control": x_c,
        "n_control": n_c,
        "x_treatment": x_t,
        "n_treatment": n_t,
        "margin": margin,
        "relative": relative,
    }
    out.add(
        "non_inferiority_proportions",
        given,
        {"statistic": z, "p_value": stats.norm.sf(z)},
        "restricted likelihood maximised on a grid",
        1e-5,
    )
    if not relative:
        p_c, p_t = restricted(x_c, n_c, x_t, n_t, lambda p, m=margin: p + m)
        other = (x_c / n_c + margin - x_t / n_t) / math.sqrt(p_t * (1 - p_t) / n_t + p_c * (1 - p_c) / n_c)
        out.add(
            "equivalence_proportions",
            given,
            {"p_value": stats.norm.sf(min(z, other))},
            "restricted likelihood maximised on a grid",
            1e-5,
        )

# Epochs --------------------------------------------------------------------------------------------------------------
for tables in (
    [(10, 100, 18, 110), (30, 90, 80, 210)],
    [(5, 1000, 2, 100), (9, 900, 4, 300), (20, 1000, 25, 1000)],
    [(1, 20, 3, 15), (0, 10, 2, 12), (4, 9, 5, 9)],
):
    numerator = variance = top = bottom = Fraction(0)
    weighted = total_weight = Fraction(0)
    for x_c, n_c, x_t, n_t in tables:
        n, m = n_c + n_t, x_c + x_t
        numerator += x_t - Fraction(n_t * m, n)
        variance += Fraction(n_c * n_t * m * (n - m), n * n * (n - 1))
        top += Fraction(x_t * (n_c - x_c), n)
        bottom += Fraction(x_c * (n_t - x_t), n)
        w = Fraction(n_c * n_t, n)
        weighted += w * (Fraction(x_t, n_t) - Fraction(x_c, n_c))
        total_weight += w
    z = float(numerator) / math.sqrt(float(variance))
    weights = [n_c * n_t / (n_c + n_t) for _, n_c, _, n_t in tables]

    def score(difference, tables=tables, weights=weights):
        gap = spread = 0.0
        for w, (x_c, n_c, x_t, n_t) in zip(weights, tables, strict=True):
            p_c, p_t = restricted(x_c, n_c, x_t, n_t, lambda p, d=difference: p + d)
            n = n_c + n_t
            gap += w * (x_t / n_t - x_c / n_c - difference)
            spread += w * w * n / (n - 1) * (p_t * (1 - p_t) / n_t + p_c * (1 - p_c) / n_c)
        return gap / math.sqrt(spread)

    effect = float(weighted / total_weight)
    critical = stats.norm.isf(0.025)
    expected = {
        "statistic": z,
        "p_value": 2 * stats.norm.sf(abs(z)),
        "effect": effect,
        "odds_ratio": float(top / bottom),
        "ci_lower": optimize.brentq(lambda d, s=score, c=critical: s(d) - c, effect - 0.3, effect - 1e-4, xtol=1e-7),
        "ci_upper": optimize.brentq(
            lambda d, s=score, c=critical: s(d) + c, effect + 1e-4, min(0.9, effect + 0.5), xtol=1e-7
        ),
    }
    given = {
        "epochs": [
            dict(zip(("x_control", "n_control", "x_treatment", "n_treatment"), row, strict=True)) for row in tables
        ]
    }
    out.add("combine_rates", given, expected, "exact fractions; restricted likelihood on a grid, bisection", 2e-4)

for rows in (
    [(100, 1.0, 2.0, 110, 1.2, 3.0), (50, 2.0, 2.0, 210, 2.2, 3.0)],
    [(900, 10.0, 25.0, 100, 10.5, 30.0), (500, 12.0, 20.0, 500, 12.4, 22.0), (100, 15.0, 40.0, 900, 15.1, 36.0)],
):
    total = sum(r[0] + r[3] for r in rows)
    effect = sum((r[0] + r[3]) / total * (r[4] - r[1]) for r in rows)
    parts = [(((r[0] + r[3]) / total) ** 2 * v / n, n - 1) for r in rows for n, v in ((r[0], r[2]), (r[3], r[5]))]
    variance = sum(p for p, _ in parts)
    df = variance**2 / sum(p * p / d for p, d in parts)
    names = ("n_control", "mean_control", "variance_control", "n_treatment", "mean_treatment", "variance_treatment")
    expected = {
        "effect": effect,
        "se": math.sqrt(variance),
        "df": df,
        "p_value": 2 * stats.t.sf(abs(effect) / math.sqrt(variance), df),
    }
    out.add(
        "combine_means",
        {"epochs": [dict(zip(names, r, strict=True)) for r in rows]},
        expected,
        "the sums written out",
        1e-9,
    )
    given = {"strata": [dict(zip(names, r, strict=True)) for r in rows]}
    plain = {
        "effect": effect,
        "se": math.sqrt(variance),
        "p_value": 2 * stats.norm.sf(abs(effect) / math.sqrt(variance)),
    }
    out.add("post_stratify", given, plain, "the sums written out", 1e-9)

# Quantiles -----------------------------------------------------------------------------------------------------------
for n_units, nu in ((60, 0.5), (120, 0.95), (200, 0.9)):
    values, owners = [], []
    for unit in range(n_units):
        level = math.exp(0.5 * rng.normal())
        for _ in range(1 + rng.poisson(6)):
            values.append(round(level * math.exp(0.4 * rng.normal()), 4))
            owners.append(f"u{unit}")
    n = len(values)
    ordered = sorted(values)
    q = ordered[math.ceil(nu * n) - 1]
    share = sum(v <= q for v in values) / n
    squares = 0.0
    for unit in set(owners):
        mine = [v for v, o in zip(values, owners, strict=True) if o == unit]
        squares += (sum(v <= q for v in mine) - share * len(mine)) ** 2
    clustered = math.sqrt(squares * n_units / (n_units - 1)) / n
    plain = math.sqrt(nu * (1 - nu) / n)
    z = stats.norm.isf(0.025)

    def at(rank, ordered=ordered):
        below = math.floor(rank)
        part = rank - below
        return ordered[below - 1] * (1 - part) + (ordered[below] * part if part else 0.0)

    se = (at(n * (nu + z * plain)) - at(n * (nu - z * plain))) / (2 * z) * clustered / plain
    expected = {
        "value": q,
        "se": se,
        "ci_lower": at(n * (nu - z * clustered)),
        "ci_upper": at(n * (nu + z * clustered)),
    }
    given = {"values": values, "unit_ids": owners, "quantile": nu}
    out.add("quantile_of_values", given, expected, "loops over units and sorted events", 1e-8)

    # The summary, bucket by bucket and unit by unit.
    width = 0.01
    bucket = [math.ceil(math.log(v / 1e-9) / math.log1p(width) - 1e-9) for v in values]
    distinct = sorted(set(bucket))
    square_at, cross_at = {}, {}
    for b in distinct:
        square_at[b] = cross_at[b] = 0
        for unit in set(owners):
            mine = [x for x, o in zip(bucket, owners, strict=True) if o == unit]
            upto = sum(x <= b for x in mine)
            square_at[b] += upto * upto
            cross_at[b] += upto * len(mine)
    squares = [
        square_at[b] - (square_at[p] if p is not None else 0) for p, b in zip([None, *distinct], distinct, strict=False)
    ]
    crosses = [
        cross_at[b] - (cross_at[p] if p is not None else 0) for p, b in zip([None, *distinct], distinct, strict=False)
    ]
    summary = {
        "relative_width": width,
        "n_units": n_units,
        "sum_squared_events": sum(owners.count(u) ** 2 for u in set(owners)),
        "buckets": distinct,
        "counts": [bucket.count(b) for b in distinct],
        "squares": squares,
        "crosses": crosses,
        "minimum": min(values),
        "maximum": max(values),
    }
    middle = len(distinct) // 2
    expected = {f"{key}.{middle}": summary[key][middle] for key in ("buckets", "counts", "squares", "crosses")}
    expected |= {"n_units": n_units, "sum_squared_events": summary["sum_squared_events"]}
    given = {"values": values, "unit_ids": owners, "relative_width": width}
    out.add("summarise_values", given, expected, "counted per bucket and unit in loops")
    tolerance = 0.25 if nu > 0.9 else 0.05  # forty events in the tail: the bucket in which one lies matters
    out.add(
        "quantile_from_summary",
        {"summary": summary, "quantile": nu},
        {"value": q},
        "the quantile of the values, within the bucket's width",
        0.02,
    )
    out.add(
        "quantile_from_summary",
        {"summary": summary, "quantile": nu},
        {"se": se},
        "the error from the values",
        tolerance,
    )
    merged = {**summary, "n_units": 2 * n_units, "sum_squared_events": 2 * summary["sum_squared_events"]}
    expected = {f"{key}.{middle}": 2 * summary[key][middle] for key in ("counts", "squares", "crosses")} | {
        "n_units": 2 * n_units
    }
    out.add("merge_quantile_summaries", {"first": summary, "second": summary}, expected, "twice the same units")
one = {"method": "x", "level": 0.95, "quantile": 0.95, "n_events": 900, "n_units": 100, "value": 2.0, "se": 0.1}
two = {**one, "value": 2.3, "se": 0.12}
z = 0.3 / math.hypot(0.1, 0.12)
out.add(
    "compare_quantiles",
    {"control": one, "treatment": two},
    {"effect": 0.3, "statistic": z, "p_value": math.erfc(z / math.sqrt(2)), "lift": 0.15},
    "by hand, math.erfc",
    1e-9,
)

# Bayes ---------------------------------------------------------------------------------------------------------------
for x_c, n_c, x_t, n_t in ((50, 1000, 65, 1000), (3, 20, 9, 25), (0, 10, 2, 12)):
    a_c, b_c, a_t, b_t = x_c + 1, n_c - x_c + 1, x_t + 1, n_t - x_t + 1
    # P(T > C) for whole parameters: a finite sum (Miller 2015).
    win = math.fsum(
        math.exp(
            special.betaln(a_c + i, b_c + b_t)
            - math.log(b_t + i)
            - special.betaln(1 + i, b_t)
            - special.betaln(a_c, b_c)
        )
        for i in range(a_t)
    )
    # E max(C - T, 0) = E C P(C' > T) - E T P(C > T'), with one success more in C' and T'.

    def beats(a1, b1, a2, b2):
        """P(Beta(a1, b1) > Beta(a2, b2))."""
        return math.fsum(
            math.exp(
                special.betaln(a2 + i, b1 + b2) - math.log(b1 + i) - special.betaln(1 + i, b1) - special.betaln(a2, b2)
            )
            for i in range(a1)
        )

    mean_c, mean_t = a_c / (a_c + b_c), a_t / (a_t + b_t)
    loss_t = mean_c * beats(a_c + 1, b_c, a_t, b_t) - mean_t * beats(a_c, b_c, a_t + 1, b_t)
    loss_c = mean_t * beats(a_t + 1, b_t, a_c, b_c) - mean_c * beats(a_t, b_t, a_c + 1, b_c)
    given = {"x_control": x_c, "n_control": n_c, "x_treatment": x_t, "n_treatment": n_t}
    expected = {"chance_to_win": win, "expected_loss_treatment": loss_t, "expected_loss_control": loss_c}
    out.add("bayesian_proportions", given, expected, "finite sums of Beta functions (Miller 2015; Stucchio 2015)", 1e-7)
for effect, se, prior_mean, prior_sd in ((0.1, 0.05, 0.0, None), (0.1, 0.05, 0.02, 0.03)):
    grid = np.linspace(-0.6, 0.8, 2_000_001)
    density = stats.norm.pdf(effect, grid, se) * (1 if prior_sd is None else stats.norm.pdf(grid, prior_mean, prior_sd))
    density /= density.sum()
    expected = {
        "chance_to_win": density[grid > 0].sum(),
        "expected_loss_treatment": (density * np.maximum(-grid, 0)).sum(),
        "expected_loss_control": (density * np.maximum(grid, 0)).sum(),
        "effect": (density * grid).sum(),
    }
    given = {"effect": effect, "se": se, "prior_mean": prior_mean, "prior_sd": prior_sd}
    out.add("bayesian_means", given, expected, "Bayes' rule on a grid of two million points", 1e-5)

# Evals ---------------------------------------------------------------------------------------------------------------
successes, trials = [0, 1, 4, 2, 3, 5, 5], [5] * 7
for k in (1, 2, 3, 5):
    rates_all, rates_any = [], []
    for c, n in zip(successes, trials, strict=True):
        picks = list(itertools.combinations([1] * c + [0] * (n - c), k))
        rates_all.append(sum(all(p) for p in picks) / len(picks))
        rates_any.append(sum(any(p) for p in picks) / len(picks))
    expected = {
        "pass_all": np.mean(rates_all),
        "pass_any": np.mean(rates_any),
        "pass_all_se": np.std(rates_all, ddof=1) / math.sqrt(7),
    }
    out.add("pass_all", {"successes": successes, "trials": trials, "k": k}, expected, "all subsets enumerated", 1e-9)
for effect, between, within, trials_each, target in (
    (0.05, 0.1, 0.2, 1, 0.8),
    (0.05, 0.1, 0.2, 10, 0.8),
    (0.02, 0.05, 0.15, 4, 0.9),
):
    variance = between + 2 * within / trials_each
    n = next(
        n for n in itertools.count(2) if stats.norm.sf(1.959963984540054 - effect / math.sqrt(variance / n)) >= target
    )
    given = {
        "effect": effect,
        "between": between,
        "within_control": within,
        "within_treatment": within,
        "trials_control": trials_each,
        "trials_treatment": trials_each,
        "power": target,
    }
    out.add(
        "cases_needed", given, {"n_cases": n, "n_calls": 2 * n * trials_each}, "counted up until the power is reached"
    )


def logit(p):
    return math.log(p / (1 - p))


for n_cases, per_arm in ((40, 3), (80, 2)):
    passed, treated, cases = [], [], []
    for case in range(n_cases):
        p = rng.beta(2, 2)
        for arm in (0, 1):
            for _ in range(per_arm):
                passed.append(bool(rng.random() < min(0.98, p + 0.1 * arm)))
                treated.append(bool(arm))
                cases.append(case)
    y, t, ids = np.array(passed), np.array(treated), np.array(cases)
    whole = logit(y[t].mean()) - logit(y[~t].mean())
    left_out = [logit(y[t & (ids != i)].mean()) - logit(y[~t & (ids != i)].mean()) for i in range(n_cases)]
    jackknife = math.sqrt((n_cases - 1) / n_cases * sum((x - np.mean(left_out)) ** 2 for x in left_out))
    given = {"passed": passed, "treated": treated, "cases": cases}
    out.add(
        "marginal_logit", given, {"log_odds_ratio": whole}, "marginal log odds: exact when cases are balanced", 1e-6
    )
    out.add("marginal_logit", given, {"se": jackknife}, "jackknife over cases, which bias reduction approximates", 0.02)

# Holm, by the definition ---------------------------------------------------------------------------------------------
for m in (3, 6, 12):
    p_values = rounded(rng.beta(0.5, 2, m), 6)
    adjusted = {}
    running = 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (m - rank) * p_values[i]))
        adjusted[i] = running
    expected = {f"secondaries.{i}.p_adjusted": a for i, a in adjusted.items()}
    out.add("adjust_p_values", {"p_values": p_values}, expected, "Holm's step-down written out", 1e-9)

# Power with a relative effect, days, caps, traps ---------------------------------------------------------------------
for p, n in ((0.05, 5000), (0.3, 800)):
    lift = 0.0
    for _ in range(2000):
        s_t, s_c = p * (1 + lift) * (1 - p * (1 + lift)), p * (1 - p)
        lift = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * math.sqrt(s_t / n + (1 + lift) ** 2 * s_c / n) / p
    given = {"baseline": {"mean": p}, "n_control": n, "n_treatment": n}
    out.add("minimum_lift", given, {"lift": lift, "effect": lift * p}, "fixed point iterated 2,000 times", 1e-9)
for required, matured, pending, pace, window, days in (
    (10000, 4000, 1000, 500, 3, 13),
    (5000, 5000, 0, 10, 7, 0),
    (5000, 4500, 600, 100, 2.5, 3),
):
    given = {
        "required_units": required,
        "matured_units": matured,
        "pending_units": pending,
        "units_per_day": pace,
        "window_days": window,
    }
    out.add("days_needed", given, {"days": days}, "counted on fingers")
control, treatment = rounded(rng.lognormal(0, 1.5, 40), 2), rounded(rng.lognormal(0.1, 1.5, 35), 2)
both = sorted([*control, *treatment])
at = 0.95 * (len(both) - 1)
cap = both[math.floor(at)] + (at - math.floor(at)) * (both[math.floor(at) + 1] - both[math.floor(at)])
cut = [min(v, cap) for v in treatment]
expected = {
    "cap": cap,
    "capped_control": sum(v > cap for v in control),
    "capped_treatment": sum(v > cap for v in treatment),
    "mean_treatment": math.fsum(cut) / len(cut),
    "variance_treatment": float(np.var(cut, ddof=1)),
}
out.add(
    "cap_outliers",
    {"control": control, "treatment": treatment, "quantile": 0.95},
    expected,
    "sorted and interpolated by hand",
    1e-9,
)
prices = {"input_usd_per_million": 2.5, "cached_usd_per_million": 0.25, "output_usd_per_million": 10.0}
given = {
    "control": {
        "n_units": 900,
        "input_tokens": 9_000_000,
        "cached_tokens": 6_000_000,
        "output_tokens": 100_000,
        **prices,
    },
    "treatment": {"n_units": 100, "input_tokens": 900_000, "cached_tokens": 100_000, "output_tokens": 10_000, **prices},
}
billed = (0.8 * 2.5 + 0.1 * 0.25 + 0.01 * 10) / 100 - (3 * 2.5 + 6 * 0.25 + 0.1 * 10) / 900
even = (0.3 * 2.5 + 0.6 * 0.25 + 0.01 * 10) / 100 - (3 * 2.5 + 6 * 0.25 + 0.1 * 10) / 900
out.add(
    "cache_warmth",
    given,
    {"cost_difference_usd": billed, "repriced_difference_usd": even, "status": "warn"},
    "added up by hand",
    1e-9,
)
seconds_c, seconds_t = rounded(rng.gamma(2, 1, 95)), rounded(rng.gamma(2, 1, 70))
with_inf = sorted([*seconds_t, *[math.inf] * 30])
expected = {
    "completed_treatment_seconds": sorted(seconds_t)[math.ceil(0.5 * 70) - 1],
    "all_treatment_seconds": with_inf[math.ceil(0.5 * 100) - 1],
    "all_control_seconds": sorted([*seconds_c, *[math.inf] * 5])[49],
}
given = {
    "control_seconds": seconds_c,
    "started_control": 100,
    "treatment_seconds": seconds_t,
    "started_treatment": 100,
    "quantile": 0.5,
}
out.add("completed_latency", given, expected, "sorted with infinities for what never came")


def moments_of(**columns):
    names = list(columns)
    data = np.array([columns[k] for k in names], dtype=float)
    mean = data.mean(axis=1)
    matrix = (data - mean[:, None]) @ (data - mean[:, None]).T
    upper = [float(matrix[i, j]) for i in range(len(names)) for j in range(i, len(names))]
    return {
        "n": data.shape[1],
        "components": names,
        "mean": mean.tolist(),
        "comoments": upper,
        "minimum": float(data[0].min()),
        "maximum": float(data[0].max()),
    }


def ratio_of(y, d):
    """Ratio of sums and its variance, by the delta method over units."""
    y, d = np.asarray(y, dtype=float), np.asarray(d, dtype=float)
    r = y.sum() / d.sum()
    return r, float(np.var((y - r * d) / d.mean(), ddof=1)) / y.size


def welch_p(a, var_a, n_a, b, var_b, n_b):
    df = (var_a + var_b) ** 2 / (var_a**2 / (n_a - 1) + var_b**2 / (n_b - 1))
    return 2 * stats.t.sf(abs(b - a) / math.sqrt(var_a + var_b), df)


calls_c, calls_t = 1 + rng.poisson(5, 150), 1 + rng.poisson(6, 140)
limited_c, limited_t = rng.binomial(calls_c, 0.03), rng.binomial(calls_t, 0.08)
(r_c, v_c), (r_t, v_t) = ratio_of(limited_c, calls_c), ratio_of(limited_t, calls_t)
given = {"control": moments_of(y=limited_c, d=calls_c), "treatment": moments_of(y=limited_t, d=calls_t)}
expected = {"rate_control": r_c, "rate_treatment": r_t, "p_value": welch_p(r_c, v_c, 150, r_t, v_t, 140)}
out.add("shared_keys", given, expected, "delta method over unit rows", 1e-8)
out.add(
    "compare_moments", given, {"effect": r_t - r_c, "p_value": expected["p_value"]}, "delta method over unit rows", 1e-8
)

x = rng.normal(5, 2, 300)
y = np.round(x * 0.8 + rng.normal(size=300) + 0.2 * (np.arange(300) >= 140), 3)
x = np.round(x, 3)
(yc, xc), (yt, xt) = (y[:140], x[:140]), (y[140:], x[140:])
within = sum(((b - b.mean()) * (a - a.mean())).sum() for a, b in ((yc, xc), (yt, xt)))
theta = within / sum(((b - b.mean()) ** 2).sum() for b in (xc, xt))
adj_c, adj_t = yc - theta * (xc - x.mean()), yt - theta * (xt - x.mean())
test = stats.ttest_ind(adj_t, adj_c, equal_var=False)
given = {
    "control": yc.tolist(),
    "treatment": yt.tolist(),
    "control_covariate": xc.tolist(),
    "treatment_covariate": xt.tolist(),
}
out.add(
    "compare_values",
    given,
    {"effect": adj_t.mean() - adj_c.mean(), "p_value": test.pvalue},
    "CUPED on unit rows, one theta within arms",
    1e-8,
)
parts = [moments_of(y=part) for part in np.array_split(yc + 1e6, 4)]
expected = {"mean.0": float((yc + 1e6).mean()), "comoments.0": float(((yc - yc.mean()) ** 2).sum()), "n": 140}
out.add("merge_moments", {"parts": parts}, expected, "all units at once", 1e-9)

cost_c, cost_t = np.round(rng.gamma(2, 0.01, 400), 5), np.round(rng.gamma(2, 0.02, 380), 5)
won_c, won_t = (rng.random(400) < 0.2).astype(int), (rng.random(380) < 0.35).astype(int)
cost_t = cost_t + 0.02 * won_t
d_e, d_c = won_t.mean() - won_c.mean(), cost_t.mean() - cost_c.mean()
v_e = won_t.var(ddof=1) / 380 + won_c.var(ddof=1) / 400
v_d = cost_t.var(ddof=1) / 380 + cost_c.var(ddof=1) / 400
cov = np.cov(won_t, cost_t)[0, 1] / 380 + np.cov(won_c, cost_c)[0, 1] / 400
z = stats.norm.isf(0.025)


def inside(ratio):
    return (d_c - ratio * d_e) ** 2 - z * z * (v_d - 2 * ratio * cov + ratio**2 * v_e)


centre = d_c / d_e
expected = {
    "ratio_usd": centre,
    "ratio_ci_lower": optimize.brentq(inside, centre - 1, centre, xtol=1e-15),
    "ratio_ci_upper": optimize.brentq(inside, centre, centre + 1, xtol=1e-15),
    "net_benefit_usd": 2 * d_e - d_c,
    "net_benefit_ci_lower": 2 * d_e - d_c - z * math.sqrt(4 * v_e + v_d - 4 * cov),
}
given = {"control": moments_of(y=won_c, c=cost_c), "treatment": moments_of(y=won_t, c=cost_t), "value_usd": 2.0}
out.add("cost_of_gain", given, expected, "unit rows; the set found by bisection", 1e-7)
for a, se_a, b, se_b, cov in ((3.0, 0.4, 2.0, 0.3, 0.05), (1.0, 0.5, 4.0, 0.5, 0.0)):

    def fieller(ratio, a=a, se_a=se_a, b=b, se_b=se_b, cov=cov):
        return (a - ratio * b) ** 2 - z * z * (se_a**2 - 2 * ratio * cov + ratio**2 * se_b**2)

    expected = {
        "ci_lower": optimize.brentq(fieller, a / b - 5, a / b),
        "ci_upper": optimize.brentq(fieller, a / b, a / b + 5),
    }
    given = {"numerator": a, "numerator_se": se_a, "denominator": b, "denominator_se": se_b, "covariance": cov}
    out.add("fieller_interval", given, expected, "the set of ratios found by bisection", 1e-8)
unbounded = {"numerator": 1.0, "numerator_se": 1.0, "denominator": 0.1, "denominator_se": 1.0}
out.add("fieller_interval", unbounded, {"ci_lower": None, "ci_upper": None}, "every ratio is in the set")


def boschloo(x_c, n_c, x_t, n_t):
    """Both one-sided Boschloo tests by enumeration over a grid of the nuisance share; twice the smaller."""

    def one_sided(x1, n1, x2, n2):
        tail = np.array([[stats.hypergeom.cdf(i, n1 + n2, i + j, n1) for j in range(n2 + 1)] for i in range(n1 + 1)])
        region = tail <= tail[x1, x2] * (1 + 1e-12)
        sizes = [
            (
                stats.binom.pmf(np.arange(n1 + 1), n1, p)[:, None] * stats.binom.pmf(np.arange(n2 + 1), n2, p) * region
            ).sum()
            for p in np.linspace(0, 1, 4001)
        ]
        return max(sizes)

    return min(1.0, 2 * min(one_sided(x_c, n_c, x_t, n_t), one_sided(x_t, n_t, x_c, n_c)))


for row in ((3, 15, 9, 14), (7, 12, 8, 10)):
    given = dict(zip(("x_control", "n_control", "x_treatment", "n_treatment"), row, strict=True))
    out.add("boschloo", given, {"p_value": boschloo(*row)}, "all tables enumerated on a grid of 4,001 shares", 1e-3)

out.write()
