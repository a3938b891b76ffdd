"""What every weighter and effect accepts and refuses: one matrix of input kinds.

Whatever holds the same numbers gives the same result; what cannot be used is refused
with advice, and a refusal loses nothing.
"""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalweights import (
    EntropyBalancer,
    IPMBalancer,
    PropensityWeighter,
    WeightedEffect,
)

N, NAMES = 80, ["age", "income", "size"]

# Whole numbers below 2^24: exact as float32 and as integers.
_rng = np.random.default_rng(0)
X = _rng.integers(-20, 21, size=(N, 3)).astype(np.float64)
A = (X[:, 0] / 8 + 2 * _rng.normal(size=N) > 0).astype(int)
Y = X @ [1.0, 2.0, 0.5] / 8 + A + _rng.normal(size=N)
ORDER = _rng.permutation(N)

# Ridge is blind to neither units nor rank, so the columns are standardised first.
ESTIMATORS = {
    "ipm ate": IPMBalancer(),
    "ipm att": IPMBalancer(estimand="att"),
    "entropy": EntropyBalancer(),
    "propensity": PropensityWeighter(),
    "effect": WeightedEffect(outcome_model=make_pipeline(StandardScaler(), Ridge())),
}

# The same float64 numbers arrive, so only a BLAS product over another memory layout
# may round otherwise.
SAME = 1e-13
# Standardisation rounds otherwise in other units; a solver amplifies it a little.
ROUNDED = 1e-10
# An outcome model gets X as given, and scikit-learn's compute in float32 (eps 1e-7).
SINGLE = 1e-5


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return clone(ESTIMATORS[request.param])


@pytest.fixture(autouse=True)
def silent(capsys):
    """Hold every test to the rule that nothing is printed."""
    yield
    assert capsys.readouterr() == ("", "")


def fit(estimator, X, treatment, y=None, sample_weight=None):
    if isinstance(estimator, WeightedEffect):
        y = Y if y is None else y
        return estimator.fit(X, y, treatment=treatment, sample_weight=sample_weight)
    return estimator.fit(X, treatment, sample_weight=sample_weight)


def results(fitted):
    """Return the numbers of a fit, having checked that they are usable."""
    names = ["masses_", "target_masses_"]
    if isinstance(fitted, WeightedEffect):
        names += ["effect_", "se_", "influence_", "means_", "cov_"]
    else:
        names += ["weights_"]
    found = {name: np.asarray(getattr(fitted, name)) for name in names}
    for name, value in found.items():
        assert np.all(np.isfinite(value)), name
    for name in {"masses_", "target_masses_", "weights_"} & set(found):
        assert np.all(found[name] >= 0), name
    return found


def assert_same(found, expected, tol):
    """Compare each result relative to its largest entry."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert_allclose(
            found[name], value, rtol=0, atol=tol * np.abs(value).max(), err_msg=name
        )


@pytest.fixture
def plain(estimator):
    """Return the results of float64 arrays."""
    return results(fit(clone(estimator), X.copy(), A.copy(), Y.copy()))


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def strided(values):
    """Return a view of every second row, and column, of a larger array."""
    wide = np.full([2 * size for size in values.shape], 99, dtype=values.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in values.shape)]
    view[...] = values
    return view


def frame(index=None, dtype="float64"):
    return pd.DataFrame(X, columns=NAMES, index=index).astype(dtype)


WORDS = np.where(A == 1, "treated", "control")

# Kind: (X, treatment, y, control, tolerance).
ACCEPTED = {
    "string treatment": (X, WORDS, Y, "control", SAME),
    "object treatment": (X, WORDS.astype(object), Y, "control", SAME),
    "categorical treatment": (X, pd.Categorical(WORDS), Y, "control", SAME),
    "pandas category": (X, pd.Series(WORDS, dtype="category"), Y, "control", SAME),
    "polars string": (X, pl.Series(WORDS), Y, "control", SAME),
    "bool treatment": (X, A == 1, Y, None, SAME),
    "float treatment": (X, A.astype(float), Y, None, SAME),
    "lists": (X.tolist(), A.tolist(), Y.tolist(), None, SAME),
    "float32": (X.astype(np.float32), A, Y, None, SINGLE),
    "integers": (X.astype(np.int64), A, Y, None, SAME),
    "small integers": (X.astype(np.int8), A.astype(np.int8), Y, None, SAME),
    "read-only": (read_only(X), read_only(A), read_only(Y), None, SAME),
    "Fortran order": (np.asfortranarray(X), A, Y, None, SAME),
    "strided": (strided(X), strided(A), strided(Y), None, SAME),
    "reversed view": (X[::-1].copy()[::-1], A[::-1].copy()[::-1], Y, None, SAME),
    "pandas": (frame(), pd.Series(A), pd.Series(Y), None, SAME),
    "shuffled index": (
        frame(ORDER), pd.Series(A, ORDER), pd.Series(Y, ORDER), None, SAME
    ),
    "nullable floats": (
        frame(dtype="Float64"), pd.Series(A, dtype="Int64"),
        pd.Series(Y, dtype="Float64"), None, SAME,
    ),
    "nullable integers": (
        frame(dtype="Int64"), pd.Series(A == 1, dtype="boolean"),
        pd.Series(Y, dtype="Float64"), None, SAME,
    ),
    "polars": (pl.DataFrame(X, schema=NAMES), pl.Series(A), pl.Series(Y), None, SAME),
    "mixed scales": (X * [1e-12, 1.0, 1e12], A, Y, None, ROUNDED),
}  # fmt: skip


def assert_unchanged(inputs, copies):
    for now, then in zip(inputs, copies):
        # As text: NaN equals itself there, and a frame's memory layout is no matter.
        assert repr(np.asarray(now).tolist()) == repr(np.asarray(then).tolist())


@pytest.mark.parametrize("kind", ACCEPTED)
def test_same_numbers_whatever_holds_them(estimator, plain, kind):
    *inputs, control, tol = ACCEPTED[kind]
    copies = copy.deepcopy(inputs)
    fitted = fit(estimator.set_params(control=control), *inputs)
    if tol == SINGLE and not isinstance(fitted, WeightedEffect):
        tol = SAME  # weighters compute in float64
    assert_same(results(fitted), plain, tol)
    assert_unchanged(inputs, copies)
    if hasattr(inputs[0], "columns"):
        assert fitted.feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("build", [np.asarray, pd.DataFrame, pl.DataFrame])
def test_a_constant_column_is_named_and_ignored(estimator, plain, build):
    values, names = np.insert(X, 1, 7.0, axis=1), ["age", "flat", "income", "size"]
    if build is np.asarray:
        table, name = values, "column 1"
    else:
        table, name = build(dict(zip(names, values.T, strict=True))), "flat"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted = fit(estimator, table, A)
    assert [w.category for w in caught] == [UserWarning]
    assert str(caught[0].message) == f"constant covariates are ignored: {name}."
    # BLAS sums three of four columns in another order.
    assert_same(results(fitted), plain, ROUNDED)


def test_duplicated_rows_are_frequencies(estimator):
    # Out-of-fold models would tell copies apart, in-sample ones do not.
    if isinstance(estimator, WeightedEffect):
        estimator.set_params(outcome_model=LinearRegression(), cv=None)
    counted = clone(estimator).set_params(weight_type="frequency")
    counted = results(fit(counted, X, A, sample_weight=np.full(N, 2.0)))
    copied = fit(estimator, *(np.repeat(v, 2, axis=0) for v in (X, A, Y)))
    copied = results(copied)
    for name, value in copied.items():
        if value.shape == (2 * N,):
            first, second = value[::2], value[1::2]
            scale = ROUNDED * np.abs(value).max()
            assert_allclose(first, second, rtol=0, atol=scale, err_msg=name)
            copied[name] = first + second if "masses" in name else first
    assert_same(copied, counted, ROUNDED)


@pytest.mark.parametrize("key", ["entropy", "propensity"])
def test_a_collinear_column_changes_nothing(key):
    """Linear balance and a logistic model depend on the columns' span alone."""
    expected = results(fit(clone(ESTIMATORS[key]), X, A))
    wide = np.column_stack([X, X[:, 0] - 2 * X[:, 1], 3 * X[:, 2]])
    assert_same(results(fit(clone(ESTIMATORS[key]), wide, A)), expected, ROUNDED)


@pytest.mark.parametrize("key", ["ipm ate", "ipm att", "effect"])
def test_a_copied_column_counts_twice_in_distances(key):
    """Distances with a column twice are those with it once, sqrt(2) as large."""
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    balancer = clone(ESTIMATORS["ipm att" if key == "ipm att" else "ipm ate"])
    balancer.set_params(standardize=False)
    once = fit(balancer, Z * [np.sqrt(2), 1.0, 1.0], A)
    wide = np.column_stack([X, -5 * X[:, 0] + 3])
    if key != "effect":
        found = fit(clone(ESTIMATORS[key]), wide, A)
        assert_same(results(found), results(once), ROUNDED)
        return
    # Least squares depends on the columns' span alone.
    effect = WeightedEffect(
        once.weights_, outcome_model=LinearRegression(), estimand="ate"
    )
    found = WeightedEffect(outcome_model=LinearRegression())
    assert_same(results(fit(found, wide, A)), results(fit(effect, X, A)), ROUNDED)


# ---- what is refused ----------------------------------------------------------------


def with_value(values, value, *position):
    values = np.array(values, dtype=np.float64)
    values[position] = value
    return values


def holes(value):
    return pd.DataFrame(with_value(X, value, 3, 1), columns=NAMES)


LABELLED = {"X": frame(), "treatment": pd.Series(A)}
ONES = np.ones(N)

# Kind: (arguments that differ from the good ones, what is wrong and where, advice).
REFUSED = {
    "NaN": ({"X": with_value(X, np.nan, 3, 1)}, "NaN.*column 1 .*row 3", "impute"),
    "NaN in a frame": ({"X": holes(np.nan)}, "NaN.*'income' .*row 3", "impute"),
    "NA": ({"X": holes(np.nan).convert_dtypes()}, "X: 'income' .*row 3", "impute"),
    "null": (
        {"X": pl.from_pandas(holes(np.nan))}, "NaN.*'income' .*row 3", "impute"
    ),
    "inf": ({"X": with_value(X, np.inf, 3, 1)}, "inf.*column 1 .*row 3", "Drop"),
    "-inf": ({"X": holes(-np.inf)}, "inf.*'income' .*row 3", "Drop"),
    "NaN label": (
        {"treatment": with_value(A, np.nan, 3)}, "treatment.*NaN", "remove those rows"
    ),
    "None label": (
        {"treatment": [None, *A[1:].tolist()]},
        "treatment.*missing values", "remove those rows",
    ),
    "NA label": (
        {"treatment": pd.Series(WORDS, dtype="string").where(ORDER > 0)},
        "treatment.*missing values", "remove those rows",
    ),
    "no treatment": ({"treatment": None}, "treatment is missing", "pass one label"),
    "one arm": (
        {"treatment": np.ones(N, dtype=int)},
        r"treatment has one arm only \(1\)", "another arm is needed",
    ),
    "emptied arm": (
        {"sample_weight": (A == 0).astype(float)},
        "arm 1 has no row with a positive sample_weight", "leave the arm out",
    ),
    "one row": (
        {"X": X[:1], "treatment": A[:1], "y": Y[:1]}, "X has one row", "all arms"
    ),
    "constant columns": (
        {"X": np.ones((N, 3))}, "all columns of X are constant", "Check that X"
    ),
    "sparse matrix": ({"X": sp.csr_matrix(X)}, "Sparse data.* for X", "toarray"),
    "sparse array": ({"X": sp.coo_array(X)}, "Sparse data.* for X", "toarray"),
    "short treatment": (
        {"treatment": A[:-1]}, "treatment has 79 rows, X has 80", "pass one label"
    ),
    "short sample_weight": (
        {"sample_weight": ONES[:-1]},
        r"sample_weight has shape \(79,\), X has 80", "pass one weight a row",
    ),
    "treatment reordered": (
        {**LABELLED, "treatment": pd.Series(A)[::-1]},
        "X and treatment have the same index labels in another order", "reorder one",
    ),
    "sample_weight reordered": (
        {**LABELLED, "sample_weight": pd.Series(ONES)[::-1]},
        "X and sample_weight have the same index labels", "reorder one",
    ),
    "negative weight": (
        {"sample_weight": with_value(ONES, -1, 3)},
        "sample_weight contains negative.*row 3", "zero removes a row",
    ),
    "NaN weight": (
        {"sample_weight": with_value(ONES, np.nan, 3)},
        "sample_weight contains NaN.*row 3", "remove those rows",
    ),
    "infinite weight": (
        {"sample_weight": with_value(ONES, np.inf, 3)},
        "sample_weight contains NaN or inf.*row 3", "remove those rows",
    ),
    "zero weights": (
        {"sample_weight": 0 * ONES}, "sample_weight is zero on every row", "positive"
    ),
    "array of strings": (
        {"X": np.column_stack([X.astype(object), np.full(N, "Oslo")])},
        "X: column 3", "in the frame that fit is given",
    ),
    "date column": (
        {"X": frame().assign(day=pd.Timestamp("2020-01-01"))},
        "X: 'day'", "make them numbers",
    ),
    "missing category": (
        {"X": frame().assign(town=pd.Categorical(np.where(ORDER == 9, None, WORDS)))},
        f"'town' .*row {np.argmax(ORDER == 9)}", "those rows",
    ),
    "missing string": (
        {"X": frame().assign(town=np.where(ORDER == 9, np.nan, WORDS.astype(object)))},
        f"'town' .*row {np.argmax(ORDER == 9)}", "those rows",
    ),
    "null string": (
        {"X": pl.DataFrame(X, schema=NAMES).with_columns(
            town=pl.Series([None, *WORDS[1:]]))},
        r"'town' .*row 0", "those rows",
    ),
    "strings and numbers": (
        {"X": frame().assign(town=np.where(ORDER == 9, 2, WORDS.astype(object)))},
        "'town' mixes strings and other values", "one kind",
    ),
    "identifier": (
        {"X": frame().assign(id=[f"person {i}" for i in range(N)])},
        "'id' has a level of its own in each of 80 rows", "drop it",
    ),
}  # fmt: skip

# Of the outcome, which only an effect has.
REFUSED_OUTCOMES = {
    "short y": ({"y": Y[:-1]}, "y has 79 rows, X has 80", "pass one outcome"),
    "y reordered": (
        {**LABELLED, "y": pd.Series(Y)[::-1]},
        "X and y have the same index labels in another order", "reorder one",
    ),
    "NaN in y": ({"y": with_value(Y, np.nan, 3)}, "y contains NaN", "drop those rows"),
    "string y": ({"y": WORDS}, "y must be numeric", "code it as numbers"),
}  # fmt: skip


def assert_refused(estimator, changes, wrong, advice):
    """Check the message, that the data stay, and that no fit appears or is lost."""
    arguments = {"X": X, "treatment": A, "y": Y, "sample_weight": None, **changes}
    inputs = [v for v in arguments.values() if not sp.issparse(v)]
    copies = copy.deepcopy(inputs)
    before = pickle.dumps(vars(estimator))
    with pytest.raises((ValueError, TypeError), match=f"(?s){wrong}") as error:
        fit(estimator, **arguments)
    assert advice in str(error.value)
    assert len(str(error.value)) < 600
    assert pickle.dumps(vars(estimator)) == before
    assert_unchanged(inputs, copies)


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_advise_and_leave_no_fit(estimator, kind):
    assert_refused(estimator, *REFUSED[kind])
    assert not [v for v in vars(estimator) if v.endswith("_")]
    assert_same(results(fit(estimator, X, A)), results(fit(clone(estimator), X, A)), 0)


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_keep_the_earlier_fit(estimator, kind):
    expected = results(fit(estimator, X, A))
    assert_refused(estimator, *REFUSED[kind])
    for name, value in results(estimator).items():
        assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("kind", REFUSED_OUTCOMES)
@pytest.mark.parametrize("refit", [False, True])
def test_outcomes_that_are_refused(kind, refit):
    effect = clone(ESTIMATORS["effect"])
    if refit:
        fit(effect, X, A)
    assert_refused(effect, *REFUSED_OUTCOMES[kind])
    assert hasattr(effect, "effect_") == refit


IMPOSSIBLE = {
    "high minimum": (IPMBalancer(min_weight=1.5), "min_weight.*Got 1.5", "range"),
    "low maximum": (IPMBalancer(max_weight=0.5), "max_weight.*Got 0.5", "range"),
    "negative minimum": (IPMBalancer(min_weight=-0.1), "min_weight.*Got", "range"),
    "crossed": (IPMBalancer(min_weight=3, max_weight=2), "min_weight.*Got 3", "range"),
    "entropy": (EntropyBalancer(), "arm 0.*column 1", "Drop or coarsen it"),
    "entropy att": (
        EntropyBalancer(estimand="att"), "arm 0.*column 1", "or use IPMBalancer"
    ),
    "trimmed away": (
        PropensityWeighter(trim=0.49), "trim=0.49 arm . has no row left", "lower trim"
    ),
}  # fmt: skip


@pytest.mark.parametrize("within", [False, True], ids=["alone", "in an effect"])
@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_impossible_weights_are_refused(kind, within):
    weighter, wrong, advice = IMPOSSIBLE[kind]
    estimator = clone(weighter)
    if within:
        estimator = WeightedEffect(estimator, outcome_model=LinearRegression())
    apart = X.copy()
    apart[:, 1] += 200 * A
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arms that do not overlap
        assert_refused(estimator, {"X": apart}, wrong, advice)
    assert not [v for v in vars(estimator) if v.endswith("_")]


def test_warnings_point_at_the_callers_line():
    constant = np.column_stack([X, np.ones(N)])
    with pytest.warns(UserWarning, match="constant covariates") as caught:
        IPMBalancer().fit(constant, A)
    assert caught[0].filename == __file__
    few = np.r_[np.zeros(N - 3), np.ones(3)].astype(int)
    with pytest.warns(UserWarning, match="rest on few rows") as caught:
        IPMBalancer(estimand="atc", ridge=0).fit(X, 1 - few)
    assert caught[-1].filename == __file__
