"""Formulas of instrumental variables: ``lwage ~ 1 + exper + [educ ~ nearc4]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from causalweights._categories import is_frame

if TYPE_CHECKING:
    import pandas as pd

_BRACKET = re.compile(r"\[([^\[\]~]+)~([^\[\]~]+)\]")


@dataclass(frozen=True, slots=True)
class IVFormula:
    """The parts of a formula.

    Attributes
    ----------
    outcome : str
    exogenous : str
        Right-hand side without the bracket; ``"0"`` where nothing is left.
    endogenous, instruments : str or None
        Left and right of ``~`` within the bracket.

    Examples
    --------
    >>> from causalweights.moments._formula import IVFormula
    >>> IVFormula.parse("lwage ~ 1 + exper + [educ ~ nearc2 + nearc4]")
    IVFormula(outcome='lwage', exogenous='1 + exper', endogenous='educ',
              instruments='nearc2 + nearc4')
    """

    outcome: str
    exogenous: str
    endogenous: str | None
    instruments: str | None

    @classmethod
    def parse(cls, formula: str) -> IVFormula:
        """Split a formula at its bracket.

        Raises
        ------
        ValueError
            For anything but ``y ~ exogenous``, with or without one bracket
            ``[endogenous ~ instruments]`` that is added.
        """
        brackets = _BRACKET.findall(formula)
        rest = _BRACKET.sub("@", formula)
        sides = rest.split("~")
        if len(sides) != 2 or len(brackets) > 1 or re.search(r"[\[\]]", rest):
            raise ValueError(
                f"{formula!r} is no formula of instrumental variables: write 'y ~ 1 + "
                "exogenous + [endogenous ~ instruments]', or 'y ~ 1 + exogenous'."
            )
        terms = re.sub(r"\s*(^|\+)\s*@\s*", "", sides[1].strip())
        if "@" in terms:
            raise ValueError(
                f"{formula!r}: the bracket must be added by '+', or come first."
            )
        terms = terms.strip().removeprefix("+").strip() or "0"
        endogenous, instruments = brackets[0] if brackets else (None, None)
        return cls(
            sides[0].strip(), terms,
            endogenous and endogenous.strip(), instruments and instruments.strip(),
        )  # fmt: skip

    @property
    def regressors(self) -> str:
        """Formula of X: exogenous terms, then endogenous ones."""
        return self._with(self.endogenous)

    @property
    def all_instruments(self) -> str | None:
        """Formula of Z: exogenous terms, then excluded instruments; None for X."""
        return None if self.instruments is None else self._with(self.instruments)

    def _with(self, terms: str | None) -> str:
        if terms is None:
            return self.exogenous
        return terms if self.exogenous == "0" else f"{self.exogenous} + {terms}"


@dataclass(frozen=True, slots=True, eq=False)
class FormulaDesign:
    """What a formula makes of a frame.

    Attributes
    ----------
    y : Series
    X : DataFrame
    Z : DataFrame or None
    spec : formulaic.ModelSpec
        How X was made, so that new rows are coded alike.
    """

    y: pd.Series
    X: pd.DataFrame
    Z: pd.DataFrame | None
    spec: Any


def formula_design(formula: str, data: Any) -> FormulaDesign:
    """Return outcome, regressors and instruments that a formula asks for.

    Parameters
    ----------
    formula : str
        ``y ~ exogenous + [endogenous ~ instruments]`` in formulaic's language, each
        part of any terms. A constant is in it only where ``1`` is written.
    data : DataFrame
        pandas or polars. Missing values in the columns used are refused.

    Raises
    ------
    ImportError
        Without formulaic: ``pip install causalweights[formula]``.
    ValueError
        For other formulas, unknown columns, and missing values.
    """
    try:
        from formulaic import Formula
        from formulaic.errors import FormulaicError
        from formulaic.parser import DefaultFormulaParser
    except ImportError as error:
        raise ImportError(
            "formulas need formulaic: pip install causalweights[formula]."
        ) from error
    import pandas as pd

    parts = IVFormula.parse(formula)
    frame = _pandas(data)
    parser = DefaultFormulaParser(include_intercept=False)

    def matrix(terms: str) -> Any:
        try:
            spec = Formula(terms, _parser=parser, _ordering="none")
            return spec.get_model_matrix(frame, na_action="raise")
        except (FormulaicError, ValueError) as error:
            raise ValueError(f"the terms {terms!r} of the formula: {error}") from error

    y = matrix(parts.outcome)
    if y.shape[1] != 1:
        raise ValueError(
            f"the outcome {parts.outcome!r} gives {y.shape[1]} columns; it must be one."
        )
    X, Z = matrix(parts.regressors), None
    if parts.all_instruments is not None:
        Z = pd.DataFrame(matrix(parts.all_instruments))
    return FormulaDesign(y.iloc[:, 0], pd.DataFrame(X), Z, X.model_spec)


class FormulaMixin:
    """Adds `from_formula` to estimators with ``fit(X, y, *, instruments=...)``."""

    feature_names_in_: Any
    _formula_spec: Any
    fit: Callable[..., Self]

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
        """Return an estimator fitted to what a formula makes of a data frame.

        ``'lwage ~ 1 + exper + [educ ~ nearc4]'``: exogenous terms outside, endogenous
        ones and their instruments inside the bracket. A constant is in the model only
        where ``1`` is written. The estimator predicts for frames with the formula's
        columns, too.

        Parameters
        ----------
        formula : str
            In formulaic's language, which must be installed.
        data : DataFrame
            pandas or polars.
        sample_weight, groups : str, array-like of shape (n,) or None, default=None
            A column's name, or values.
        **params
            Of the estimator.

        Raises
        ------
        ValueError
            For bad formulas, missing values, and what ``fit`` refuses.
        """
        design = formula_design(formula, data)
        weight, labels = (
            data[value] if isinstance(value, str) else value
            for value in (sample_weight, groups)
        )
        fitted = cls(**params).fit(
            design.X, design.y, instruments=design.Z, sample_weight=weight,
            groups=labels,
        )  # fmt: skip
        fitted._formula_spec = design.spec
        return fitted

    def _regressors_of(self, X: Any) -> Any:
        """Return X, or what the formula makes of a frame that holds its columns."""
        spec = getattr(self, "_formula_spec", None)
        if (
            spec is None
            or not is_frame(X)
            or set(self.feature_names_in_) <= set(X.columns)
        ):
            return X
        return spec.get_model_matrix(_pandas(X), na_action="raise")


def _pandas(data: Any) -> Any:
    """Return a pandas frame of a pandas or polars one."""
    if not is_frame(data):
        raise ValueError("data must be a data frame with the formula's columns.")
    return data if hasattr(data, "iloc") else data.to_pandas()
