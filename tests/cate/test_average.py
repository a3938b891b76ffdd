"""Average effects: other libraries' formulas, exact populations, weights, clusters."""

import numpy as np
import pytest
import statsmodels.api as sm

from causalweights import compare
from causalweights.cate import average_effect, median_result

ESTIMANDS = ("ate", "att", "atc", "ato")


def test_ate_is_a_mean_with_the_hc0_error(contrast, pseudo_outcome):
    y, _, nuisances = contrast
    f = pseudo_outcome
    ours = average_effect(y, **nuisances)
    theirs = sm.OLS(f, np.ones(len(f))).fit(cov_type="HC0")
    assert ours.effect == pytest.approx(theirs.params[0], abs=1e-12)
    assert ours.se == pytest.approx(theirs.bse[0], abs=1e-12)
    assert ours.se == pytest.approx(f.std() / np.sqrt(len(f)), abs=1e-12)
    assert np.allclose(ours.influence, f - f.mean(), atol=1e-12)


def test_att_is_the_usual_orthogonal_score(contrast):
    y, _, v = contrast
    a, pi, mu_0 = v["treatment"], v["propensity"], v["mean_0"]
    p = a.mean()
    score = a * (y - mu_0) / p - pi * (1 - a) * (y - mu_0) / (p * (1 - pi))
    theta = score.mean()
    psi = score - a / p * theta
    ours = average_effect(y, **v, estimand="ATT")
    assert ours.effect == pytest.approx(theta, abs=1e-12)
    assert ours.se == pytest.approx(np.sqrt(np.mean(psi**2) / len(y)), abs=1e-12)
    assert np.allclose(ours.influence, psi, atol=1e-12)


def test_ato_is_residual_on_residual(contrast):
    y, _, v = contrast
    rest = v["treatment"] - v["propensity"]
    eta = v["propensity"] * v["mean_1"] + (1 - v["propensity"]) * v["mean_0"]
    theirs = sm.OLS(y - eta, rest).fit(cov_type="HC0")
    ours = average_effect(y, **v, estimand="ato")
    assert ours.effect == pytest.approx(theirs.params[0], abs=1e-12)
    assert ours.se == pytest.approx(theirs.bse[0], abs=1e-12)


def test_ato_is_the_overlap_weighted_mean_with_its_correction(contrast, pseudo_outcome):
    y, _, v = contrast
    pi, f = v["propensity"], pseudo_outcome
    nu, gap = pi * (1 - pi), v["mean_1"] - v["mean_0"]
    theta = average_effect(y, **v, estimand="ato").effect
    correction = (1 - 2 * pi) * (v["treatment"] - pi) * (gap - theta)
    assert np.mean(nu * (f - theta) + correction) == pytest.approx(0, abs=1e-12)
    assert abs(np.mean(nu * (f - theta))) > 1e-3


def test_a_dose_takes_the_same_form(rng):
    n = 200
    m, eta = rng.normal(size=(2, n))
    dose = m + rng.normal(size=n)
    y = eta + 0.7 * (dose - m) + rng.normal(size=n)
    ours = average_effect(y, treatment=dose, propensity=m, mean=eta, estimand="ato")
    theirs = sm.OLS(y - eta, dose - m).fit(cov_type="HC0")
    assert ours.effect == pytest.approx(theirs.params[0], abs=1e-12)
    assert ours.se == pytest.approx(theirs.bse[0], abs=1e-12)


def test_exchanging_the_arms(contrast):
    y, _, v = contrast
    swapped = {
        "treatment": 1 - v["treatment"], "propensity": 1 - v["propensity"],
        "mean_0": v["mean_1"], "mean_1": v["mean_0"],
    }  # fmt: skip
    other = {"att": "atc", "atc": "att"}
    for estimand in ESTIMANDS:
        ours = average_effect(y, **v, estimand=estimand)
        theirs = average_effect(y, **swapped, estimand=other.get(estimand, estimand))
        assert ours.effect == pytest.approx(-theirs.effect, abs=1e-12)
        assert ours.se == pytest.approx(theirs.se, abs=1e-12)


# ---- a population: x in {0, ..., 4} and both arms, weighted by probabilities ------

X = np.tile(np.arange(5), 2)
A = np.repeat([0.0, 1.0], 5)
PI = np.array([0.2, 0.35, 0.5, 0.7, 0.85])[X]
MU_0, MU_1 = np.sin(X), np.sin(X) + 1 + 0.5 * X
PROBABILITY = np.where(A == 1, PI, 1 - PI)


def population(estimand, pi=PI, mu_0=MU_0, mu_1=MU_1):
    return average_effect(
        np.where(A == 1, MU_1, MU_0), treatment=A, propensity=pi, mean_0=mu_0,
        mean_1=mu_1, estimand=estimand, sample_weight=PROBABILITY,
    ).effect  # fmt: skip


@pytest.mark.parametrize(
    ("estimand", "weight"),
    [("ate", 1 + 0 * PI), ("att", PI), ("atc", 1 - PI), ("ato", PI * (1 - PI))],
)
def test_each_estimand_has_its_population(estimand, weight):
    truth = np.average((MU_1 - MU_0)[:5], weights=weight[:5])
    assert population(estimand) == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize("estimand", ESTIMANDS)
@pytest.mark.parametrize("direction", ["pi", "mu_0", "mu_1", "all"])
def test_errors_of_the_nuisances_enter_to_second_order(estimand, direction):
    rng = np.random.default_rng(3)
    ways = dict(zip(("pi", "mu_0", "mu_1"), rng.normal(size=(3, 5))[:, X]))
    if direction != "all":
        ways = {direction: ways[direction]}
    start = {"pi": PI, "mu_0": MU_0, "mu_1": MU_1}

    def change(step):
        moved = {name: start[name] + step * way for name, way in ways.items()}
        return population(estimand, **moved) - population(estimand)

    # A first-order term would be near 1e-3.
    assert abs(change(1e-3)) < 3e-5


# ---- weights, clusters, arms -------------------------------------------------------


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_frequencies_are_copies(contrast, replicated, estimand):
    y, _, v = contrast
    counts, (y_copies, _, v_copies) = replicated
    ours = average_effect(y, **v, estimand=estimand, frequency=counts)
    full = average_effect(y_copies, **v_copies, estimand=estimand)
    assert ours.effect == pytest.approx(full.effect, abs=1e-12)
    assert ours.se == pytest.approx(full.se, abs=1e-12)
    assert ours.n_samples == full.n_samples == counts.sum()
    assert np.allclose(np.repeat(ours.influence, counts), full.influence, atol=1e-10)


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_sampling_weights_have_no_scale_and_zero_drops_a_row(contrast, rng, estimand):
    y, _, v = contrast
    s = rng.uniform(0.5, 2, len(y))
    s[:30] = 0
    options = {"estimand": estimand}
    ours = average_effect(y, **v, sample_weight=1e4 * s, **options)
    part = {name: values[30:] for name, values in v.items()}
    kept = average_effect(y[30:], **part, sample_weight=s[30:], **options)
    assert ours.effect == pytest.approx(kept.effect, abs=1e-12)
    assert ours.se == pytest.approx(kept.se, abs=1e-12)
    assert np.all(ours.influence[:30] == 0)
    assert ours.se == pytest.approx(np.sqrt(np.sum(ours.influence**2)) / 210, abs=1e-12)


def test_clusters_sum_the_influence(contrast, rng):
    y, _, v = contrast
    groups = rng.integers(0, 20, len(y))
    plain = average_effect(y, **v, estimand="att")
    ours = average_effect(y, **v, estimand="att", groups=groups)
    sums = np.bincount(groups, weights=plain.influence) / len(y)
    assert ours.effect == plain.effect
    assert ours.se == pytest.approx(np.sqrt(20 / 19 * np.sum(sums**2)), abs=1e-12)


def test_a_third_arm(rng):
    n = 300
    p = rng.dirichlet([3, 3, 3], n)
    arm = np.array([rng.choice(3, p=row) for row in p])
    y = rng.normal(size=n)
    v = {
        "treatment": np.where(arm == 2, 1.0, np.where(arm == 0, 0.0, np.nan)),
        "propensity": p[:, 2], "complement": p[:, 0],
        "mean_0": rng.normal(size=n), "mean_1": rng.normal(size=n),
    }  # fmt: skip
    f = v["mean_1"] - v["mean_0"]
    f = f + (arm == 2) * (y - v["mean_1"]) / p[:, 2]
    f = f - (arm == 0) * (y - v["mean_0"]) / p[:, 0]
    assert average_effect(y, **v).effect == pytest.approx(f.mean(), abs=1e-12)
    pair, pi = arm != 1, p[:, 2] / (p[:, 0] + p[:, 2])
    two = {name: values[pair] for name, values in v.items() if name != "complement"}
    two["propensity"] = pi[pair]
    ours = average_effect(y, **v, estimand="ato")
    theirs = average_effect(y[pair], **two, estimand="ato")
    assert ours.effect == pytest.approx(theirs.effect, abs=1e-12)
    assert ours.se == pytest.approx(theirs.se, abs=1e-12)


# ---- repetitions -------------------------------------------------------------------


def test_repetitions_by_the_median_rule(contrast, rng):
    y, _, v = contrast
    parts = [
        average_effect(y, **(v | {"mean_1": v["mean_1"] + 3 * rng.normal(size=len(y))}))
        for _ in range(5)
    ]
    effects, ses = np.array([[r.effect, r.se] for r in parts]).T
    ours = median_result(parts)
    assert ours.effect == np.median(effects)
    variance = np.median(ses**2 + (effects - np.median(effects)) ** 2)
    assert ours.se == pytest.approx(np.sqrt(variance), abs=1e-14)
    assert ours.se > np.median(ses)
    middle = np.median([r.influence for r in parts], axis=0)
    assert np.array_equal(ours.influence, middle)
    same = median_result(parts[:1])
    assert (same.effect, same.se) == pytest.approx((effects[0], ses[0]), abs=1e-15)


def test_results_can_be_compared(contrast):
    y, _, v = contrast
    results = [average_effect(y, **v, estimand=e) for e in ("ate", "ato")]
    table = compare(*results, names=["all", "overlap"])
    assert table["effect"].tolist() == [r.effect for r in results]
    assert "overlap population" in str(results[1].summary())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"treatment": np.full(240, 2.0)}, "must be 1 in the treated"),
        ({"treatment": np.full(240, np.nan)}, "one number a row"),
        ({"treatment": np.where(np.arange(240) < 9, np.nan, 1.0)}, "pass complement"),
        ({"propensity": np.ones(240)}, "clip them"),
        ({"propensity": np.ones(239)}, "propensity must hold"),
        ({"mean_0": None}, "both arms, are needed"),
        ({"mean_1": np.full(240, np.inf)}, "mean_1 must hold one finite"),
        ({"estimand": "late"}, "estimand='late'"),
    ],
)
def test_bad_input(contrast, change, match):
    y, _, v = contrast
    with pytest.raises(ValueError, match=match):
        average_effect(y, **(v | change))


def test_no_result():
    with pytest.raises(ValueError, match="at least one"):
        median_result([])
