"""Features of the minimax classifier, alone and inside it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from causalweights import DoubleWeightingClassifier
from causalweights.kernels import Energy, Gaussian, Laplace
from causalweights.shift._features import feature_rows, fit_features


def features_of(option, X, *, weight=None, kernel=None, n=20, seed=None, ones=False):
    weight = np.ones(len(X)) if weight is None else weight
    kernel = Gaussian(0.8) if kernel is None else kernel
    return feature_rows(fit_features(option, X, weight, kernel, n, seed), X, ones)


def test_powers_of_each_column(rng):
    X = rng.normal(size=(7, 2))
    a, b = X.T
    for option, columns in {
        "linear": [a, b], "poly2": [a, b, a**2, b**2],
        "poly3": [a, b, a**2, b**2, a**3, b**3],
    }.items():  # fmt: skip
        assert_array_equal(features_of(option, X), np.column_stack(columns))
        with_ones = features_of(option, X, ones=True)
        assert_array_equal(with_ones, np.column_stack([np.ones(7), *columns]))


@pytest.mark.parametrize("kernel", [Gaussian(0.8), Laplace(1.5)])
def test_random_fourier_features_have_the_kernel(kernel, rng):
    X = rng.normal(size=(40, 2))
    phi = features_of("rff", X, kernel=kernel, n=5000)
    assert phi.shape == (40, 10_000)
    assert_allclose(phi @ phi.T, kernel(X), atol=0.07)
    assert features_of("rff", X, n=1).shape == (40, 2)
    assert_array_equal(features_of("rff", X), features_of("rff", X, seed=0))
    other = features_of("rff", X, seed=1)
    assert np.abs(features_of("rff", X) - other).max() > 0.1
    with pytest.raises(ValueError, match="Energy"):
        features_of("rff", X, kernel=Energy())


@pytest.mark.parametrize("options", [
    {}, {"bandwidth": 2.5}, {"kernel": Laplace(1.0)}, {"standardize": True},
])  # fmt: skip
def test_random_fourier_features_are_of_the_kernel_of_the_weights(options, labelled):
    X, y, target = labelled(80, 0, 60)
    model = DoubleWeightingClassifier(features="rff", n_components=3, D=1.0, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the minimax risk")
        model.fit(X, y, X_target=target)
    expected = fit_features("rff", X, np.ones(80), model.kernel_, 3, None)
    assert_array_equal(model.features_.frequencies, expected.frequencies)
    assert model.mu_.shape == (2, 7)


class Weighted(TransformerMixin, BaseEstimator):
    """Centre by the weighted mean."""

    def fit(self, X, y=None, sample_weight=None):
        assert y is None
        self.mean_ = np.average(X, axis=0, weights=sample_weight)
        return self

    def transform(self, X):
        return X - self.mean_


def test_a_transformer_is_cloned_and_fitted_on_both_samples(labelled):
    X, y, target = labelled(80, 0, 60)
    given = StandardScaler()
    model = DoubleWeightingClassifier(features=given).fit(X, y, X_target=target)
    assert not hasattr(given, "mean_")
    both = np.vstack([X, target])
    assert_allclose(model.features_.mean_, both.mean(axis=0), atol=1e-12)
    weight = np.linspace(0.5, 2.0, 80)
    model = DoubleWeightingClassifier(features=Weighted())
    model.fit(X, y, X_target=target, sample_weight=weight)
    relative = np.concatenate([weight / weight.mean(), np.ones(60)])
    expected = np.average(both, axis=0, weights=relative)
    assert_allclose(model.features_.mean_, expected, atol=1e-12)


@pytest.mark.parametrize("loss", ["log", "0-1"])
def test_a_transformer_equals_the_option_that_it_is(loss, labelled):
    X, y, target = labelled(80, 0, 60)
    squares = FunctionTransformer(lambda Z: np.hstack([Z, Z**2]))
    one, two = (
        DoubleWeightingClassifier(loss=loss, features=features).fit(
            X, y, X_target=target
        )
        for features in ("poly2", squares)
    )
    assert_array_equal(one.mu_, two.mu_)
    assert_array_equal(one.predict_proba(target), two.predict_proba(target))


def test_kinds_of_output(labelled):
    X, y, target = labelled(80, 0, 60)
    cells = FunctionTransformer(lambda Z: np.round(np.clip(Z, -1, 1)))
    sparse = make_pipeline(cells, OneHotEncoder(handle_unknown="ignore"))
    model = DoubleWeightingClassifier(features=sparse).fit(X, y, X_target=target)
    assert model.mu_.shape == (2, 7) and model.predict(target).shape == (60,)
    frames = PolynomialFeatures(2, include_bias=False).set_output(transform="pandas")
    found = features_of(frames, X)
    assert isinstance(found, np.ndarray) and found.shape == (80, 5)
    single = features_of(FunctionTransformer(lambda Z: Z.astype(np.float32)), X)
    assert single.dtype == np.float64
    basis = SplineTransformer(4)
    model = DoubleWeightingClassifier(features=basis, fit_intercept=False)
    model.fit(pd.DataFrame(X, columns=["u", "v"]), y, X_target=pd.DataFrame(
        target, columns=["u", "v"]
    ))  # fmt: skip
    assert model.mu_.shape == (2, 12)


def test_bad_output_is_refused(rng):
    X = rng.normal(size=(9, 2))
    holes = FunctionTransformer(lambda Z: np.where(Z > 0, Z, np.nan))
    with pytest.raises(ValueError, match="the output of features contains NaN"):
        features_of(holes, X)
    with pytest.raises(ValueError, match="features returned 4 rows for 9"):
        features_of(FunctionTransformer(lambda Z: Z[:4]), X)
