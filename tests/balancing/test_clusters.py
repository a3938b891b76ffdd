"""One weight a cluster: against explicit constraints, identities, and many clusters."""

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone

from causalweights import IPMBalancer
from causalweights.balancing import _clusters
from causalweights.balancing._clusters import ClusteredGram, Clusters
from causalweights.discrepancy import HalfSpaces, MeanDifferences
from causalweights.kernels import Energy, Gaussian

# An interior-point solver's objective, and weights that are its square root as close.
OBJECTIVE, WEIGHTS = 1e-8, 1e-4
# The same program in other units.
SAME = 1e-10
N = 70


@pytest.fixture(scope="module")
def sample():
    """Return X, treatment, sampling and base weights, and clusters of 1 to 5 rows.

    Some clusters have rows in both arms.
    """
    rng = np.random.default_rng(6)
    groups = rng.permutation(np.repeat(np.arange(24), np.arange(24) % 5 + 1))
    X = rng.normal(size=(N, 2)) + rng.normal(size=(24, 2))[groups]
    a = (0.6 * X[:, 0] + rng.logistic(size=N) > 0).astype(int)
    assert any(len(set(a[groups == g])) == 2 for g in range(24))
    return X, a, rng.uniform(0.5, 2.0, N), rng.uniform(0.3, 3.0, N), groups


def standardized(X, s=None):
    mean = np.average(X, axis=0, weights=s)
    return (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=s))


def total(values):
    return sum(values.values()) if isinstance(values, dict) else values


def shares(a, s, groups):
    """Return C (n, clusters within arms), and each cluster's arm."""
    cells, of_row = np.unique(groups * 2 + a, return_inverse=True)
    C = (of_row[:, None] == np.arange(len(cells))) * s[:, None]
    return C / C.sum(axis=0), cells % 2


# ---- against a conic solver with explicit constraints --------------------------------

CASES = {
    "joint": ({}, {"weighted": [0, 1], "joint": True}),
    "separate": ({"between_arms": False}, {"weighted": [0, 1]}),
    "att": ({"estimand": "att"}, {"weighted": [0]}),
    "bounds": (
        {"min_weight": 0.2, "max_weight": 2.0},
        {"weighted": [0, 1], "joint": True, "lower": 0.2, "upper": 2.0},
    ),
    "moments": (
        {"moments": 1, "moment_tol": 0.1}, {"weighted": [0, 1], "joint": True}
    ),
    "variance": (
        {"discriminator": None, "moments": 1, "moment_tol": 0.1, "ridge": 1.0,
         "between_arms": False},
        {"weighted": [0, 1], "criterion": False},
    ),
    "no ridge": ({"ridge": 0.0}, {"weighted": [0, 1], "joint": True}),
}  # fmt: skip


@pytest.mark.parametrize("data", ["groups", "and sample_weight", "and base_weights"])
@pytest.mark.parametrize("case", CASES)
def test_the_objective_is_a_conic_solvers(case, data, sample, row_program):
    X, a, s, base, groups = sample
    options, program = CASES[case]
    options = {"ridge": 0.1, **options}
    s = np.ones(N) if data == "groups" else s
    base = base if data == "and base_weights" and options["ridge"] else None
    fit = IPMBalancer(**options)
    fit.fit(X, a, sample_weight=s, base_weights=base, groups=groups)
    Z = standardized(X, s)
    target = np.where((a == 1) | (options.get("estimand") != "att"), s, 0.0)
    if "moments" in options:
        program = {**program, "moments": Z, "tol": 0.1}
    value, masses = row_program(
        Z, a, target / target.sum(), options["ridge"], s=s, base=base, groups=groups,
        **program,
    )  # fmt: skip
    assert total(fit.objective_) == pytest.approx(value, abs=OBJECTIVE)
    if options["ridge"]:
        assert_allclose(fit.masses_, masses, atol=WEIGHTS)
    assert fit.converged_ and total(fit.gap_) <= 1e-8
    for g in np.unique(groups):
        for k in program["weighted"]:
            own = fit.weights_[(groups == g) & (a == k)]
            assert own.size == 0 or np.ptp(own) <= 1e-12
    # The effective sizes are those of the rows' masses.
    for k in (0, 1):
        assert fit.ess_[k] == pytest.approx(1 / np.sum(fit.masses_[a == k] ** 2))
        assert_allclose(np.average(fit.weights_[a == k], weights=s[a == k]), 1.0)


@pytest.mark.parametrize("ridge", [0.1, 1e-3])
def test_the_gap_is_that_of_the_clusters_program(ridge, sample):
    X, a, s, _, groups = sample
    fit = IPMBalancer(estimand="att", ridge=ridge, tol=1e-6)
    fit.fit(X, a, sample_weight=s, groups=groups)
    Z, source = standardized(X, s), a == 0
    C = shares(a, s, groups)[0][source]
    C = C[:, C.sum(axis=0) > 0]
    m, t = fit.masses_[source], s[~source] / s[~source].sum()
    penalty = ridge * s[source].mean() / s[source]
    own = cdist(Z[source], Z[source]) @ m
    cross = cdist(Z[source], Z[~source]) @ t
    gradient = C.T @ (2 * (cross - own + penalty * m))
    v = np.linalg.lstsq(C, m)[0]
    assert_allclose(C @ v, m, atol=1e-14)
    gap = gradient @ v - gradient.min()
    assert abs(fit.gap_[0] - gap) < 1e-10 and gap < 1e-10
    energy = 2 * m @ cross - m @ own - t @ cdist(Z[~source], Z[~source]) @ t
    assert fit.discrepancy_[0] == pytest.approx(energy, rel=1e-9)
    assert fit.objective_[0] == pytest.approx(energy + penalty @ m**2, rel=1e-9)
    # Sharing costs: rows that are free do better.
    free = IPMBalancer(estimand="att", ridge=ridge).fit(X, a, sample_weight=s)
    assert free.objective_[0] < fit.objective_[0]


@pytest.mark.parametrize("cls", [HalfSpaces(), MeanDifferences()])
def test_suprema_are_a_conic_solvers(cls, sample):
    X, a, s, base, groups = sample
    fit = IPMBalancer(estimand="att", discriminator=cls, tol=1e-6)
    fit.fit(X, a, sample_weight=s, base_weights=base, groups=groups)
    Z, source = standardized(X, s), a == 0
    t = s[a == 1] / s[a == 1].sum()
    F = Z
    if isinstance(cls, HalfSpaces):
        steps = [Z[:, j] <= c for j in range(2) for c in Z[:, j]]
        F = np.column_stack(steps).astype(float)
    r = s[source]
    b = r * base[source] / (r @ base[source])
    C = shares(a, s, groups)[0][source]
    v = cp.Variable(C.shape[1], nonneg=True)
    w = C @ v
    off = cp.multiply(np.sqrt(0.1 * r.mean() / r), w - b)
    program = cp.Problem(
        cp.Minimize(
            cp.max(cp.abs(F[source].T @ w - t @ F[a == 1])) + cp.sum_squares(off)
        ),
        [cp.sum(w) == 1],
    )
    program.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    assert fit.objective_[0] == pytest.approx(program.value, abs=1e-7)
    assert fit.objective_[0] - fit.gap_[0] <= program.value + 1e-9
    before = np.abs(r / r.sum() @ F[source] - t @ F[a == 1]).max()
    assert fit.discrepancy_before_[0] == pytest.approx(before, rel=1e-9)
    f = fit.witness(X)
    found = f @ np.where(source, fit.masses_, 0) - f @ fit.target_masses_
    assert fit.discrepancy_[0] == pytest.approx(found, rel=1e-9)


# ---- identities ----------------------------------------------------------------------

ALL = {
    "joint": IPMBalancer(),
    "no ridge": IPMBalancer(ridge=0.0),
    "separate": IPMBalancer(between_arms=False, discriminator="gaussian"),
    "bounds": IPMBalancer(estimand="att", min_weight=0.1, max_weight=3.0),
    "moments": IPMBalancer(moments=1, moment_tol=0.05),
    "variance": IPMBalancer(
        discriminator=None, moments=1, moment_tol=0.05, between_arms=False
    ),
    "half-spaces": IPMBalancer(discriminator=HalfSpaces(), between_arms=False),
    "sigmoid": IPMBalancer(discriminator="sigmoid", estimand="att", ridge=1.0),
    "active set": IPMBalancer(solver="active_set"),
    "interior point": IPMBalancer(solver="interior_point"),
}


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("key", ALL)
def test_clusters_of_one_row_are_rows(key, shuffled, sample):
    X, a, s, base, _ = sample
    base = None if key == "no ridge" else base
    labels = np.arange(N)
    tol = SAME
    if shuffled:
        labels = np.random.default_rng(0).permutation(labels)
        if key in ("half-spaces", "sigmoid"):  # other cuts on the way
            tol = 2e-2
    fits = [
        clone(ALL[key]).fit(X, a, sample_weight=s, base_weights=base, groups=groups)
        for groups in (None, labels)
    ]
    assert_allclose(fits[1].weights_, fits[0].weights_, rtol=0, atol=tol)
    if tol == SAME:
        assert total(fits[1].objective_) == pytest.approx(total(fits[0].objective_))
        assert total(fits[1].gap_) == pytest.approx(total(fits[0].gap_), abs=1e-9)


@pytest.mark.parametrize("key", ["joint", "separate", "bounds", "moments", "variance"])
def test_clusters_of_duplicates_change_nothing(key, sample):
    """With a ridge, equal rows have equal weights by themselves."""
    X, a, s, base, _ = sample
    rows = np.repeat(np.arange(N), np.random.default_rng(1).integers(1, 4, N))
    data = {"sample_weight": s[rows], "base_weights": base[rows]}
    alone = clone(ALL[key]).fit(X[rows], a[rows], **data)
    together = clone(ALL[key]).fit(X[rows], a[rows], groups=rows, **data)
    assert_allclose(together.weights_, alone.weights_, rtol=0, atol=1e-8)
    assert total(together.objective_) == pytest.approx(total(alone.objective_))
    assert total(together.discrepancy_before_) == pytest.approx(
        total(alone.discrepancy_before_)
    )


@pytest.mark.parametrize("key", ["joint", "separate", "moments"])
def test_the_order_of_rows_and_the_labels_do_not_matter(key, sample):
    X, a, s, _, groups = sample
    order = np.random.default_rng(2).permutation(N)
    words = np.array([f"village {g * 37 % 24}" for g in groups])
    first = clone(ALL[key]).fit(X, a, sample_weight=s, groups=groups)
    second = clone(ALL[key]).fit(
        pd.DataFrame(X[order]), a[order], sample_weight=s[order], groups=words[order]
    )
    assert_allclose(second.weights_, first.weights_[order], rtol=0, atol=1e-8)


def test_one_cluster_an_arm_leaves_the_arm_as_it_is(sample):
    X, a, s, _, _ = sample
    fit = IPMBalancer().fit(X, a, sample_weight=s, groups=a)
    assert_allclose(fit.weights_, 1.0, rtol=1e-12)
    assert fit.discrepancy_ == pytest.approx(fit.discrepancy_before_)


def test_rows_of_weight_zero_are_in_no_cluster(sample):
    X, a, s, base, groups = sample
    s = np.where(np.arange(N) % 4 == 0, 0.0, s)
    kept = s > 0
    data = {"sample_weight": s, "base_weights": base, "groups": groups}
    full = IPMBalancer().fit(X, a, **data)
    part = IPMBalancer().fit(X[kept], a[kept], **{k: v[kept] for k, v in data.items()})
    assert_allclose(full.weights_[kept], part.weights_, rtol=0, atol=SAME)
    assert np.all(full.weights_[~kept] == 0)


def test_frequencies_are_copies(sample):
    X, a, _, base, groups = sample
    times = np.random.default_rng(3).integers(0, 4, N)
    rows = np.repeat(np.arange(N), times)
    options = dict(weight_type="frequency", ridge=0.1)
    counted = IPMBalancer(**options).fit(
        X, a, sample_weight=times, base_weights=base, groups=groups
    )
    copied = IPMBalancer(**options).fit(
        X[rows], a[rows], base_weights=base[rows], groups=groups[rows]
    )
    assert_allclose(copied.weights_, counted.weights_[rows], atol=1e-8)
    assert copied.objective_ == pytest.approx(counted.objective_, rel=1e-9)


def test_groups_are_checked(sample):
    X, a, _, _, groups = sample
    labels = groups.astype(float)
    with pytest.raises(ValueError, match=r"groups has shape \(5,\)"):
        IPMBalancer().fit(X, a, groups=groups[:5])
    with pytest.raises(ValueError, match="groups contains missing values"):
        IPMBalancer().fit(X, a, groups=np.where(labels == 2, np.nan, labels))
    with pytest.raises(ValueError, match="X and groups have the same index"):
        IPMBalancer().fit(pd.DataFrame(X), a, groups=pd.Series(groups)[::-1])
    with pytest.raises(ValueError, match="no weights of arm"):
        IPMBalancer(moments=1).fit(X, a, groups=groups % 2)


# ---- many rows and clusters ----------------------------------------------------------


@pytest.mark.parametrize(
    ("n_clusters", "size", "ridge", "tol"),
    [(100, 20, 1e-2, 1e-6), (4150, 1.06, 1e-2, 1e-6), (4150, 1.06, 30.0, 1e-3)],
    ids=["dense", "columns", "descent"],
)
def test_many_rows_are_certified_from_scratch(n_clusters, size, ridge, tol):
    rng = np.random.default_rng(4)
    n = round(n_clusters * size)
    groups = rng.permutation(np.arange(n) % n_clusters)
    a = np.repeat([0, 1], [n, 100])
    X = rng.normal(size=(n + 100, 2)) + 0.5 * a[:, None]
    fit = IPMBalancer(estimand="att", ridge=ridge, tol=tol)
    fit.fit(X, a, groups=np.append(groups, np.arange(100)))
    Z, m = standardized(X), fit.masses_[:n]
    cross = cdist(Z[:n], Z[n:]).mean(axis=1)
    own = cdist(Z[:n], Z[:n]) @ m
    counts = np.bincount(groups)
    gradient = np.bincount(groups, 2 * (cross - own + ridge * m)) / counts
    v = np.bincount(groups, m)
    assert_allclose(v[groups] / counts[groups], m, atol=1e-15)
    gap = gradient @ v - gradient.min()
    assert fit.gap_[0] == pytest.approx(gap, rel=1e-3, abs=1e-10)
    assert fit.converged_ and fit.relative_gap_[0] <= tol
    energy = 2 * m @ cross - m @ own - cdist(Z[n:], Z[n:]).mean()
    assert fit.discrepancy_[0] == pytest.approx(energy, rel=1e-8)


@pytest.mark.parametrize("kernel", [Energy(), Gaussian(bandwidth=1.0)])
def test_the_clusters_gram_operator_is_the_dense_one(kernel, monkeypatch):
    rng = np.random.default_rng(5)
    Z, s = rng.normal(size=(60, 3)), rng.uniform(0.5, 2.0, 60)
    clusters = Clusters.of(rng.permutation(np.arange(60) % 17) * 3, s)
    C = clusters.matrix().toarray()
    assert_allclose(C.sum(axis=0), 1.0)
    assert_allclose(clusters.spread(np.arange(17.0)), C @ np.arange(17.0))
    assert_allclose(clusters.mean(Z), C.T @ Z)
    K = C.T @ kernel(Z) @ C
    gram = ClusteredGram(kernel.operator(Z), clusters)
    assert gram.shape == (17, 17) and gram.dtype == np.float64
    some, others = np.array([3, 0, 16, 9]), np.array([1, 3, 2])
    v, V = rng.normal(size=3), rng.normal(size=(17, 2))
    for most in (_clusters.TILE_VALUES, 1, 200):
        monkeypatch.setattr(_clusters, "TILE_VALUES", most)
        assert_allclose(gram.block(None), K, atol=1e-12)
        assert_allclose(gram.block(some, others), K[np.ix_(some, others)], atol=1e-12)
    assert_allclose(gram.matvec(V), K @ V, atol=1e-12)
    found = gram.matvec(v, columns=others, rows=some)
    assert_allclose(found, K[np.ix_(some, others)] @ v, atol=1e-12)
    assert_allclose(gram.diagonal(), np.diagonal(K), atol=1e-12)
    part = gram.restrict(some)
    assert_allclose(part.block(None), K[np.ix_(some, some)], atol=1e-12)
    assert_allclose(part.diagonal(), np.diagonal(K)[some], atol=1e-12)
    assert_allclose(gram.astype(np.float32).block(None), K, rtol=1e-4, atol=1e-5)
    assert gram.astype(np.float32).dtype == np.float32
    factor = gram.low_rank(rank=17, tol=1e-12)
    assert_allclose(factor.factor @ factor.factor.T, K, atol=1e-8)


def test_shares_of_some_rows_are_the_same():
    clusters = Clusters.of(np.array([5, 2, 5, 9, 2]), np.array([1.0, 1, 3, 1, 1]))
    assert_array_equal(clusters.of_row, [1, 0, 1, 2, 0])
    assert_array_equal(clusters.share, [0.25, 0.5, 0.75, 1.0, 0.5])
    part = clusters.of_rows(np.array([True, False, True, True, False]))
    assert_array_equal(part.of_row, [0, 0, 1])
    assert_array_equal(part.share, [0.25, 0.75, 1.0])
