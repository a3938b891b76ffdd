"""Formulas of instrumental variables: ``lwage ~ 1 + exper + [educ ~ nearc4]``."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from causalweights._formula import (
    model_matrix,
    outcome,
    pandas_frame,
    rows_by_formula,
    values_of,
)

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
    import pandas as pd

    parts, frame = IVFormula.parse(formula), pandas_frame(data)
    y = outcome(parts.outcome, frame)
    X, Z = model_matrix(parts.regressors, frame), None
    if parts.all_instruments is not None:
        Z = pd.DataFrame(model_matrix(parts.all_instruments, frame))
    return FormulaDesign(y, pd.DataFrame(X), Z, X.model_spec)


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
        design, frame = formula_design(formula, data), pandas_frame(data)
        weight = values_of(frame, sample_weight, "sample_weight")
        labels = values_of(frame, groups, "groups")
        fitted = cls(**params).fit(
            design.X, design.y, instruments=design.Z, sample_weight=weight,
            groups=labels,
        )  # fmt: skip
        fitted._formula_spec = design.spec
        return fitted

    def _regressors_of(self, X: Any) -> Any:
        """Return X, or what the formula makes of a frame that holds its columns."""
        return rows_by_formula(self, X)
