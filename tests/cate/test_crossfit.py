"""Who trains, who is predicted, and that nothing leaks."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

from causalweights import PseudoOutcomeRegressor
from causalweights.cate._crossfit import make_plan
from causalweights.cate._nuisances import Data

LOG: list = []


class Recorder(BaseEstimator):
    """Logs the row numbers, column 0, that it learns from and predicts."""

    def fit(self, X, y, sample_weight=None):
        self.rows_ = frozenset(np.asarray(X)[:, 0].astype(int))
        self.classes_ = np.unique(y)
        return self

    def _log(self, X):
        own = np.asarray(X)[:, 0].astype(int)
        LOG.append((type(self).__name__, self.rows_, frozenset(own)))
        return own


class RecordingRegressor(RegressorMixin, Recorder):
    def predict(self, X):
        return np.sin(self._log(X) + len(self.rows_))


class RecordingClassifier(ClassifierMixin, Recorder):
    def predict_proba(self, X):
        p = 0.3 + 0.4 * (self._log(X) % 2)
        return np.column_stack([1 - p, p])


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.arange(60.0), rng.normal(size=60)])
    a = rng.permutation(np.arange(60) % 2)
    return X, X[:, 1] + a + rng.normal(size=60), a


def simple(**options):
    options = {
        "outcome_model": LinearRegression(), "propensity_model": LogisticRegression(),
        "final_model": LinearRegression(), **options,
    }  # fmt: skip
    return PseudoOutcomeRegressor(**options)


@pytest.mark.parametrize("cf_order", [2, 3, 4])
@pytest.mark.parametrize("strategy", ["single", "separate"])
def test_no_model_predicts_a_row_that_it_learnt_from(sample, cf_order, strategy):
    X, y, a = sample
    LOG.clear()
    simple(
        outcome_model=RecordingRegressor(), propensity_model=RecordingClassifier(),
        cf_order=cf_order, outcome_strategy=strategy, cv=3,
    ).fit(X, y, treatment=a)  # fmt: skip
    assert {name for name, _, _ in LOG} == {"RecordingRegressor", "RecordingClassifier"}
    assert all(not trained & predicted for _, trained, predicted in LOG)


@pytest.mark.parametrize(("cf_order", "count"), [(2, 1), (3, 2), (4, 6)])
def test_stacked_rows(sample, cf_order, count):
    X, y, a = sample
    data = Data(X, y, a, 2, None)
    plan = make_plan(5, cf_order, data, None, [0, 1], 0)
    assert len(plan.units) == count * 60
    assert np.array_equal(np.bincount(plan.units), np.full(60, count))
    own = plan.fold[plan.units]
    if cf_order == 2:
        assert np.array_equal(plan.sources, np.tile(own[:, None], 3))
        return
    # No source is the unit's own part, propensity and means differ, all orders occur.
    assert not np.any(plan.sources == own[:, None])
    assert np.all(plan.sources[:, 0] != plan.sources[:, 2])
    if cf_order == 4:
        assert np.all(plan.sources[:, 1] != plan.sources[:, 0])
        assert np.all(plan.sources[:, 1] != plan.sources[:, 2])
    rows = plan.sources.reshape(60, count, 3)
    assert all(len(np.unique(unit, axis=0)) == count for unit in rows)
    for train, test in zip(plan.trains, plan.tests, strict=True):
        assert len(train) == 60 // cf_order
        assert np.array_equal(np.sort([*train, *test]), np.arange(60))


def test_predictions_come_from_their_own_parts(sample):
    X, y, a = sample
    model = simple(cf_order=4).fit(X, y, treatment=a)
    cross = model._first.crosses[0]
    plan = cross.plan
    fits = [
        (
            LogisticRegression().fit(X[t], a[t]),
            LinearRegression().fit(np.column_stack([X[t], a[t]]), y[t]),
        )
        for t in plan.trains
    ]
    for row in (0, 7, 100, 359):
        x = X[plan.units[row]][None]
        pi, kappa, mean = plan.sources[row]
        assert np.allclose(cross.propensity[row], fits[pi][0].predict_proba(x)[0])
        assert np.allclose(cross.complement[row], fits[kappa][0].predict_proba(x)[0])
        arms = [fits[mean][1].predict([[*x[0], arm]])[0] for arm in (0, 1)]
        assert np.allclose(cross.means[row], arms)


def test_an_outcome_moves_no_nuisance_of_its_own_fold(sample):
    X, y, a = sample
    base = simple().fit(X, y, treatment=a)
    moved = y.copy()
    moved[7] += 100.0
    other = simple().fit(X, moved, treatment=a)
    same = base.folds_ == base.folds_[7]
    gap = np.abs(other.nuisances_["means"] - base.nuisances_["means"]).max(axis=1)
    assert np.all(gap[same] == 0)
    assert np.all(gap[~same] > 0)


def test_a_nearest_neighbor_does_not_see_itself():
    rng = np.random.default_rng(1)
    X = rng.uniform(size=(800, 1))
    a, y = np.arange(800) % 2, rng.normal(size=800)
    model = simple(
        outcome_model=KNeighborsRegressor(1), outcome_strategy="separate"
    ).fit(X, y, treatment=a)
    rest = y - model.nuisances_["means"][np.arange(800), a]
    assert rest.var() == pytest.approx(2.0, rel=0.15)


def test_reordering_rows_reorders_results(sample):
    X, y, a = sample
    folds = np.arange(60) % 4
    splits = [
        (np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(4)
    ]
    order = np.random.default_rng(2).permutation(60)
    back = np.argsort(order)
    moved = [(back[train], back[test]) for train, test in splits]
    first = simple(cv=splits).fit(X, y, treatment=a)
    second = simple(cv=moved).fit(X[order], y[order], treatment=a[order])
    assert np.allclose(second.pseudo_outcome_, first.pseudo_outcome_[order], atol=1e-10)
    assert np.allclose(second.predict(X), first.predict(X), atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*were clipped")
def test_same_seed_same_bits_whatever_n_jobs(sample):
    X, y, a = sample
    forests = {
        "outcome_model": RandomForestRegressor(5),
        "propensity_model": RandomForestClassifier(5),
        "final_model": RandomForestRegressor(5), "clip": 0.1, "n_rep": 2,
    }  # fmt: skip
    one = simple(**forests, random_state=3).fit(X, y, treatment=a)
    two = simple(**forests, random_state=3, n_jobs=2).fit(X, y, treatment=a)
    assert np.array_equal(one.predict(X), two.predict(X))
    other = simple(**forests, random_state=4).fit(X, y, treatment=a)
    assert not np.array_equal(one.predict(X), other.predict(X))


def test_groups_stay_in_one_fold_in_every_stage(sample):
    X, y, a = sample
    groups = np.arange(60) // 3
    for cf_order in (2, 3):
        model = simple(cf_order=cf_order).fit(X, y, treatment=a, groups=groups)
        per_group = [len(set(model.folds_[groups == g])) for g in range(20)]
        assert set(per_group) == {1}


def test_a_list_of_splits_must_have_as_many_parts(sample):
    X, y, a = sample
    folds = np.arange(60) % 4
    splits = [
        (np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(4)
    ]
    assert simple(cv=splits, cf_order=4).fit(X, y, treatment=a).folds_[5] == 1
    with pytest.raises(ValueError, match="takes 3 parts, cv lists 4 splits"):
        simple(cv=splits, cf_order=3).fit(X, y, treatment=a)


def test_a_part_without_an_arm_is_refused_by_its_label(sample):
    X, y, _ = sample
    a = np.where(np.arange(60) < 4, "new", "old")
    parts = [np.arange(0, 20), np.arange(20, 40), np.arange(40, 60)]
    splits = [(np.setdiff1d(np.arange(60), part), part) for part in parts]
    with pytest.raises(ValueError, match="hold no row of treatment arm 'new'"):
        simple(cf_order=3, cv=splits, control="old").fit(X, y, treatment=a)
