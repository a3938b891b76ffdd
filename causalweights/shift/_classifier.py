"""Double-weighting minimax classification (Segovia-Martin, Mazuelas & Liu 2023)."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from causalweights._base import unchanged_on_error
from causalweights._typing import FloatArray
from causalweights.shift._classifier_fit import (
    LabelledSamples,
    WeightedRule,
    check_lambda_scale,
    fit_rule,
    risk_bounds,
    warn_of_rule,
)
from causalweights.shift._double_weights import _D_RANGE, _KERNEL_CONSTRAINTS
from causalweights.shift._features import DEGREES, feature_rows, fit_features
from causalweights.shift._labels import encode, source_labels
from causalweights.shift._matching import MatchingProblem
from causalweights.shift._matching_fit import matching_problem
from causalweights.shift._minimax_prediction import _MinimaxPrediction
from causalweights.shift._samples import Samples, check_samples
from causalweights.shift._selection import choose
from causalweights.shift._weighter import warn_of_weights


class DoubleWeightingClassifier(_MinimaxPrediction):
    """Classify target rows by the rule whose worst risk under shift is smallest.

    The labelled source and the unlabelled target have other covariates, and the same
    labels given covariates. Weights beta and alpha of `DoubleKernelMeanMatching` make
    the weighted samples agree; then, for features psi, the moments tau_y = mean of
    beta 1(Y = y) psi(X) over the source are, but for noise, those of alpha psi(X) over
    the target. Among all distributions of labels of the target rows whose moments are
    within lambda of tau, the classifier minimises the worst expected loss:

        min over mu   -tau'mu + lambda'|mu| + mean_j varphi(alpha_j psi(x_j)'mu),

    with varphi(s) = log sum exp(s) for the log loss, and for the 0-1 loss the largest
    of 1 + (sum of S - 1) / |S| over sets S of classes. Target rows beyond the source's
    reach get small alpha: they ask for little, and get probabilities near uniform.
    Where the source covers the target, weighted logistic regression is as good.

    Parameters
    ----------
    loss : {"log", "0-1"}, default="log"
        The log loss has softmax probabilities and more accurate labels; the 0-1 loss
        bounds the error itself, of labels drawn from sparsemax probabilities.
    D : "auto" or float >= 1 or inf, default="auto"
        How far alpha may leave one, as in `DoubleKernelMeanMatching`. ``"auto"``
        chooses from ``D_grid``.
    D_grid : array-like of float or None, default=None
        None is 1, 1.23, 1.56, 2.04, 2.78, 4, 6.25, 11.1, 25, 100: the ball around alpha
        = 1 in tenths.
    D_selection : {"minimax_risk", "iwcv"}, default="minimax_risk"
        The smallest minimax risk (the paper), or the smallest loss of held-out source
        rows, with the weights of D = 1.
    cv : int, splitter, list of (train, test) or None, default=5
        Folds of the source rows for ``"iwcv"``; an int shuffles, stratified by class.
    lambda_scale : "auto", float or array-like of shape (C, m), default="auto"
        Standard errors of tau to add to the smallest feasible lambda: an L1 penalty in
        those units, and no level of confidence. ``"auto"`` is 0.5 for the log loss and
        0.25 for the 0-1 loss, 0 the paper's. An array is lambda itself (raised to the
        feasible one where it is below).
    confidence : float, default=0.9
        Level of ``confidence_bound_``.
    prediction : {"deterministic", "randomized"}, default="deterministic"
        Labels of the largest score, or drawn from the probabilities.
    features : {"linear", "poly2", "poly3", "rff"} or transformer, default="linear"
        psi. ``"poly2"``: each column and its square; ``"rff"``: random Fourier features
        of the kernel, with its bandwidth. A transformer is fitted on source and target
        covariates together, without labels.
    n_components : int, default=50
        Number of random frequencies, each with a cosine and a sine.
    fit_intercept : bool, default=True
        Begin the features with ones (the paper's experiments do not).
    kappa : float, default=1e-3
    B : float, default=1000.0
    kernel : "gaussian" or Kernel, default="gaussian"
    bandwidth : {"50nn", "median"} or float, default="50nn"
        These four as in `DoubleKernelMeanMatching`.
    standardize : bool, default=False
        Divide centred columns by their standard deviations in both samples together,
        for the kernel and for the features.
    weight_type : {"sampling", "frequency"}, default="sampling"
    solver : {"auto", "dense", "low_rank"}, default="auto"
    rank : int, default=400
        These three as in `DoubleKernelMeanMatching`.
    tol : float, default=1e-8
        What counts as converged: relative gap of the weights, gap of the rule.
    random_state : int, RandomState instance or None, default=None
        For frequencies, folds, drawn labels and large samples; None is seed 0.
    n_jobs : int or None, default=None
        Threads of kernel evaluations.

    Attributes
    ----------
    classes_ : ndarray of shape (C,)
        Labels of source rows, sorted.
    mu_ : ndarray of shape (C, m)
        Coefficients of the features, by class; the intercept first.
    tau_, lambda_ : ndarray of shape (C, m)
        Moments and their tolerances.
    minimax_risk_ : float
        Worst expected loss of the randomised rule over the set of lambda_: in nats for
        the log loss. No bound on the risk, since that set need not hold the truth.
    lower_risk_ : float
        Smallest expected loss of the same rule over the same set.
    confidence_bound_ : float
        Bound on the risk of the randomised rule, which holds about in a share
        ``confidence`` of samples; may exceed that of guessing. The error of the labels
        of largest probability is at most twice that of drawn ones (0-1 loss).
    D_ : float
    D_path_ : ClassifierPath
        Risk, discrepancy and effective sizes for each D tried; ``to_frame()``.
    beta_, alpha_ : ndarray of shape (n,), (t,)
        Weights of the source and of the target rows.
    mmd2_, mmd2_before_ : float
        Squared discrepancy with these weights, and with weights of one.
    ess_source_, ess_target_ : float
    gap_, relative_gap_ : float
        Duality gap of the weights.
    minimax_gap_ : float
        Duality gap of the rule: the true minimax risk is at most so far below.
    kernel_, bandwidth_ : Kernel, and its bandwidth or None
    features_ : fitted transformer
        Of (standardised) covariates; without the intercept.
    n_iter_, converged_ : int, bool
        Newton steps of the rule; whether weights, tolerances and rule converged.
    n_features_in_, feature_names_in_ : as in scikit-learn

    See Also
    --------
    ShiftWeightedEstimator : Any classifier, weighted.

    Notes
    -----
    `predict` and `decision_function` use unweighted scores; `predict_proba` multiplies
    them by `target_weights`: those of the fit for rows of ``X_target``, else the
    kernel's extension, for which the paper has no rule.

    Time is that of the weights for D_grid, and a Newton step O(t (C m)^2 + (C m)^3) a
    dozen times for each D; memory O(t C m) beside the weights'. Sparse matrices are
    refused (a transformer may make some, which are made dense).

    ``confidence_bound_`` adds lambda_c'|mu| in place of lambda_'|mu| to the objective
    (weak duality), with lambda_c the smallest feasible tolerances plus normal quantiles
    of tau's standard errors, for C m moments at once.

    Deviations from the paper: ridge, standard errors in lambda, intercept, confidence
    bound and target weights of new rows.

    References
    ----------
    .. [1] Segovia-Martin, Mazuelas & Liu (2023). Double-weighting for covariate shift
       adaptation. ICML, PMLR 202, 30439-30457.
    .. [2] Sugiyama, Krauledat & Müller (2007). Covariate shift adaptation by
       importance weighted cross validation. Journal of Machine Learning Research 8.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights import DoubleWeightingClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.8, size=(150, 1))
    >>> y = X[:, 0] + 0.5 * rng.logistic(size=200) > 1
    >>> model = DoubleWeightingClassifier().fit(X, y, X_target=X_target)
    >>> model.predict([[0.0], [2.0]])
    array([False,  True])
    >>> model.lower_risk_ <= model.minimax_risk_ <= model.confidence_bound_
    True
    """

    _advice = "A larger D or kappa"

    _parameter_constraints: dict = {
        "loss": [StrOptions({"log", "0-1"})],
        "D": [StrOptions({"auto"}), *_D_RANGE],
        "D_grid": ["array-like", None],
        "D_selection": [StrOptions({"minimax_risk", "iwcv"})],
        "cv": ["cv_object"],
        "lambda_scale": [
            StrOptions({"auto"}), Interval(Real, 0, None, closed="left"), "array-like",
        ],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "prediction": [StrOptions({"deterministic", "randomized"})],
        "features": [StrOptions({*DEGREES, "rff"}), HasMethods(["fit", "transform"])],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "fit_intercept": ["boolean"],
        **_KERNEL_CONSTRAINTS,
    }  # fmt: skip

    def __init__(
        self,
        *,
        loss="log",
        D="auto",
        D_grid=None,
        D_selection="minimax_risk",
        cv=5,
        lambda_scale="auto",
        confidence=0.9,
        prediction="deterministic",
        features="linear",
        n_components=50,
        fit_intercept=True,
        kappa=1e-3,
        B=1000.0,
        kernel="gaussian",
        bandwidth="50nn",
        standardize=False,
        weight_type="sampling",
        solver="auto",
        rank=400,
        tol=1e-8,
        random_state=None,
        n_jobs=None,
    ):
        self.loss = loss
        self.D = D
        self.D_grid = D_grid
        self.D_selection = D_selection
        self.cv = cv
        self.lambda_scale = lambda_scale
        self.confidence = confidence
        self.prediction = prediction
        self.features = features
        self.n_components = n_components
        self.fit_intercept = fit_intercept
        self.kappa = kappa
        self.B = B
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.standardize = standardize
        self.weight_type = weight_type
        self.solver = solver
        self.rank = rank
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit weights and rule. Exactly one of X_target and sample_domain is needed.

        Parameters
        ----------
        X : array-like or frame of shape (n, d)
            Covariates: of the source, or with ``sample_domain`` of both samples.
        y : array-like of shape (n,)
            Labels; those of target rows are not looked at.
        X_target : array-like, frame or TargetSample of shape (t, d), default=None
            Covariates of the target; in cross-validation a `TargetSample`.
        sample_domain : array-like of shape (n,) or None, default=None
            1 for source rows, -1 for target rows of X.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights of the rows of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `DoubleKernelMeanMatching`; for labels of one class, and for features
            that are not finite.
        """
        with unchanged_on_error(self):
            samples = check_samples(self, X, X_target, sample_domain, sample_weight)
            labels = source_labels(X, y, sample_domain)[samples.source_kept]
            self.classes_, codes = encode(labels)
            source, target = self._both(samples)
            problem = matching_problem(self, samples, source, target)
            data = self._labelled(samples, source, target, codes, problem)
            scale = check_lambda_scale(self.lambda_scale, self.loss, data)
            fit = partial(fit_rule, loss=self.loss, lambda_scale=scale, tol=self.tol)
            kept = samples.source_kept
            found, self.D_path_ = choose(self, problem, data, kept, fit)
            beta, alpha = found.weights.beta, found.weights.alpha
            self._store(samples, beta, alpha, sample_domain is not None)
            self._store_rule(found, data, problem)
        own = data.target_weight
        mass = float(own @ alpha / own.sum())
        sizes = len(beta), len(alpha)
        warn_of_weights(*sizes, self.ess_source_, mass, self._advice, 4)
        warn_of_rule(found, data.n_classes, self.tol, 4)
        return self

    def _labelled(
        self,
        samples: Samples,
        source: FloatArray,
        target: FloatArray,
        codes: np.ndarray,
        problem: MatchingProblem,
    ) -> LabelledSamples:
        """Fit the features and return those of both samples with the labels."""
        own = [samples.source_weight, samples.target_weight]
        self.features_ = fit_features(
            self.features, problem.points, np.concatenate(self._relative_weights(own)),
            problem.kernel, self.n_components, self.random_state,
        )  # fmt: skip
        self._intercept = self.fit_intercept
        source, target = (
            feature_rows(self.features_, rows, self.fit_intercept)
            for rows in (source, target)
        )
        return LabelledSamples(
            source=source,
            target=target,
            codes=codes,
            n_classes=len(self.classes_),
            source_weight=samples.source_weight,
            target_weight=samples.target_weight,
            counted=self.weight_type == "frequency",
        )

    def _store_rule(
        self, found: WeightedRule, data: LabelledSamples, problem: MatchingProblem
    ) -> None:
        weights, rule = found.weights, found.rule
        self.D_ = weights.D
        self.mu_, self.tau_, self.lambda_ = rule.mu, found.tau, found.lam
        self.minimax_risk_, self.minimax_gap_ = rule.risk, rule.gap
        self.lower_risk_, self.confidence_bound_ = risk_bounds(
            found, data, self.confidence
        )
        self.mmd2_, self.mmd2_before_ = weights.mmd2, problem.mmd2_before()
        self.gap_, self.relative_gap_ = weights.gap, weights.relative_gap
        self.kernel_ = problem.kernel
        self.bandwidth_ = getattr(problem.kernel, "bandwidth", None)
        self.n_iter_, self.converged_ = rule.n_iter, found.converged
        self._rule, self._functions = rule, problem.functions(weights)
