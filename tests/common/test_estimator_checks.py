"""scikit-learn's own checks of every public estimator, counted, and its protocols.

The common checks call ``fit(X, y)``, so thin subclasses supply the treatment.
"""

import inspect
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.metadata_routing import UNUSED

import causalweights
from causalweights import (
    GEL,
    GMM,
    MMR,
    DoubleKernelMeanMatching,
    DoubleWeightingClassifier,
    DRLearner,
    EntropyBalancer,
    IndependenceBalancer,
    IPMBalancer,
    KernelIV,
    KernelMeanMatching,
    KernelMoments,
    LinearIV,
    LocalPolynomialRegressor,
    PropensityWeighter,
    PseudoOutcomeRegressor,
    RLearner,
    SeriesRegressor,
    ShiftWeightedEstimator,
    StackedClassifier,
    StackedRegressor,
    UniformTransformer,
    UniformTransformerEffect,
    WeightedEffect,
    WeightedKernelRidge,
)
from causalweights.moments import NonlinearLeastSquares
from causalweights.shift import (
    LogisticRatio,
    RuLSIF,
    TargetSample,
    WeightedConformalRegressor,
)

# ---- subclasses that supply the treatment ------------------------------------------


def n_rows(X):
    return X.shape[0] if hasattr(X, "shape") else np.asarray(X).shape[0]


def labels_of(X):
    """Return 0/1 labels, a function of a row's values alone.

    So a copy of a row gets its label, as comparing weights with copies needs, and arms
    mix like coin tosses. X that is no table of numbers (the checks send some, to be
    refused) gets alternating labels: the refusal must come from the package.
    """
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is None or values.ndim != 2 or not np.all(np.isfinite(values)):
        return np.arange(n_rows(X)) % 2
    mixed = (values * np.sqrt(np.arange(2, 2 + values.shape[1]))).sum(axis=1)
    return (np.sin(1e3 * mixed) > 0).astype(int)


class SuppliesTreatment:
    """Fit on labels made from X; predict the weights that rows would have as controls.

    Without a prediction most checks would compare nothing. A missing y stays missing,
    since in a weighter it stands for the treatment.
    """

    def fit(self, X, y, sample_weight=None):
        labels = None if y is None else labels_of(X)
        return super().fit(X, labels, sample_weight=sample_weight)

    def predict(self, X):
        return self.predict_weights(X, np.zeros(n_rows(X), dtype=int))

    def score(self, X, y, sample_weight=None):
        return super().score(X, labels_of(X), sample_weight=sample_weight)


class CheckedIPM(SuppliesTreatment, IPMBalancer):
    pass


class CheckedPropensity(SuppliesTreatment, PropensityWeighter):
    pass


class CheckedEntropy(SuppliesTreatment, EntropyBalancer):
    """Treat the first row, or else the most central rows, that the others surround.

    The checks fit 5 rows of 3 columns and the like, where arms of equal size have no
    solution. Any other error is raised at once.
    """

    def candidates(self, X):
        yield from np.eye(n_rows(X), dtype=int)
        values = np.asarray(X, dtype=np.float64)
        order = np.argsort(np.sum((values - values.mean(axis=0)) ** 2, axis=1))
        for k in range(2, n_rows(X) // 3):
            yield np.isin(np.arange(n_rows(X)), order[:k]).astype(int)

    def fit(self, X, y, sample_weight=None):
        for labels in self.candidates(X):
            try:
                return EntropyBalancer.fit(
                    self, X, None if y is None else labels, sample_weight=sample_weight
                )
            except ValueError as error:
                if "has no solution" not in str(error):
                    raise
                last = error
        if n_rows(X):
            raise last
        return EntropyBalancer.fit(self, X, y)


class CheckedIndependence(IndependenceBalancer):
    """Fit on doses made from X, as `labels_of` does; y stays missing where it is."""

    def fit(self, X, y, sample_weight=None):
        doses = None if y is None else doses_of(X)
        return super().fit(X, doses, sample_weight=sample_weight)


def doses_of(X):
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is None or values.ndim != 2 or not np.all(np.isfinite(values)):
        return np.arange(float(n_rows(X)))
    return np.sin(
        10 * (values * np.sqrt(np.arange(2, 2 + values.shape[1]))).sum(axis=1)
    )


class CheckedEffect(WeightedEffect):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, treatment=labels_of(X), sample_weight=sample_weight)


class CheckedUniform(UniformTransformerEffect):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, treatment=labels_of(X), sample_weight=sample_weight)


class SuppliesArms:
    """Fit and score on labels made from X."""

    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y, treatment=labels_of(X), sample_weight=sample_weight)

    def score(self, X, y, sample_weight=None):
        return super().score(X, y, treatment=labels_of(X), sample_weight=sample_weight)


class CheckedPseudo(SuppliesArms, PseudoOutcomeRegressor):
    pass


class CheckedR(SuppliesArms, RLearner):
    pass


class CheckedDR(SuppliesArms, DRLearner):
    pass


class SuppliesDomain:
    """Fit and score on domains made from X; predict the weights of source rows."""

    def fit(self, X, y=None, sample_weight=None):
        domain = 1 - 2 * labels_of(X)
        return super().fit(X, y, sample_domain=domain, sample_weight=sample_weight)

    def predict(self, X):
        return self.predict_weights(X)

    def score(self, X, y=None, sample_weight=None):
        domain = 1 - 2 * labels_of(X)
        return super().score(X, y, sample_domain=domain, sample_weight=sample_weight)


class CheckedDouble(SuppliesDomain, DoubleKernelMeanMatching):
    pass


class CheckedMatching(SuppliesDomain, KernelMeanMatching):
    pass


class CheckedLogisticRatio(SuppliesDomain, LogisticRatio):
    pass


class CheckedRuLSIF(SuppliesDomain, RuLSIF):
    pass


class CheckedShift(ShiftWeightedEstimator):
    """Fit for the rows given, so that the source is weighted by samples' weights."""

    def fit(self, X, y, sample_weight=None):
        target = TargetSample(X, sample_weight)
        return super().fit(X, y, X_target=target, sample_weight=sample_weight)


class CheckedDoubleWeighting(DoubleWeightingClassifier):
    """Fit for the rows given, as `CheckedShift` does."""

    def fit(self, X, y, sample_weight=None):
        target = TargetSample(X, sample_weight)
        return super().fit(X, y, X_target=target, sample_weight=sample_weight)


class CheckedConformal(WeightedConformalRegressor):
    """Fit for the rows given, as `CheckedShift` does."""

    def fit(self, X, y, sample_weight=None):
        target = TargetSample(X, sample_weight)
        return super().fit(X, y, X_target=target, sample_weight=sample_weight)


class InstrumentsOfX:
    """Fits with the first column endogenous: functions of it are its instruments."""

    def fit(self, X, y, sample_weight=None):
        Z = instruments_of(X)
        return super().fit(X, y, instruments=Z, sample_weight=sample_weight)

    def score(self, X, y, sample_weight=None):
        Z = instruments_of(X)
        return super().score(X, y, instruments=Z, sample_weight=sample_weight)


class CheckedLinearIV(InstrumentsOfX, LinearIV):
    pass


class CheckedKernelIV(InstrumentsOfX, KernelIV):
    pass


def instruments_of(X):
    try:
        values = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        return X
    if values.ndim != 2 or not np.all(np.isfinite(values)) or not values.size:
        return X
    return np.column_stack([np.cbrt(values[:, 0]), np.sin(values[:, 0]), values[:, 1:]])


class CheckedGEL(GEL):
    """Fit with functions of the first column as instruments: those of all are many."""

    def fit(self, X, y, sample_weight=None):
        Z = instruments_of(X)
        Z = Z if Z is X else Z[:, :2]
        return super().fit(X, y, instruments=Z, sample_weight=sample_weight)

    def score(self, X, y, sample_weight=None):
        Z = instruments_of(X)[:, :2]
        return super().score(X, y, instruments=Z, sample_weight=sample_weight)


def root_curve(X, theta):
    """Return a function of the first column, which 15 rows of 30 columns identify."""
    return theta[0] + theta[1] * np.cbrt(X[:, 0])


CURVE = NonlinearLeastSquares(root_curve, [0.0, 1.0])


class CheckedLocal(LocalPolynomialRegressor):
    """Take the many columns of the checks, which are refused otherwise."""

    _max_columns = 1000


# ---- the common checks --------------------------------------------------------------

# Number of checks scikit-learn runs on an estimator without a type, a regressor, a
# transformer and a classifier, by minor version; an unknown version must run as many as
# the oldest. One asks that NaN be refused, where it is, one that y be given, which
# weighters of domains ignore, and one is about several outcomes, where they may be.
N_CHECKS = {"1.6": (48, 58, 53, 61), "1.9": (49, 59, 54, 62)}
MINOR = ".".join(sklearn.__version__.split(".")[:2])

# Skipped by scikit-learn itself unless the environment asks for array-API dispatch.
SKIPPED_BY_SKLEARN = {"check_array_api_input"}

WEIGHTER = {"check_requires_y_none": "the error speaks of treatment, there is no y"}
REPLICATION = "check_sample_weight_equivalence_on_dense_data"
PENALIZED = {REPLICATION: "penalties are relative to weights of mean one"}
SAMPLING = {REPLICATION: "sampling weights are no counts; frequency weights pass"}
COLLINEAR = {REPLICATION: "its 15 rows of 30 columns are collinear"}
INFEASIBLE = {REPLICATION: "its 15 rows of 30 columns have no balancing weights"}

RIDGE = {"bandwidth": 1.0, "ridge": 0.1, "weight_type": "frequency"}
KERNEL = {"discriminator": "gaussian", "bandwidth": 1.0, "ridge": 0.01}
COUNTS = {"weight_type": "frequency"}
FIXED_SCALE = {"bandwidth": 1.0, **COUNTS}
FEW = {"n_components": 20, "n_instruments": 20, "cv": 2}
LINEAR = {
    "outcome_model": LinearRegression(), "propensity_model": LogisticRegression(),
    "final_model": LinearRegression(),
}  # fmt: skip
CASES = {
    "cate": (CheckedPseudo(**LINEAR, cv=None, **COUNTS), {}),
    "r-learner": (CheckedR(**LINEAR, cv=None, **COUNTS), {}),
    "dr-learner": (CheckedDR(**LINEAR, cv=2), {}),
    "ipm": (CheckedIPM(), {**WEIGHTER, **SAMPLING}),
    "ipm-joint": (CheckedIPM(**COUNTS), WEIGHTER),
    "ipm-att": (CheckedIPM(estimand="att", **KERNEL, **COUNTS), WEIGHTER),
    "entropy": (CheckedEntropy(estimand="att"), {**WEIGHTER, **INFEASIBLE}),
    "propensity": (CheckedPropensity(), WEIGHTER),
    "independence": (CheckedIndependence(**COUNTS), WEIGHTER),
    "propensity-penalised": (
        CheckedPropensity(
            estimand="ato", propensity_model=LogisticRegression(), cv=3, **COUNTS
        ),
        WEIGHTER,
    ),
    "effect": (CheckedEffect(), SAMPLING),
    "effect-frequency": (
        CheckedEffect(
            IPMBalancer(**COUNTS),
            outcome_model=WeightedKernelRidge(**RIDGE),
            cv=2,
            **COUNTS,
        ),
        {},
    ),
    "gmm": (GMM(), COLLINEAR),
    "gmm-frequency": (GMM(steps="cue", fit_intercept=True, **COUNTS), COLLINEAR),
    "gel": (GEL(), COLLINEAR),
    "gel-frequency": (CheckedGEL(CURVE, divergence="log", **COUNTS), {}),
    "kernel-moments": (KernelMoments(**FEW), COLLINEAR),
    "kernel-moments-frequency": (
        KernelMoments(CURVE, lam=1e-2, n_components=None, **FIXED_SCALE),
        {},
    ),
    "mmr": (MMR(), COLLINEAR),
    "mmr-frequency": (MMR(CURVE, n_instruments=None, **FIXED_SCALE), {}),
    "linear-iv": (CheckedLinearIV(), COLLINEAR),
    "linear-iv-frequency": (
        CheckedLinearIV("liml", fit_intercept=True, **COUNTS),
        COLLINEAR,
    ),
    "kernel-iv": (CheckedKernelIV(), SAMPLING),
    "kernel-iv-frequency": (KernelIV(**FIXED_SCALE), {}),
    "kernel-ridge": (WeightedKernelRidge(bandwidth=1.0, **COUNTS), {}),
    "stack": (StackedRegressor(), {}),
    "stack-given": (
        StackedRegressor([("mean", DummyRegressor()), ("line", LinearRegression())]),
        {},
    ),
    "stack-classes": (StackedClassifier(), PENALIZED),
    "stack-classes-given": (
        StackedClassifier(
            [("shares", DummyClassifier(strategy="prior")), ("bayes", GaussianNB())]
        ),
        {},
    ),
    "double-weights": (CheckedDouble(**FIXED_SCALE), {}),
    "double-weights-robust": (CheckedDouble(D=np.inf, standardize=True), {}),
    "kernel-mean-matching": (CheckedMatching(kappa=0.01, **FIXED_SCALE), {}),
    "logistic-ratio": (CheckedLogisticRatio(**COUNTS), {}),
    "rulsif": (
        CheckedRuLSIF(bandwidth="median"),
        {REPLICATION: "kernels sit on rows, folds are of rows"},
    ),
    "shift-regression": (
        CheckedShift(LinearRegression(), KernelMeanMatching(**FIXED_SCALE)),
        {},
    ),
    "shift-classes": (
        CheckedShift(GaussianNB(), KernelMeanMatching(**FIXED_SCALE)),
        {},
    ),
    "double-weighting": (CheckedDoubleWeighting(**FIXED_SCALE), {}),
    "double-weighting-zero-one": (
        CheckedDoubleWeighting(loss="0-1", D=2.0, features="poly2", **FIXED_SCALE),
        {"check_decision_proba_consistency": "only probabilities have target weights"},
    ),
    "conformal": (
        CheckedConformal(LinearRegression(), KernelMeanMatching(**FIXED_SCALE)),
        {REPLICATION: "rows are drawn for calibration, copies apart"},
    ),
    "conformal-scale": (
        CheckedConformal(LinearRegression(), None, scale_estimator=DummyRegressor()),
        {REPLICATION: "rows are drawn for calibration, copies apart"},
    ),
    "series": (SeriesRegressor(), {}),
    "series-polynomial": (SeriesRegressor("polynomial", degree=2), {}),
    "local-polynomial": (CheckedLocal(), {}),
    "local-polynomial-bandwidth": (CheckedLocal(bandwidth=2.0), {}),
    "ustatistic": (CheckedUniform(n_neighbors=1), {}),
    "ustatistic-frequency": (
        CheckedUniform("att", bandwidth=0.2, n_neighbors=1, **COUNTS),
        {},
    ),
    "transformer": (UniformTransformer(), {}),
    "transformer-marginal": (UniformTransformer("marginal", **COUNTS), {}),
}


@pytest.fixture(scope="module", params=CASES)
def checked(request):
    """Return the estimator, its exemptions and the names of the checks by status."""
    estimator, exempt = CASES[request.param]
    names = {"passed": [], "failed": [], "skipped": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for result in check_estimator(estimator, on_fail=None):
            names[result["status"]].append(result["check_name"])
    return estimator, exempt, names


def test_all_checks_pass_but_the_exempted_which_really_fail(checked):
    _, exempt, names = checked
    assert set(names["failed"]) == set(exempt)
    assert set(names["skipped"]) <= SKIPPED_BY_SKLEARN


def test_number_of_checks(checked):
    # Silence is not success: a check that is no longer collected is noticed.
    estimator, _, names = checked
    kind = is_regressor(estimator) + 2 * isinstance(estimator, UniformTransformer)
    kind += 3 * is_classifier(estimator)
    tags = get_tags(estimator)
    n_run = sum(map(len, names.values())) + tags.input_tags.allow_nan
    n_run += isinstance(estimator, SuppliesDomain) - tags.target_tags.multi_output
    if MINOR in N_CHECKS:
        assert n_run == N_CHECKS[MINOR][kind]
    assert n_run >= N_CHECKS["1.6"][kind]


PUBLIC = [
    value
    for name in causalweights.__all__
    if inspect.isclass(value := getattr(causalweights, name))
    and issubclass(value, BaseEstimator)
]


def test_every_public_estimator_is_checked():
    assert len(PUBLIC) >= 5
    for public in PUBLIC:
        assert any(isinstance(estimator, public) for estimator, _ in CASES.values())


@pytest.mark.parametrize(
    "cls", [IPMBalancer, EntropyBalancer, PropensityWeighter, IndependenceBalancer]
)
def test_missing_treatment_is_named(cls, sample):
    # What the exempted check asks for, in the weighters' words.
    with pytest.raises(ValueError, match="treatment is missing: pass one label a row"):
        cls().fit(sample["X"], None)


# ---- what the checks cannot see -----------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(60, 2))
    a = (rng.random(60) < 1 / (1 + np.exp(-0.7 * X[:, 0]))).astype(int)
    return {
        "X": X,
        "a": a,
        "y": X @ [1.0, 0.5] + a + 0.3 * rng.normal(size=60),
        "s": rng.integers(0, 4, size=60),
        "groups": np.arange(60) // 2,
    }


WEIGHTERS = {
    "ipm": IPMBalancer(**COUNTS),
    "ipm-att": IPMBalancer(estimand="att", **KERNEL, **COUNTS),
    "ipm-separate": IPMBalancer(between_arms=False, **KERNEL, **COUNTS),
    "entropy": EntropyBalancer(**COUNTS),
    "entropy-att": EntropyBalancer(estimand="att", moments=2, **COUNTS),
    "propensity": PropensityWeighter(**COUNTS),
    "propensity-ato": PropensityWeighter(
        estimand="ato", propensity_model=LogisticRegression(), **COUNTS
    ),
}
EFFECT = WeightedEffect(outcome_model=WeightedKernelRidge(bandwidth=1.0, ridge=0.01))
EFFECTS = WeightedEffect | UniformTransformerEffect | PseudoOutcomeRegressor
LEARNERS = WeightedKernelRidge | StackedRegressor
SHIFT = DoubleKernelMeanMatching | KernelMeanMatching | ShiftWeightedEstimator
FITTED = {
    **WEIGHTERS,
    "effect": EFFECT,
    "ustatistic": UniformTransformerEffect(),
    "gel": GEL(fit_intercept=True),
    "gmm": GMM(fit_intercept=True),
    "kernel-moments": KernelMoments(fit_intercept=True, **FEW),
    "mmr": MMR(fit_intercept=True),
    "kernel-iv": KernelIV(),
    "linear-iv": LinearIV(fit_intercept=True),
    "ridge": WeightedKernelRidge(),
    "stack": StackedRegressor(),
    "stack-classes": StackedClassifier(),
}


def each(estimators):
    """Parametrise by estimator; every test clones what it fits."""
    return pytest.mark.parametrize("estimator", estimators.values(), ids=estimators)


def fitted(estimator, data, X=None, **metadata):
    """Fit a clone on the covariates (X in their place, where given)."""
    X = data["X"] if X is None else X
    new = clone(estimator)
    if isinstance(new, EFFECTS):
        return new.fit(X, data["y"], treatment=data["a"], **metadata)
    if isinstance(new, LEARNERS):
        return new.fit(X, data["y"], **metadata)
    if isinstance(new, SHIFT):
        return new.fit(X, data["y"], X_target=TargetSample(X), **metadata)
    if isinstance(new, DoubleWeightingClassifier):
        return new.fit(X, data["a"], X_target=TargetSample(X), **metadata)
    return new.fit(X, data["a"], **metadata)


def new_of(cls):
    """Return an estimator at its defaults, with others inside where it needs them."""
    if cls is ShiftWeightedEstimator:
        return cls(LinearRegression(), KernelMeanMatching())
    return cls()


def outcome_of(estimator, data, X=None):
    """Return what the estimator is fitted for: weights, an effect, predictions."""
    X = data["X"] if X is None else X
    if hasattr(estimator, "predict_weights"):
        new = estimator.predict_weights(X, data["a"])
        return np.concatenate([estimator.weights_, new])
    values = estimator.predict(X)
    if isinstance(estimator, EFFECTS):
        return np.concatenate([values, [estimator.se_], estimator.influence_])
    return values


@each(WEIGHTERS)
def test_frequency_weights_of_weighters_are_copies(estimator, sample):
    s = sample["s"]
    copies = {name: np.repeat(value, s, axis=0) for name, value in sample.items()}
    weighted = fitted(estimator, sample, sample_weight=s)
    repeated = fitted(estimator, copies)
    assert np.all(weighted.weights_[s == 0] == 0)
    # Weights solve to the root of the solver's gap; copies share the optimum's weight.
    first = np.cumsum(s)[s > 0] - 1
    assert_allclose(repeated.weights_[first], weighted.weights_[s > 0], atol=1e-6)
    assert_allclose(
        repeated.predict_weights(sample["X"], sample["a"]),
        weighted.predict_weights(sample["X"], sample["a"]),
        atol=1e-6,
    )
    for label, size in weighted.ess_.items():
        assert_allclose(repeated.ess_[label], size, rtol=1e-6)


@pytest.mark.parametrize("outcome_model", [WeightedKernelRidge(**RIDGE), None])
@pytest.mark.parametrize("weighter", ["ipm", PropensityWeighter(**COUNTS)])
def test_frequency_weights_of_effects_are_copies(weighter, outcome_model, sample):
    s = sample["s"]
    copies = {name: np.repeat(value, s, axis=0) for name, value in sample.items()}
    # With explicit splits that keep copies together; in sample where there are none.
    parts = np.arange(60) % 3
    effect = WeightedEffect(weighter, outcome_model=outcome_model, **COUNTS)
    if outcome_model is None:
        # The residuals' own model chooses its ridge by rows: the estimate is checked.
        compared = ["effect_", "means_"]
    else:
        compared = ["effect_", "means_", "se_", "cov_"]

    def splits(of):
        return [(np.flatnonzero(of != k), np.flatnonzero(of == k)) for k in range(3)]

    weighted = fitted(effect.set_params(cv=splits(parts)), sample, sample_weight=s)
    repeated = fitted(effect.set_params(cv=splits(parts.repeat(s))), copies)
    for name in compared:
        assert_allclose(getattr(repeated, name), getattr(weighted, name), rtol=1e-6)


@pytest.mark.parametrize("routing", [False, True])
def test_pipeline_ends_in_a_weighter(routing, sample):
    X, a = sample["X"], sample["a"]
    direct = IPMBalancer().fit(StandardScaler().fit_transform(X), a)
    with sklearn.config_context(enable_metadata_routing=routing):
        pipe = make_pipeline(StandardScaler(), IPMBalancer()).fit(X, a)
        assert_array_equal(pipe[-1].weights_, direct.weights_)
        assert pipe.score(X, a) == pytest.approx(
            direct.score(StandardScaler().fit_transform(X), a)
        )


@pytest.mark.parametrize("routing", [False, True])
def test_grid_search_over_a_weighter(routing):
    # A frame, since scoring must hand the names on: scikit-learn warns where it loses
    # them.
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["u", "v"])
    a = (X["u"] + rng.logistic(size=300) > 0).to_numpy().astype(int)
    search = GridSearchCV(IPMBalancer(), {"ridge": [1e-3, 10.0, 1e6]}, cv=3)
    with sklearn.config_context(enable_metadata_routing=routing):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", "the weights of arm")
            search.fit(X, a)
    scores = search.cv_results_["mean_test_score"]
    assert np.all(np.isfinite(scores)) and np.all(scores <= 0)
    # Too light a penalty makes a rough function of the covariates, too heavy a one
    # makes uniform weights: new rows are balanced best in between.
    assert search.best_params_["ridge"] == 10.0
    assert_allclose(search.best_estimator_.weights_.mean(), 1.0)


@pytest.mark.parametrize("routing", [False, True])
def test_metadata_reaches_an_effect_through_a_pipeline(routing, sample):
    X, y, a, groups = (sample[name] for name in ("X", "y", "a", "groups"))
    s = np.linspace(0.5, 2.0, 60)
    metadata = {"treatment": a, "sample_weight": s, "groups": groups}
    direct = clone(EFFECT).fit(StandardScaler().fit_transform(X), y, **metadata)
    with sklearn.config_context(enable_metadata_routing=routing):
        scaler = StandardScaler()
        if routing:
            scaler.set_fit_request(sample_weight=False)
        else:
            metadata = {f"weightedeffect__{k}": v for k, v in metadata.items()}
        pipe = make_pipeline(scaler, clone(EFFECT)).fit(X, y, **metadata)
    assert pipe[-1].effect_ == direct.effect_
    assert pipe[-1].se_ == direct.se_


@pytest.mark.parametrize(
    ("estimator", "requests"),
    [
        (
            WeightedEffect(),
            {"treatment": True, "sample_weight": True, "groups": True},
        ),
        (
            UniformTransformerEffect(),
            {"treatment": True, "sample_weight": True, "groups": True},
        ),
        (
            IPMBalancer(),
            {"sample_weight": True, "base_weights": True, "groups": None},
        ),
        (EntropyBalancer(), {"sample_weight": True, "base_weights": True}),
        (PropensityWeighter(), {"sample_weight": True, "propensity": True}),
        (WeightedKernelRidge(), {"sample_weight": True}),
        (StackedRegressor(), {"sample_weight": True, "groups": True}),
        (StackedClassifier(), {"sample_weight": True, "groups": True}),
    ],
)
def test_requests_are_made_by_the_class(estimator, requests):
    with sklearn.config_context(enable_metadata_routing=True):
        assert estimator.get_metadata_routing().fit.requests == requests
    if not isinstance(estimator, EFFECTS | LEARNERS | StackedClassifier):
        # Treatment travels as y; asking for it as metadata too would be an error.
        asked = {}
        for cls in type(estimator).__mro__:
            mangled = f"_{cls.__name__.lstrip('_')}__metadata_request__fit"
            asked = vars(cls).get(mangled, {})
            if "treatment" in asked:
                break
        assert asked["treatment"] == UNUSED


@each(FITTED)
def test_parameters_survive_clone_get_and_set(estimator):
    params = estimator.get_params(deep=False)
    copy = clone(estimator)
    assert repr(copy.get_params()) == repr(estimator.get_params())
    assert repr(type(estimator)(**params).get_params()) == repr(copy.get_params())
    for name, value in params.items():
        assert getattr(copy.set_params(**{name: value}), name) is value
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        copy.set_params(nothing=1)


@each(FITTED)
def test_pickled_estimators_predict_the_same(estimator, sample):
    before = fitted(estimator, sample)
    after = pickle.loads(pickle.dumps(before))
    assert_array_equal(outcome_of(after, sample), outcome_of(before, sample))
    assert repr(pickle.loads(pickle.dumps(estimator))) == repr(estimator)


@each(FITTED)
def test_html_shows_whether_it_is_fitted(estimator, sample):
    name = type(estimator).__name__
    for shown, state in [(estimator, "Not fitted"), (fitted(estimator, sample), None)]:
        html = shown._repr_html_()
        assert name in html and "Fitted" in html if state is None else state in html


@each(FITTED)
def test_frames_give_names_and_the_same_numbers(estimator, sample):
    frame = pd.DataFrame(sample["X"], columns=["age", "income"])
    new = fitted(estimator, sample, frame)
    assert list(new.feature_names_in_) == ["age", "income"]
    assert new.n_features_in_ == 2
    plain = fitted(estimator, sample)
    assert not hasattr(plain, "feature_names_in_")
    # Equal up to memory layout, which orders sums in the linear algebra.
    assert_allclose(
        outcome_of(new, sample, frame), outcome_of(plain, sample), rtol=1e-8, atol=1e-9
    )
    if hasattr(new, "predict"):
        with pytest.raises(ValueError, match="feature names should match"):
            new.predict(frame[["income", "age"]])
    else:
        with pytest.raises(ValueError, match="feature names should match"):
            new.predict_weights(frame[["income", "age"]], sample["a"])


@each(FITTED)
def test_global_random_state_is_neither_read_nor_moved(estimator, sample):
    results = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        state = np.random.get_state()  # noqa: NPY002
        results.append(outcome_of(fitted(estimator, sample), sample))
        assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
        assert np.random.get_state()[2] == state[2]  # noqa: NPY002
    assert_array_equal(results[0], results[1])


@pytest.mark.parametrize(
    "estimator",
    [
        IPMBalancer(),
        IPMBalancer(estimand="att", **KERNEL),
        PropensityWeighter(propensity_model=LogisticRegression(), cv=3, random_state=0),
        EFFECT,
    ],
)
def test_number_of_jobs_changes_nothing(estimator, sample):
    one, two = (
        outcome_of(fitted(clone(estimator).set_params(n_jobs=n), sample), sample)
        for n in (1, 2)
    )
    assert_array_equal(one, two)


# ---- docstrings ----------------------------------------------------------------------


def sections_of(cls):
    """Return the text of each numpydoc section of a class's docstring, by title."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-+\n", inspect.getdoc(cls), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names_in(section):
    """Return the names a section of parameters or attributes describes."""
    heads = re.findall(r"^(\S.*)$", section, flags=re.M)
    return [name.strip() for head in heads for name in head.split(" : ")[0].split(",")]


@pytest.mark.parametrize("cls", PUBLIC)
def test_docstring_has_every_section_and_parameter(cls):
    sections = sections_of(cls)
    for title in ("Parameters", "Attributes", "References", "Examples"):
        assert sections.get(title, "").strip(), title
    assert ">>>" in sections["Examples"]
    # In the order of the constructor, so that page and signature read alike.
    assert (
        names_in(sections["Parameters"])
        == list(inspect.signature(cls.__init__).parameters)[1:]
    )
    for text in re.findall(r"^\S.* : .*$", sections["Parameters"], flags=re.M):
        assert len(text.split(" : ")[1]) > 2, text


@pytest.mark.parametrize("cls", PUBLIC)
def test_documented_attributes_are_those_of_a_fit(cls, sample):
    frame = pd.DataFrame(sample["X"], columns=["age", "income"])
    found = {
        name
        for name in vars(fitted(new_of(cls), sample, frame))
        if name.endswith("_") and not name.startswith("_")
    }
    assert set(names_in(sections_of(cls)["Attributes"])) == found
