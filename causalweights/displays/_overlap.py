"""Overlap of two arms in a one-dimensional score, as mirrored histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

from causalweights._scaling import fit_scaling
from causalweights._typing import FloatArray
from causalweights.diagnostics._samples import (
    WeightedArms,
    collect_arms,
    fitted_weighter,
    numeric_covariates,
)
from causalweights.displays._style import (
    BEFORE,
    BLUE,
    ORANGE,
    legend_above,
    new_figure,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Propensities nearer to 0 or 1 would stretch the logits' axis without end.
_EDGE = 1e-7


class OverlapDisplay:
    """Distribution of a score in two arms, one upwards and one downwards.

    Before weighting the picture shows overlap: an arm's bars without counterparts on
    the other side are rows that weights cannot represent. After weighting it shows
    balance: the filled bars should mirror each other.

    Make one with `from_estimator` or `from_arrays`, draw it with `plot`.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Score of each row of the two arms.
    upper : array-like of shape (n,), bool
        Rows of the arm that is drawn upwards, the others are drawn downwards.
    before : array-like of shape (n,)
        Weights before weighting (sampling weights).
    after : array-like of shape (n,) or None, default=None
        Weights after weighting.
    labels : (str, str), default=("control", "treated")
        Names of the lower and of the upper arm.
    score_name : str, default="Score"
        Label of the x axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    edges_ : ndarray of shape (bins + 1,)
        Edges of the bins.
    upper_, lower_ : StepPatch
        Filled histograms: after weighting where there are weights.
    upper_before_, lower_before_ : StepPatch or None
        Outlines: before weighting.

    Examples
    --------
    >>> import numpy as np
    >>> from causalweights.displays import OverlapDisplay
    >>> scores = np.array([0.0, 1.5, 2.5, 3.5, 5.0])
    >>> display = OverlapDisplay.from_arrays(None, [0, 0, 0, 1, 1], scores=scores)
    >>> display.plot(bins=5).upper_.get_data().values
    array([0. , 0. , 0. , 0.5, 0.5])
    """

    def __init__(
        self,
        *,
        scores,
        upper,
        before,
        after=None,
        labels=("control", "treated"),
        score_name="Score",
    ):
        self.scores = scores
        self.upper = upper
        self.before = before
        self.after = after
        self.labels = labels
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        weighter: Any,
        X: ArrayLike,
        treatment: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        scores: ArrayLike | None = None,
        arm: Any = None,
        scale: Literal["logit", "probability"] = "logit",
        score_name: str | None = None,
    ) -> OverlapDisplay:
        """Make the display of a fitted weighter.

        Parameters
        ----------
        weighter : fitted weighter, or Pipeline ending in one
            Where it has a ``propensity_``, that is the score.
        X : array-like of shape (n, d)
            Covariates.
        treatment : array-like of shape (n,)
            As in ``fit``.
        sample_weight : array-like of shape (n,) or None, default=None
            As in ``fit``.
        scores, arm, scale, score_name
            As in `from_arrays`.
        """
        return cls.from_arrays(
            X,
            treatment,
            weighter,
            sample_weight=sample_weight,
            scores=scores,
            arm=arm,
            scale=scale,
            score_name=score_name,
        )

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike | None,
        treatment: ArrayLike,
        weights: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        control: Any = None,
        scores: ArrayLike | None = None,
        arm: Any = None,
        scale: Literal["logit", "probability"] = "logit",
        score_name: str | None = None,
    ) -> OverlapDisplay:
        """Make the display of covariates or scores, treatment and weights.

        Parameters
        ----------
        X : array-like of shape (n, d) or None
            Covariates; None where ``scores`` are given.
        treatment : array-like of shape (n,)
            Label of each row's arm.
        weights : array-like of shape (n,), fitted weighter or None, default=None
            Non-negative weights that multiply ``sample_weight``.
        sample_weight : array-like of shape (n,) or None, default=None
            Sampling or frequency weights; rows of weight zero are left out.
        control : label or None, default=None
            The arm drawn downwards.
        scores : array-like of shape (n,) or None, default=None
            Any score, drawn as it is. None: the weighter's ``propensity_``, else the
            fitted probability of a logistic regression of the treatment on the
            standardised covariates (scikit-learn's, with its default ridge C = 1), made
            for the picture only.
        arm : label or None, default=None
            The arm drawn upwards; None is the focal arm, else the first that is not
            the control. Rows of further arms are left out.
        scale : {"logit", "probability"}, default="logit"
            How to draw a propensity; probabilities nearer than 1e-7 to 0 or 1 are drawn
            there (logits of -16 and 16). With several arms it is the probability of
            ``arm`` among the two that are drawn.
        score_name : str or None, default=None
            Label of the x axis.
        """
        if scale not in ("logit", "probability"):
            raise ValueError(f"scale={scale!r}: choose 'logit' or 'probability'.")
        samples = collect_arms(
            treatment,
            weights,
            sample_weight=sample_weight,
            estimand="ate",
            control=control,
            focal=arm,
            X=X,
        )
        arms = samples.arms
        first = arms.focal
        if first == arms.control and arm is not None:
            raise ValueError(f"arm={arm!r} is the control arm: name another one.")
        if first in (-1, arms.control):
            first = arms.contrasts()[0]
        pair = (arms.control, first)
        if scores is not None:
            values = _user_scores(scores, samples)
        else:
            odds = _arm_probabilities(X, samples, fitted_weighter(weights), pair)
            values = np.log(odds / (1 - odds)) if scale == "logit" else odds
        kept = np.isin(arms.codes, pair)
        own = "Score" if scores is not None else _SCORE_NAMES[scale]
        return cls(
            scores=values[kept],
            upper=arms.codes[kept] == first,
            before=samples.before[kept],
            after=None if samples.after is None else samples.after[kept],
            labels=_arm_names(samples, pair),
            score_name=own if score_name is None else score_name,
        )

    def plot(
        self,
        *,
        ax: Axes | None = None,
        bins: int | Sequence[float] = 40,
        colors: tuple[str, str] = (ORANGE, BLUE),
    ) -> OverlapDisplay:
        """Draw the display.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes a figure.
        bins : int or sequence of float, default=40
            Number of equal bins over the range of the scores, or their edges.
        colors : (str, str), default=(orange, blue)
            Of the lower and of the upper arm.

        Returns
        -------
        self
        """
        scores, upper = np.asarray(self.scores, dtype=float), np.asarray(self.upper)
        if ax is None:
            _, (ax,) = new_figure(1, (5.0, 3.4))
        self.ax_, self.figure_ = ax, ax.figure
        self.edges_ = np.histogram_bin_edges(scores, bins)
        filled = self.before if self.after is None else self.after

        def heights(rows: np.ndarray, weights: ArrayLike) -> FloatArray:
            w = np.asarray(weights, dtype=float)[rows]
            return np.histogram(scores[rows], self.edges_, weights=w / w.sum())[0]

        bar = {"fill": True, "alpha": 0.75, "linewidth": 0}
        self.upper_ = ax.stairs(
            heights(upper, filled), self.edges_, color=colors[1], **bar
        )
        self.lower_ = ax.stairs(
            -heights(~upper, filled), self.edges_, color=colors[0], **bar
        )
        self.upper_before_ = self.lower_before_ = None
        if self.after is not None:
            line = {"color": BEFORE, "linewidth": 1.2}
            self.upper_before_ = ax.stairs(
                heights(upper, self.before), self.edges_, **line
            )
            self.lower_before_ = ax.stairs(
                -heights(~upper, self.before), self.edges_, **line
            )
        self._label(colors)
        return self

    def _label(self, colors: tuple[str, str]) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        ax = self.ax_
        tidy(ax)
        ax.axhline(0, color="white", lw=1.2)
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):g}"))
        ax.set_ylabel("Share of the arm's weight")
        ax.set_xlabel(self.score_name)
        self.upper_.set_label(self.labels[1])
        self.lower_.set_label(self.labels[0])
        handles = [self.upper_, self.lower_]
        if self.upper_before_ is not None:
            self.upper_before_.set_label("Before weighting")
            handles.append(self.upper_before_)
        self.legend_ = legend_above(ax, handles)


_SCORE_NAMES = {
    "logit": "Logit of the propensity score",
    "probability": "Propensity score",
}


def _arm_names(samples: WeightedArms, pair: tuple[int, int]) -> tuple[str, str]:
    """Return what the legend calls the lower and the upper arm."""
    labels = [samples.arms.label(k) for k in pair]
    if samples.arms.n_arms == 2 and all(label in (0, 1) for label in labels):
        return "Control", "Treated"
    return str(labels[0]), str(labels[1])


def _user_scores(scores: ArrayLike, samples: WeightedArms) -> FloatArray:
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != samples.rows.shape:
        raise ValueError(
            f"scores has shape {values.shape}, treatment {samples.rows.shape}: pass "
            "one score a row."
        )
    if not np.all(np.isfinite(values[samples.rows])):
        raise ValueError("scores contain NaN or infinity.")
    return values[samples.rows]


def _arm_probabilities(
    X: Any, samples: WeightedArms, weighter: Any, pair: tuple[int, int]
) -> FloatArray:
    """Return the probability of the upper arm among the two, away from 0 and 1."""
    propensity = getattr(weighter, "propensity_", None)
    if propensity is None:
        if X is None:
            raise ValueError("give X or scores: there is nothing to draw.")
        chances = _logistic_probabilities(X, samples)
    else:
        chances = np.asarray(propensity, dtype=np.float64)[samples.rows]
    if chances.ndim == 1:
        lower, upper = 1 - chances, chances
    else:
        lower, upper = chances[:, pair[0]], chances[:, pair[1]]
    return np.clip(upper / (lower + upper), _EDGE, 1 - _EDGE)


def _logistic_probabilities(X: Any, samples: WeightedArms) -> FloatArray:
    """Return the fitted probability of each arm, (n, K)."""
    matrix, _ = numeric_covariates(X)
    if len(matrix) != len(samples.rows):
        raise ValueError(
            f"treatment has {len(samples.rows)} rows, X has {len(matrix)}: pass one "
            "label a row of X."
        )
    matrix = matrix[samples.rows]
    s = samples.before * (len(samples.before) / samples.before.sum())
    Z = fit_scaling(matrix, s).transform(matrix)
    model = LogisticRegression(max_iter=1000)
    return model.fit(Z, samples.arms.codes, sample_weight=s).predict_proba(Z)
