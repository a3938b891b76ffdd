"""Base weights of IPMBalancer: the program that pulls to them, and its refusals."""

import cvxpy as cp
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import EntropyBalancer, IPMBalancer
from causalweights.discrepancy import HalfSpaces, MeanDifferences, supremum
from causalweights.optimize import simplex_minimax

# An interior-point solver's objective, and weights that are its square root as close.
OBJECTIVE, WEIGHTS = 1e-8, 1e-4


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(70, 2))
    a = (0.8 * X[:, 0] + rng.normal(size=70) > 0).astype(int)
    return X, a, rng.uniform(0.5, 2.0, 70), rng.uniform(0.3, 3.0, 70)


def standardized(X, s=None):
    mean = np.average(X, axis=0, weights=s)
    return (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))


def total(values):
    return sum(values.values()) if isinstance(values, dict) else values


def base_masses(a, s, base):
    pulled = s * base
    return pulled / np.bincount(a, pulled)[a]


# ---- against a conic solver ----------------------------------------------------------

CASES = {
    "joint": ({}, {"weighted": [0, 1], "joint": True}),
    "separate": ({"between_arms": False}, {"weighted": [0, 1]}),
    "att": ({"estimand": "att"}, {"weighted": [0]}),
    "bounds": (
        {"min_weight": 0.2, "max_weight": 2.0},
        {"weighted": [0, 1], "joint": True, "lower": 0.2, "upper": 2.0},
    ),
    "moments": (
        {"moments": 1, "moment_tol": 0.02}, {"weighted": [0, 1], "joint": True}
    ),
    "variance": (
        {"discriminator": None, "moments": 1, "moment_tol": 0.02, "ridge": 1.0},
        {"weighted": [0, 1], "criterion": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("weighted_rows", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_objective_is_a_conic_solvers(case, weighted_rows, sample, row_program):
    X, a, s, base = sample
    options, program = CASES[case]
    s = s if weighted_rows else np.ones(70)
    if case == "variance":
        options = {**options, "between_arms": False}
    options = {"ridge": 0.1, **options}
    fit = IPMBalancer(**options).fit(X, a, sample_weight=s, base_weights=5 * base)
    Z = standardized(X, s)
    target = np.where((a == 1) | (options.get("estimand") != "att"), s, 0.0)
    target /= target.sum()
    if "moments" in options:
        program = {**program, "moments": Z, "tol": 0.02}
    value, masses = row_program(
        Z, a, target, options["ridge"], s=s, base=base, **program
    )
    assert total(fit.objective_) == pytest.approx(value, abs=OBJECTIVE)
    assert_allclose(fit.masses_, masses, atol=WEIGHTS)
    assert fit.converged_
    assert total(fit.gap_) <= 1e-8
    # What is reported adds up: the criterion, and the distance to the base masses.
    scaled = s * (np.bincount(a) / np.bincount(a, s))[a]
    off = options["ridge"] * (fit.masses_ - base_masses(a, s, base)) ** 2 / scaled
    cost = off[np.isin(a, program["weighted"])].sum()
    criterion = 0.0 if case == "variance" else total(fit.discrepancy_)
    assert total(fit.objective_) == pytest.approx(criterion + cost, rel=1e-12)


def test_least_squares_to_base_weights_in_closed_form(sample):
    """Without bounds in play the distance is minimised by a projection."""
    X, _, _, base = sample
    a = np.arange(70) % 2
    balancer = IPMBalancer(discriminator=None, moments=1, between_arms=False)
    fit, Z = balancer.fit(X, a, base_weights=base), standardized(X)
    for k in (0, 1):
        rows = a == k
        F = np.column_stack([np.ones(rows.sum()), Z[rows]])
        b = base[rows] / base[rows].sum()
        missing = np.array([1.0, 0.0, 0.0]) - F.T @ b
        expected = b + F @ np.linalg.solve(F.T @ F, missing)
        assert expected.min() > 0
        assert_allclose(fit.masses_[rows], expected, rtol=1e-8)
        assert fit.objective_[k] == pytest.approx(np.sum((expected - b) ** 2), rel=1e-8)


@pytest.mark.parametrize("most", [3.0, None])
@pytest.mark.parametrize("cls", [HalfSpaces(), MeanDifferences()])
def test_suprema_are_a_conic_solvers(cls, most, sample):
    X, a, s, base = sample
    balancer = IPMBalancer(estimand="att", discriminator=cls, tol=1e-6, max_weight=most)
    fit = balancer.fit(X, a, sample_weight=s, base_weights=base)
    Z, source = standardized(X, s), a == 0
    t = s[a == 1] / s[a == 1].sum()
    if isinstance(cls, HalfSpaces):
        steps = [Z[:, j] <= c for j in range(2) for c in Z[:, j]]
        F = np.column_stack(steps).astype(float)
    else:
        F = Z
    r, b = s[source], base_masses(a, s, base)[source]
    w = cp.Variable(source.sum(), nonneg=True)
    off = cp.multiply(np.sqrt(0.1 * r.mean() / r), w - b)
    program = cp.Problem(
        cp.Minimize(
            cp.max(cp.abs(F[source].T @ w - t @ F[a == 1])) + cp.sum_squares(off)
        ),
        [cp.sum(w) == 1, w <= (most or 1e3) * r / r.sum()],
    )
    program.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    assert fit.objective_[0] == pytest.approx(program.value, abs=1e-7)
    assert fit.objective_[0] - fit.gap_[0] <= program.value + 1e-9
    w = fit.masses_[source]
    cost = 0.1 * r.mean() * np.sum((w - b) ** 2 / r)
    assert fit.objective_[0] == pytest.approx(fit.discrepancy_[0] + cost, rel=1e-12)
    # Before: of the arm as sampled, not of equal masses.
    before = np.abs(r / r.sum() @ F[source] - t @ F[a == 1]).max()
    assert fit.discrepancy_before_[0] == pytest.approx(before, rel=1e-9)


def test_no_rival_has_a_lower_supremum_plus_pull(sample):
    X, a, _, base = sample
    fit = IPMBalancer(estimand="att", discriminator="sigmoid", ridge=1.0)
    fit.fit(X, a, base_weights=base)
    Z, w = standardized(X), fit.masses_[a == 0]
    b, rng = base_masses(a, np.ones(70), base)[a == 0], np.random.default_rng(1)
    for rival in (
        b,
        *(0.95 * w + 0.05 * rng.dirichlet(np.ones(w.size)) for _ in "abc"),
    ):
        found = supremum(fit.function_class_, Z[a == 0], Z[a == 1], x_weights=rival)
        value = found.value + np.sum((rival - b) ** 2)
        assert value >= fit.objective_[0] - fit.gap_[0] - 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_the_minimax_program_with_a_center_is_a_conic_solvers(seed):
    rng = np.random.default_rng([seed, 7])
    F, h, center = rng.normal(size=(40, 9)), rng.normal(size=9), rng.normal(size=40)
    ridge, low = rng.uniform(0.1, 2.0, 40), rng.uniform(0, 0.01, 40) * (seed % 2)
    found = simplex_minimax(F, h, ridge, center=center, lower=low)
    w = cp.Variable(40)
    penalty = cp.sum(cp.multiply(ridge, cp.square(w - center))) / 2
    program = cp.Problem(
        cp.Minimize(cp.max(cp.abs(F.T @ w - h)) + penalty), [cp.sum(w) == 1, w >= low]
    )
    program.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    assert found.converged
    assert found.value == pytest.approx(program.value, abs=1e-6)
    assert found.value - found.gap <= program.value + 1e-8


# ---- many rows -----------------------------------------------------------------------


@pytest.mark.parametrize(("ridge", "tol"), [(1e-2, 1e-6), (30.0, 1e-3)])
def test_many_rows_are_certified_from_scratch(ridge, tol):
    """Column generation and descent on 4200 rows: the gap of the true gradient."""
    rng = np.random.default_rng(4)
    a = np.repeat([0, 1], [4200, 150])
    X = rng.normal(size=(4350, 2)) + 0.5 * a[:, None]
    base = rng.uniform(0.2, 2.0, 4350)
    fit = IPMBalancer(estimand="att", ridge=ridge, tol=tol)
    fit.fit(X, a, base_weights=base)
    Z, m = standardized(X), fit.masses_[:4200]
    b, t = base[:4200] / base[:4200].sum(), np.full(150, 1 / 150)
    D, E = cdist(Z[:4200], Z[:4200]), cdist(Z[:4200], Z[4200:])
    own, cross = D @ m, E @ t
    across = t @ cdist(Z[4200:], Z[4200:]) @ t
    energy = 2 * m @ cross - m @ own - across
    objective = energy + ridge * np.sum((m - b) ** 2)
    assert fit.objective_[0] == pytest.approx(objective, rel=1e-9)
    gradient = 2 * (cross - own) + 2 * ridge * (m - b)
    assert fit.gap_[0] == pytest.approx(
        gradient @ m - gradient.min(), rel=1e-3, abs=1e-10
    )
    assert fit.converged_ and fit.relative_gap_[0] <= tol
    plain = IPMBalancer(estimand="att", ridge=ridge, tol=tol).fit(X, a)
    assert np.sum((m - b) ** 2) < np.sum((plain.masses_[:4200] - b) ** 2)


# ---- identities ----------------------------------------------------------------------

ALL = {
    "joint": IPMBalancer(),
    "separate": IPMBalancer(between_arms=False, discriminator="gaussian"),
    "variance": IPMBalancer(
        discriminator=None, moments=1, moment_tol=0.05, between_arms=False
    ),
    "half-spaces": IPMBalancer(discriminator=HalfSpaces(), between_arms=False),
    "sigmoid": IPMBalancer(discriminator="sigmoid", estimand="att", ridge=1.0),
}


def fresh(key, **options):
    return sklearn.base.clone(ALL[key]).set_params(**options)


@pytest.mark.parametrize("key", ALL)
def test_equal_base_weights_are_none(key, sample):
    X, a, s, _ = sample
    plain = fresh(key).fit(X, a, sample_weight=s)
    equal = fresh(key).fit(X, a, sample_weight=s, base_weights=np.where(a, 2.0, 7.0))
    tol = 2e-2 if key in ("half-spaces", "sigmoid") else 1e-9
    assert_allclose(equal.weights_, plain.weights_, atol=tol)
    # The pull to equal weights is the ridge on squares less a constant, ridge / n.
    constant = plain.ridge_ / np.bincount(a)
    for k, value in plain.objective_.items() if key != "joint" else []:
        assert equal.objective_[k] == pytest.approx(value - constant[k], abs=1e-4)
    assert total(equal.discrepancy_before_) == pytest.approx(
        total(plain.discrepancy_before_), rel=1e-9
    )


@pytest.mark.parametrize("key", [key for key in ALL if key != "variance"])
def test_a_large_ridge_returns_the_base_weights(key, sample):
    X, a, s, base = sample
    fit = fresh(key, ridge=1e7).fit(X, a, sample_weight=s, base_weights=base)
    weighted = (a == 0) | (fit.estimand_ == "ate")
    expected = base_masses(a, s, base)[weighted]
    assert_allclose(fit.masses_[weighted], expected, rtol=1e-4)


def test_weights_that_meet_the_moments_are_kept(sample):
    X, a, s, _ = sample
    first = EntropyBalancer().fit(X, a, sample_weight=s)
    balancer = IPMBalancer(discriminator=None, moments=1, between_arms=False)
    again = balancer.fit(X, a, sample_weight=s, base_weights=3 * first.weights_)
    assert_allclose(again.weights_, first.weights_, atol=1e-6)


def test_frequencies_are_copies(sample):
    X, a, _, base = sample
    times = np.random.default_rng(2).integers(0, 4, 70)
    rows = np.repeat(np.arange(70), times)
    options = dict(weight_type="frequency", ridge=0.1)
    counted = IPMBalancer(**options)
    counted.fit(X, a, sample_weight=times, base_weights=base)
    copied = IPMBalancer(**options).fit(X[rows], a[rows], base_weights=base[rows])
    assert_allclose(copied.weights_, counted.weights_[rows], atol=1e-7)
    assert copied.objective_ == pytest.approx(counted.objective_, rel=1e-9)
    assert np.all(counted.weights_[times == 0] == 0)
    for k in (0, 1):
        assert copied.ess_[k] == pytest.approx(counted.ess_[k], rel=1e-6)


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"discriminator": "wasserstein"}, "discriminator='wasserstein'"),
        ({"discriminator": "wasserstein", "ridge": 1.0}, "discriminator='wasserstein'"),
        ({"weight_model": "loglinear"}, "weight_model='loglinear'"),
        ({"solver": "adam", "discriminator": "gaussian"}, "solver='adam'"),
        ({"solver": "low_rank"}, "solver='low_rank'"),
    ],
)
@pytest.mark.parametrize("data", ["base_weights", "groups"])
def test_other_programs_refuse_row_data_by_name(options, name, data, sample):
    X, a, _, base = sample
    given = {"base_weights": base, "groups": np.arange(70) // 2}
    balancer = IPMBalancer(between_arms=False, **options)
    with pytest.raises(ValueError, match=f"{name} takes no {data}"):
        balancer.fit(X, a, **{data: given[data]})
    assert not hasattr(balancer, "weights_")


def test_dask_arrays_refuse_row_data(sample):
    X, a, _, base = sample
    with pytest.raises(
        ValueError, match="a dask array takes no base_weights and no gr"
    ):
        IPMBalancer().fit(da.from_array(X), a, base_weights=base, groups=np.arange(70))


def test_base_weights_need_a_ridge_and_are_checked_as_entropy_balancings(sample):
    X, a, _, base = sample
    with pytest.raises(ValueError, match="base_weights need ridge > 0"):
        IPMBalancer(ridge=0.0).fit(X, a, base_weights=base)
    frame = pd.DataFrame(X)
    for bad, words in (
        (base[:5], "base_weights has shape"),
        (base - base[3], "base_weights must be positive and finite"),
        (np.where(base > 1, np.nan, base), "base_weights must be positive and finite"),
        (pd.Series(base)[::-1], "X and base_weights have the same index"),
    ):
        for weighter in (IPMBalancer(), EntropyBalancer()):
            with pytest.raises(ValueError, match=words):
                weighter.fit(frame, a, base_weights=bad)


@pytest.mark.parametrize("data", ["base_weights", "groups"])
def test_new_rows_have_no_weights_after_row_data(data, sample):
    X, a, _, base = sample
    given = {"base_weights": base, "groups": np.arange(70) // 2}[data]
    fit = IPMBalancer().fit(X, a, **{data: given})
    for method in ("predict_weights", "score"):
        assert not hasattr(fit, method)
    with pytest.raises(AttributeError) as error:
        fit.predict_weights(X, a)
    assert f"fit with {data}" in str(error.value.__cause__)
    # The witness is a function of covariates still.
    gap = fit.witness(X)
    assert gap.shape == (70, 2) and np.all(np.isfinite(gap))
    assert_allclose(fit.fit(X, a).predict_weights(X, a), fit.weights_, atol=1e-6)


@pytest.mark.parametrize("routing", [False, True])
def test_row_data_travel_through_a_pipeline(routing, sample):
    X, a, s, base = sample
    data = {"sample_weight": s, "base_weights": base, "groups": np.arange(70) // 2}
    expected = IPMBalancer().fit(StandardScaler().fit_transform(X), a, **data)
    with sklearn.config_context(enable_metadata_routing=routing):
        scaler, balancer = StandardScaler(), IPMBalancer()
        if routing:
            scaler.set_fit_request(sample_weight=False)
            # Folds by group do not mean that groups share a weight.
            with pytest.raises(ValueError, match="groups"):
                make_pipeline(scaler, balancer).fit(X, a, **data)
            balancer.set_fit_request(groups=True)
        else:
            data = {f"ipmbalancer__{name}": value for name, value in data.items()}
        pipe = make_pipeline(scaler, balancer).fit(X, a, **data)
    assert_array_equal(pipe[-1].weights_, expected.weights_)
