"""What a notebook shows of estimators and results."""

import importlib
import inspect
import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

import causalweights
from causalweights import (
    EntropyBalancer,
    IndependenceBalancer,
    IPMBalancer,
    PropensityWeighter,
    UniformTransformerEffect,
    WeightedEffect,
)
from causalweights.cate import CalibrationCurve
from causalweights.shift import ClassifierPath

ESTIMATORS = [
    kind
    for name in causalweights.__all__
    if inspect.isclass(kind := getattr(causalweights, name))
    and issubclass(kind, BaseEstimator)
]
# Constructors with parameters that have no default.
NEEDED = {"ShiftWeightedEstimator": (LinearRegression(), IPMBalancer())}
ROOMS = ["cate", "inference", "moments", "shift"]


def words_of(shown):
    """Return what a page says, without its tags and styles."""
    page = re.sub(r"(?s)<(style|script).*?</\1>", " ", shown._repr_html_())
    return re.sub(r"<[^>]*>", " ", page)


@pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)
def test_estimators_show_their_name_and_parameters(kind):
    assert len(ESTIMATORS) > 20
    model = kind(*NEEDED.get(kind.__name__, ()))
    names = [n for n, value in model.get_params(deep=False).items() if value is None]
    plain = words_of(model)
    assert kind.__name__ in plain
    if names:  # what is not a default is shown by every release of scikit-learn
        changed = words_of(model.set_params(**{names[0]: 31}))
        assert names[0] in changed and "31" in changed


@pytest.mark.parametrize(
    "model",
    [
        IPMBalancer(), EntropyBalancer(), PropensityWeighter(), IndependenceBalancer(),
        WeightedEffect(), UniformTransformerEffect(),
    ],
    ids=lambda model: type(model).__name__,
)  # fmt: skip
def test_fitted_estimators_show_that_they_are(model):
    rng = np.random.default_rng(0)
    X, a = rng.normal(size=(60, 2)), np.arange(60) % 2
    if isinstance(model, IndependenceBalancer):
        model.fit(X, X[:, 0] + rng.normal(size=60))
    elif hasattr(model, "predict"):
        model.fit(X, rng.normal(size=60), treatment=a)
    else:
        model.fit(X, a)
    assert "Fitted" in words_of(model)


@pytest.mark.parametrize("room", ROOMS)
def test_results_with_a_table_show_it(room):
    module = importlib.import_module(f"causalweights.{room}")
    kinds = [getattr(module, name) for name in module.__all__]
    tables = [kind for kind in kinds if hasattr(kind, "to_frame")]
    assert tables
    for kind in tables:
        assert hasattr(kind, "_repr_html_"), kind.__name__


def test_a_path_and_a_curve_show_their_rows():
    ones = np.ones(2)
    path = ClassifierPath(np.array([1.0, 4.0]), 0.25 * ones, ones, ones, ones, ones > 0,
                          None, 1)  # fmt: skip
    words = words_of(path).split()
    assert {"minimax_risk", "selected", "0.25", "4.0", "True"} <= set(words)
    curve = CalibrationCurve(0.123456 * ones, ones, ones, ones / 2, 0.1, 0.2)
    assert {"predicted", "0.1235", "share"} <= set(words_of(curve).split())
