"""Two named estimators: presets of `PseudoOutcomeRegressor`."""

from __future__ import annotations

from causalweights.cate._regressor import PseudoOutcomeRegressor


class RLearner(PseudoOutcomeRegressor):
    """Estimate a varying effect by the R-learner of Nie and Wager.

    `PseudoOutcomeRegressor` with ``pseudo_outcome="u"`` and ``weights="r"``: least
    squares of Y - eta on (A - pi) tau(X). Rows below 1 % of the mean weight are dropped
    from the second stage, without which trees explode under poor overlap.

    Parameters
    ----------
    outcome_model, propensity_model, final_model : see `PseudoOutcomeRegressor`
        There for every name without words here.
    treatment_type, modifiers, cv, cf_order, n_rep, aggregate, clip : see there
    min_relative_weight : float, default=0.01
    target, control, weight_type, random_state, n_jobs : see there

    Attributes
    ----------
    cate_models_, pseudo_outcome_, weights_, units_, folds_, nuisances_ : see there
    n_clipped_, n_dropped_, treatments_, control_ : see there
    n_features_in_, feature_names_in_ : as in scikit-learn

    References
    ----------
    .. [1] Nie & Wager (2021). Quasi-oracle estimation of heterogeneous treatment
       effects. Biometrika 108(2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> from causalweights import RLearner
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1))
    >>> a = (X[:, 0] + rng.logistic(size=500) > 0).astype(int)
    >>> y = a * (1 + X[:, 0]) + rng.normal(size=500)
    >>> model = RLearner(
    ...     outcome_model=LinearRegression(), propensity_model=LogisticRegression(),
    ...     final_model=LinearRegression(),
    ... ).fit(X, y, treatment=a)
    >>> [round(float(v)) for v in model.predict([[0.0], [1.0]])]
    [1, 2]
    """

    pseudo_outcome, weights, outcome_strategy = "u", "r", "single"

    def __init__(
        self,
        *,
        outcome_model="auto",
        propensity_model="auto",
        final_model="auto",
        treatment_type="discrete",
        modifiers=None,
        cv=5,
        cf_order=2,
        n_rep=1,
        aggregate="median",
        clip=0.01,
        min_relative_weight=0.01,
        target="population",
        control=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.final_model = final_model
        self.treatment_type = treatment_type
        self.modifiers = modifiers
        self.cv = cv
        self.cf_order = cf_order
        self.n_rep = n_rep
        self.aggregate = aggregate
        self.clip = clip
        self.min_relative_weight = min_relative_weight
        self.target = target
        self.control = control
        self.weight_type = weight_type
        self.random_state = random_state
        self.n_jobs = n_jobs


class DRLearner(PseudoOutcomeRegressor):
    """Estimate a varying effect by the DR-learner of Kennedy.

    `PseudoOutcomeRegressor` with ``pseudo_outcome="dr"`` and, unless said otherwise,
    without weights: the effect model is the best approximation in the whole population,
    at the price of inverse propensities in variance and bias.

    Parameters
    ----------
    weights : {"uniform", "ivw", "het"} or callable, default="uniform"
    outcome_model, propensity_model, final_model : see `PseudoOutcomeRegressor`
    outcome_strategy, modifiers, cv, cf_order, n_rep, aggregate, clip : see there
    min_relative_weight, target, control, weight_type : see there
    random_state, n_jobs : see there

    Attributes
    ----------
    cate_models_, pseudo_outcome_, weights_, units_, folds_, nuisances_ : see there
    n_clipped_, n_dropped_, treatments_, control_ : see there
    n_features_in_, feature_names_in_ : as in scikit-learn

    References
    ----------
    .. [1] Kennedy (2023). Towards optimal doubly robust estimation of heterogeneous
       causal effects. Electronic Journal of Statistics 17(2).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> from causalweights import DRLearner
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 1))
    >>> a = (X[:, 0] + rng.logistic(size=500) > 0).astype(int)
    >>> y = a * (1 + X[:, 0]) + rng.normal(size=500)
    >>> model = DRLearner(
    ...     outcome_model=LinearRegression(), propensity_model=LogisticRegression(),
    ...     final_model=LinearRegression(), outcome_strategy="separate",
    ... ).fit(X, y, treatment=a)
    >>> [round(float(v)) for v in model.predict([[0.0], [1.0]])]
    [1, 2]
    """

    pseudo_outcome, treatment_type = "dr", "discrete"

    def __init__(
        self,
        *,
        weights="uniform",
        outcome_model="auto",
        propensity_model="auto",
        final_model="auto",
        outcome_strategy="single",
        modifiers=None,
        cv=5,
        cf_order=2,
        n_rep=1,
        aggregate="median",
        clip=0.01,
        min_relative_weight=0.0,
        target="population",
        control=None,
        weight_type="sampling",
        random_state=None,
        n_jobs=None,
    ):
        self.weights = weights
        self.outcome_model = outcome_model
        self.propensity_model = propensity_model
        self.final_model = final_model
        self.outcome_strategy = outcome_strategy
        self.modifiers = modifiers
        self.cv = cv
        self.cf_order = cf_order
        self.n_rep = n_rep
        self.aggregate = aggregate
        self.clip = clip
        self.min_relative_weight = min_relative_weight
        self.target = target
        self.control = control
        self.weight_type = weight_type
        self.random_state = random_state
        self.n_jobs = n_jobs
