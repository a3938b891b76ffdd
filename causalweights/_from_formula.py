"""``from_formula`` of the estimators that take a treatment."""

from __future__ import annotations

from typing import Any, Self

from sklearn.utils.validation import has_fit_parameter

from causalweights._formula import (
    Roles,
    column,
    covariates,
    outcome,
    pandas_frame,
    spec_of,
    values_of,
)


class _FormulaFit:
    """Fits an estimator to what a formula makes of a frame."""

    @classmethod
    def _of_formula(
        cls, roles: Roles, data: Any, rows: dict[str, Any], params: dict[str, Any]
    ) -> Self:
        """Return a fitted estimator.

        ``rows`` holds what fit takes by keyword, one value a row, None where not given;
        of the parameters, those that only fit knows are such values, too.
        """
        own = cls._get_param_names()  # type: ignore[attr-defined]
        rows |= {k: v for k, v in params.items()
                 if k not in own and has_fit_parameter(cls, k)}  # fmt: skip
        params = {k: v for k, v in params.items() if k not in rows}
        frame, given = pandas_frame(data), {}
        for name, value in rows.items():
            if value is not None and not has_fit_parameter(cls, name):
                raise ValueError(f"{cls.__name__} has no use for {name}: leave it out.")
            if value is not None:
                given[name] = values_of(frame, value, name)
        X = covariates(roles.covariates, frame)
        used = {str(name) for name in spec_of(X).required_variables}
        for role in (roles.treatment, roles.outcome):
            if role in used:
                raise ValueError(
                    f"the formula has {role!r} among its covariates, too: leave it out "
                    "there."
                )
        treatment = column(frame, roles.treatment, "treatment")
        estimator: Any = cls(**params)
        if roles.outcome is None:
            return estimator.fit(X, treatment, **given)
        y = outcome(roles.outcome, frame)
        return estimator.fit(X, y, treatment=treatment, **given)


class WeighterFormulaMixin(_FormulaFit):
    """Adds `from_formula` to estimators with ``fit(X, treatment)``."""

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        **params: Any,
    ) -> Self:
        """Return weights of what a formula makes of a data frame.

        ``"treat ~ age + C(race) + married"`` gives the weights of
        ``fit(data[["age", "race", "married"]], data["treat"])`` with race as a
        category. The treatment is a column as it is. A constant is never a covariate,
        and every level has an indicator. Methods that take X also take frames with the
        formula's columns.

        Parameters
        ----------
        formula : str
            ``treatment ~ covariates`` in formulaic's language, which must be installed.
        data : DataFrame
            pandas or polars. Missing values in the columns used are refused.
        sample_weight, groups : str, array-like of shape (n,) or None, default=None
            A column's name, or values.
        **params
            Of the estimator; other values a row that `fit` takes (such as
            ``base_weights``) as the two above.

        Returns
        -------
        estimator
            Fitted.

        Raises
        ------
        ImportError
            Without formulaic.
        ValueError
            For bad formulas, unknown columns, missing values, and what `fit` refuses.

        Examples
        --------
        >>> from causalweights import EntropyBalancer
        >>> from causalweights.datasets import load_nsw
        >>> nsw = load_nsw()
        >>> data = nsw.X.assign(treat=nsw.treatment)
        >>> weighter = EntropyBalancer.from_formula(
        ...     "treat ~ age + education + age:education", data, estimand="att"
        ... )
        >>> list(weighter.feature_names_in_)
        ['age', 'education', 'age:education']
        """
        rows = {"sample_weight": sample_weight, "groups": groups}
        roles = Roles.parse(formula, with_outcome=False)
        return cls._of_formula(roles, data, rows, params)


class EffectFormulaMixin(_FormulaFit):
    """Adds `from_formula` to estimators with ``fit(X, y, *, treatment)``."""

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        **params: Any,
    ) -> Self:
        """Return an effect of what a formula makes of a data frame.

        ``"re78 ~ treat | age + C(race)"``: outcome, treatment and, behind the bar,
        covariates. The treatment is a column as it is. A constant is never a covariate,
        and every level has an indicator, which any learner takes and distances count as
        a category's. Methods that take X also take frames with the formula's columns.

        Parameters
        ----------
        formula : str
            ``outcome ~ treatment | covariates`` in formulaic's language, which must be
            installed.
        data : DataFrame
            pandas or polars. Missing values in the columns used are refused.
        sample_weight, groups : str, array-like of shape (n,) or None, default=None
            A column's name, or values.
        **params
            Of the estimator; other values a row that `fit` takes (such as
            ``propensity``) as the two above.

        Returns
        -------
        estimator
            Fitted.

        Raises
        ------
        ImportError
            Without formulaic.
        ValueError
            For bad formulas, unknown columns, missing values, and what `fit` refuses.

        Examples
        --------
        >>> from sklearn.linear_model import LinearRegression
        >>> from causalweights import WeightedEffect
        >>> from causalweights.datasets import load_nsw
        >>> nsw = load_nsw()
        >>> data = nsw.X.assign(treat=nsw.treatment, re78=nsw.y)
        >>> effect = WeightedEffect.from_formula(
        ...     "re78 ~ treat | age + education + black", data, estimand="att",
        ...     outcome_model=LinearRegression(),
        ... )
        >>> effect.result_.names
        ['1 vs 0']
        """
        rows = {"sample_weight": sample_weight, "groups": groups}
        roles = Roles.parse(formula, with_outcome=True)
        return cls._of_formula(roles, data, rows, params)
