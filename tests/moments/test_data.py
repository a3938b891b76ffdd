"""The checked sample of a moment model."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from causalweights import GMM
from causalweights.moments._data import check_identified, check_moment_data


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        rng.normal(size=(30, 5)), columns=["y", "educ", "age", "u", "v"]
    )
    return frame


def checked(frame, **options):
    estimator = GMM()
    data = check_moment_data(
        estimator, frame[["educ", "age"]], frame["y"],
        options.pop("instruments", frame[["u", "v", "age"]]), **options,
    )  # fmt: skip
    return estimator, data


def test_names_and_the_intercept_follow_the_columns(sample):
    _, data = checked(sample, fit_intercept=True)
    assert data.x_names == ["educ", "age", "Intercept"]
    assert data.z_names == ["u", "v", "age", "Intercept"]
    assert_array_equal(data.X[:, -1], 1)
    assert_array_equal(data.Z[:, :3], sample[["u", "v", "age"]])


def test_arrays_get_numbered_names(sample):
    X, y = sample[["educ", "age"]].to_numpy(), sample["y"].to_numpy()
    data = check_moment_data(GMM(), X, y, sample["u"].to_numpy())
    assert data.x_names == ["x0", "x1"] and data.z_names == ["z0"]
    assert data.Z.shape == (30, 1)


def test_without_instruments_the_regressors_are_theirs_own(sample):
    _, data = checked(sample, instruments=None, fit_intercept=True)
    assert_array_equal(data.Z, data.X)
    assert data.z_names == data.x_names


def test_polars_frames_keep_their_names(sample):
    frame = pl.from_pandas(sample)
    data = check_moment_data(
        GMM(), frame[["educ", "age"]], frame["y"], frame[["u", "age"]]
    )
    assert data.x_names == ["educ", "age"] and data.z_names == ["u", "age"]
    assert_array_equal(data.Z, sample[["u", "age"]])


def test_weights_of_zero_leave_and_the_others_are_scaled(sample):
    weight = np.tile([0.0, 1.0, 5.0], 10)
    groups = np.repeat(["a", "b", "c", "d", "e", "f"], 5)
    _, data = checked(sample, sample_weight=weight, groups=groups)
    assert_array_equal(data.rows, weight > 0)
    assert data.sample_weight.mean() == pytest.approx(1)
    assert data.n_samples == pytest.approx(20)
    assert_array_equal(data.moment_weight, data.sample_weight)
    assert_array_equal(data.copies, 1)
    assert_array_equal(
        data.groups, np.unique(groups[weight > 0], return_inverse=True)[1]
    )
    _, counted = checked(sample, sample_weight=weight, weight_type="frequency")
    assert counted.n_samples == 60
    assert_array_equal(counted.copies, weight[weight > 0])
    assert_array_equal(counted.moment_weight, 1)
    assert counted.masses.sum() == pytest.approx(1)


def test_taking_rows_is_checking_those_rows(sample):
    weight, groups = np.linspace(0, 2, 30), np.arange(30) // 4
    _, data = checked(sample, sample_weight=weight, groups=groups)
    part = data.take(np.arange(3, 20))
    rows = np.arange(4, 21)  # the first has weight zero
    _, direct = checked(
        sample.iloc[rows], sample_weight=weight[rows], groups=groups[rows]
    )
    assert_array_equal(part.X, direct.X)
    assert_array_equal(part.groups, direct.groups)
    assert_array_equal(np.flatnonzero(part.rows), rows)
    np.testing.assert_allclose(part.sample_weight, direct.sample_weight, rtol=1e-14)


def test_collinear_instruments_are_left_out_and_named(sample):
    sample["twice"] = 2 * sample["u"]
    sample["one"] = 1.0
    Z = sample[["u", "twice", "v", "one", "age"]]
    with pytest.warns(
        UserWarning, match=r"collinear, of rank 4: twice, Intercept"
    ) as w:
        estimator, data = checked(sample, instruments=Z, fit_intercept=True)
    assert len(w) == 1
    assert data.z_names == ["u", "v", "one", "age"]
    assert_array_equal(
        estimator._instrument_columns.kept, [True, False, True, True, True, False]
    )


def test_columns_behind_a_dependent_one_are_kept():
    # Three rows: an orthonormal basis filled by a dependent column would be full.
    Z = np.array([[1.0, 2, 0, 0], [1, 2, 1, 0], [1, 2, 0, 1]])
    with pytest.warns(UserWarning, match="of rank 3: z1 depend"):
        data = check_moment_data(GMM(), np.eye(3)[:, :1], np.zeros(3), Z)
    assert data.z_names == ["z0", "z2", "z3"]


def test_a_column_that_depends_on_nearly_collinear_ones_is_found():
    # Powers of x in [1, 2] leave 1e-5 of each other: one pass of orthogonalisation
    # loses as many digits.
    rng = np.random.default_rng(0)
    powers = rng.uniform(1, 2, size=200)[:, None] ** np.arange(7)
    Z = np.column_stack([powers, powers @ rng.normal(size=7)])
    with pytest.warns(UserWarning, match="of rank 7: z7 depend"):
        data = check_moment_data(GMM(), powers[:, :2], np.zeros(200), Z)
    assert data.Z.shape == (200, 7)


def test_columns_far_from_zero_are_no_collinearity(sample):
    sample["year"] = 2000.0 + np.arange(30)
    sample["square"] = sample["year"] ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, data = checked(
            sample, instruments=sample[["year", "square", "u"]], fit_intercept=True
        )
    assert data.Z.shape == (30, 4)


BAD = {
    "NaN": (
        lambda s: {"instruments": s[["u"]].where(s["u"] > 0)},
        "instruments contains",
    ),
    "infinity": (
        lambda s: {"instruments": s[["u"]].replace(s["u"][3], np.inf)},
        "instruments contains infinity",
    ),
    "sparse": (lambda s: {"instruments": sp.csr_array(s[["u"]])}, "[Ss]parse"),
    "rows": (
        lambda s: {"instruments": s[["u"]].to_numpy()[:9]},
        "instruments have 9 rows",
    ),
    "order": (
        lambda s: {"instruments": s[["u"]].iloc[::-1]},
        "same index labels in another order",
    ),
    "empty": (lambda s: {"instruments": s[[]]}, "instruments have no columns"),
    "words": (
        lambda s: {"instruments": s[["u"]].assign(g=list("ab") * 15)},
        "instruments has columns of strings or categories: g. Use from_formula",
    ),
    "weights": (lambda s: {"sample_weight": -np.ones(30)}, "negative values"),
    "groups": (lambda s: {"groups": np.ones(4)}, "groups has shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_by_name(name, sample):
    make, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        checked(sample, **make(sample))


def test_categories_of_the_regressors_are_refused(sample):
    X = sample[["educ"]].assign(region=pd.Categorical(list("abc") * 10))
    with pytest.raises(ValueError, match="X has columns of strings or categories: reg"):
        check_moment_data(GMM(), X, sample["y"])


def test_new_rows_are_read_as_those_of_fit(sample):
    sample["twice"] = 2 * sample["u"]
    Z = sample[["u", "twice", "age"]]
    with pytest.warns(UserWarning, match="collinear"):
        estimator, _ = checked(sample, instruments=Z)
    X, y = sample[["educ", "age"]].head(), sample["y"].head()

    def new(instruments):
        return check_moment_data(estimator, X, y, instruments, reset=False)

    assert new(Z.head()).z_names == ["u", "age"]
    with pytest.raises(ValueError, match=r"missing: fit had them.*metadata_routing"):
        new(None)
    with pytest.raises(ValueError, match="have 2 columns"):
        new(Z.head()[["u", "age"]])
    with pytest.raises(ValueError, match="those of fit were u, twice, age"):
        new(Z.head()[["age", "u", "twice"]])
    plain, _ = checked(sample, instruments=None)
    with pytest.raises(ValueError, match="fit had none"):
        check_moment_data(plain, X, y, Z.head(), reset=False)


def test_under_identified_models_are_named():
    rng = np.random.default_rng(1)
    X, Z = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    check_identified(X, Z, ["a", "b"])
    both = np.column_stack([X, X[:, 0] - X[:, 1]])
    with pytest.raises(ValueError, match=r"collinear, of rank 2 \(c depend"):
        check_identified(both, rng.normal(size=(40, 3)), ["a", "b", "c"])
    with pytest.raises(ValueError, match="1 linearly independent instruments for 2"):
        check_identified(X, Z[:, :1], ["a", "b"])
    # The second instrument is orthogonal to both regressors.
    basis = np.linalg.qr(np.column_stack([X, Z]))[0]
    with pytest.raises(ValueError, match="projections of the 2 regressors have rank 1"):
        check_identified(X, basis[:, [0, 2]], ["a", "b"])
