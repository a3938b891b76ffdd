"""scikit-learn's callbacks hear of long fits; an interrupted fit leaves no trace."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.linear_model import LinearRegression, LogisticRegression

from causalweights import (
    KernelMoments,
    PropensityWeighter,
    PseudoOutcomeRegressor,
    UniformTransformerEffect,
    WeightedEffect,
)
from causalweights._progress import _FITTED

NEW = hasattr(WeightedEffect, "set_callbacks")
needs_callbacks = pytest.mark.skipif(
    not NEW, reason=f"scikit-learn {sklearn.__version__} has no callbacks"
)
FAST = {
    "outcome_model": LinearRegression(),
    "propensity_model": LogisticRegression(),
    "final_model": LinearRegression(),
}
CASES = {
    "effect": (
        lambda: WeightedEffect(PropensityWeighter(), outcome_model=LinearRegression()),
        {"outcome models": 10},
    ),
    "ustatistic": (
        lambda: UniformTransformerEffect(augment=LinearRegression(), cv=3),
        {"outcome models": 6},
    ),
    "cate": (
        lambda: PseudoOutcomeRegressor(**FAST),
        {"nuisance models": 10, "final models": 1},
    ),
    "moments": (lambda: KernelMoments(cv=4, random_state=0), {"folds of lam": 4}),
}  # fmt: skip


class Recorder:
    """Keeps what it is told; may interrupt at the first job's end."""

    def __init__(self, interrupt=False):
        self.interrupt, self.events, self.up = interrupt, [], 0

    def setup(self, estimator, context):
        self.up += 1

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name))
        if self.interrupt and context.task_name == "job":
            self.interrupt = False
            raise KeyboardInterrupt

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name))
        self.up -= 1


def fit(model):
    rng = np.random.default_rng(0)
    X, a = rng.normal(size=(120, 2)), np.arange(120) % 2
    y = X[:, 0] + a + rng.normal(size=120)
    if isinstance(model, KernelMoments):
        return model.fit(X, y)
    return model.fit(X, y, treatment=a)


def figures(model):
    names = ("effect_", "se_", "params_", "coef_")
    model = model if hasattr(model, "se_") else np.ravel(model.cate_models_)[0]
    return [np.ravel(getattr(model, name)) for name in names if hasattr(model, name)]


@needs_callbacks
@pytest.mark.parametrize("name", CASES)
def test_callbacks_hear_of_every_job(name):
    make, loops = CASES[name]
    recorder = Recorder()
    told = fit(make().set_callbacks(recorder))
    for mine, plain in zip(figures(told), figures(fit(make())), strict=True):
        assert_array_equal(mine, plain)
    begun = [task for when, task in recorder.events if when == "begin"]
    ended = [task for when, task in recorder.events if when == "end"]
    assert sorted(begun) == sorted(ended) and begun[0] == "fit"
    assert recorder.events[-2:] == [("end", "fit"), ("teardown", "fit")]
    assert begun.count("job") == sum(loops.values())
    assert set(begun) == {"fit", "job", *loops}
    assert recorder.up == 0 and _FITTED.get() is None


@needs_callbacks
@pytest.mark.parametrize("name", CASES)
def test_an_interrupted_fit_leaves_no_trace(name):
    recorder = Recorder(interrupt=True)
    model = CASES[name][0]().set_callbacks(recorder)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        fit(model)
    assert vars(model) == before
    assert recorder.up == 0 and _FITTED.get() is None
    again = figures(fit(model))
    for mine, plain in zip(again, figures(fit(CASES[name][0]())), strict=True):
        assert_array_equal(mine, plain)
