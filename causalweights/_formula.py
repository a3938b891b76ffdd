"""Formulas: columns of a data frame as outcome, treatment and covariates."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self

from causalweights._categories import ORIGIN, holds_words, is_frame

_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Roles:
    """What a formula asks of a frame, as text.

    Attributes
    ----------
    outcome : str or None
        None in a weighter's formula.
    treatment, covariates : str
    """

    outcome: str | None
    treatment: str
    covariates: str

    @classmethod
    def parse(cls, formula: str, *, with_outcome: bool) -> Self:
        """Split ``treatment ~ covariates``, or ``outcome ~ treatment | covariates``.

        Raises
        ------
        ValueError
            For any other form.

        Examples
        --------
        >>> from causalweights._formula import Roles
        >>> Roles.parse("re78 ~ treat | age + C(race)", with_outcome=True)
        Roles(outcome='re78', treatment='treat', covariates='age + C(race)')
        """
        form = "outcome ~ treatment | covariates"
        form = form if with_outcome else "treatment ~ covariates"
        sides = split_outside(formula, "~")
        rest = split_outside(sides[-1], "|")
        bars = len(rest) - 1
        parts = [*sides[:-1], *rest]
        if len(sides) != 2:
            wrong = f"it has {len(sides) - 1} '~' instead of one"
        elif bars != with_outcome and not with_outcome:
            wrong = "a weighter sees no outcome, so that it has no bar"
        elif bars != with_outcome:
            wrong = f"it has {bars} bars instead of one"
        elif not all(parts):
            names = form.replace("~ ", "").replace("| ", "").split()
            wrong = f"it names no {names[parts.index('')]}"
        else:
            return cls(*parts) if with_outcome else cls(None, *parts)
        raise ValueError(f"the formula {formula!r}: {wrong}. Write {form!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """How a frame of covariates was made: carried along in its ``attrs``.

    Attributes
    ----------
    spec : formulaic.ModelSpec
    indicators : frozenset of str
        Columns of terms of categories alone.
    """

    spec: Any
    indicators: frozenset[str]

    def __deepcopy__(self, memo: Any) -> Origin:
        # pandas copies a frame's attrs deeply whenever it takes rows.
        return self


def split_outside(text: str, mark: str) -> list[str]:
    """Split at a mark outside of brackets and backticks, and strip the parts."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == "`"
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if letter == mark and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def pandas_frame(data: Any) -> Any:
    """Return a pandas frame of a pandas or polars one, its text as objects."""
    if not is_frame(data):
        raise ValueError("data must be a data frame with the formula's columns.")
    data = data if hasattr(data, "iloc") else data.to_pandas()
    # Not every release of formulaic takes text of other dtypes for categories.
    words = {
        name: "category" if str(dtype).startswith("dictionary") else object
        for name, dtype in data.dtypes.items()
        if holds_words(dtype) and not hasattr(dtype, "ordered")
    }
    return data.astype(words) if words else data


def model_matrix(terms: str, frame: Any, **options: Any) -> Any:
    """Return what formulaic makes of terms; a constant only where ``1`` is written.

    Parameters
    ----------
    terms : str
        In formulaic's language.
    frame : pandas DataFrame
    **options
        Of formulaic's ``ModelSpec``.

    Raises
    ------
    ImportError
        Without formulaic: ``pip install causalweights[formula]``.
    ValueError
        For terms that formulaic cannot read, unknown columns, missing values.
    """
    try:
        from formulaic import Formula
        from formulaic.errors import FormulaicError
        from formulaic.parser import DefaultFormulaParser
    except ImportError as error:
        raise ImportError(
            "formulas need formulaic: pip install causalweights[formula]."
        ) from error
    where = f"the terms {terms!r} of the formula"
    parser = DefaultFormulaParser(include_intercept=False)
    try:
        spec = Formula(terms, _parser=parser, _ordering="none")
    except KeyError as error:  # formulaic's answer to '.' without a frame
        raise ValueError(f"{where}: write out the columns '.' stands for.") from error
    except (FormulaicError, ValueError, SyntaxError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{where}: {reason}") from error
    return _evaluated(spec, frame, where, **options)


def _evaluated(spec: Any, frame: Any, where: str, **options: Any) -> Any:
    """Return the matrix of a formula, or of the specification of an earlier one."""
    from formulaic.errors import DataMismatchWarning, FormulaicError

    names = sorted(spec.required_variables, key=str)
    known = {name: str(name) in frame.columns for name in names}
    for name, here in known.items():
        if not here and "value" in {role.value for role in name.roles}:
            raise ValueError(
                f"{where}: `{name}` is not present in the data. {_nearest(name, frame)}"
            )
    refuse_missing(frame, [str(name) for name, here in known.items() if here])
    try:
        with warnings.catch_warnings():
            # formulaic would make such rows zeros, which is another level's code.
            warnings.simplefilter("error", DataMismatchWarning)
            return spec.get_model_matrix(frame, na_action="raise", **options)
    except DataMismatchWarning as warning:
        raise ValueError(
            f"{where}: {str(warning).split('. ')[0]}. Drop those rows, or make the "
            "column a categorical one that lists every level, in the frame of fit."
        ) from warning
    except (FormulaicError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def refuse_missing(frame: Any, names: list[str]) -> None:
    """Raise a ValueError that says which of the columns have missing values."""
    missing = {name: frame[name].isna().to_numpy() for name in names}
    holes = [
        f"{name!r} (first in row {int(rows.argmax())})"
        for name, rows in missing.items() if rows.any()
    ]  # fmt: skip
    if holes:
        raise ValueError(
            f"missing values in the formula's columns: {', '.join(sorted(holes))}. "
            "Drop those rows, or impute covariates and add an indicator of what was "
            "missing."
        )


def column(frame: Any, name: str, role: str) -> Any:
    """Return a column by its name, which may stand in backticks, without holes."""
    name = name.removeprefix("`").removesuffix("`")
    if name not in frame.columns:
        raise ValueError(
            f"{role} {name!r} is not a column of the data. {_nearest(name, frame)}"
        )
    refuse_missing(frame, [name])
    return frame[name]


def values_of(frame: Any, value: Any, role: str) -> Any:
    """Return the column a text names, or the values themselves."""
    return column(frame, value, role) if isinstance(value, str) else value


def _nearest(name: Any, frame: Any) -> str:
    columns = [str(column) for column in frame.columns]
    found = get_close_matches(str(name), columns, cutoff=0.5)
    names = ", ".join(repr(c) for c in found or columns[:10])
    return f"Nearest: {names}." if found else f"Its columns are {names}."


def covariates(terms: str, frame: Any) -> Any:
    """Return the frame of covariates that terms ask for, with its `Origin`.

    One indicator for each level that occurs, as of the categories of a frame. The
    constant is left out.
    """
    import pandas as pd

    matrix = model_matrix(terms, frame, ensure_full_rank=False)
    spec = matrix.model_spec
    made, kept = [], []
    for term in spec.structure:
        factors = [factor.expr for factor in term.term.factors]
        words = bool(term.columns) and all(_is_category(spec, f) for f in factors)
        for name in term.columns:
            if name == "Intercept" or (words and not matrix[name].any()):
                continue
            kept.append(name)
            made += [name] if words else []
    if not kept:
        raise ValueError(
            f"the terms {terms!r} of the formula hold no covariate: a constant has "
            "nothing to balance. Name columns."
        )
    X = pd.DataFrame(matrix)[kept]
    X.attrs[ORIGIN] = Origin(spec, frozenset(made))
    return X


def _is_category(spec: Any, factor: str) -> bool:
    state = spec.encoder_state.get(factor)
    return state is not None and state[0].value == "categorical"


def spec_of(X: Any) -> Any:
    """Return how a frame was made by a formula, None for any other input."""
    origin = getattr(X, "attrs", {}).get(ORIGIN) if is_frame(X) else None
    return None if origin is None else origin.spec


def rows_by_formula(estimator: Any, X: Any) -> Any:
    """Return X, or what the formula of an estimator's fit makes of a frame's rows."""
    spec = getattr(estimator, "_formula_spec", None)
    if spec is None or not is_frame(X):
        return X
    names = list(estimator.feature_names_in_)
    if set(names) <= set(X.columns):
        return X[names]
    return _evaluated(spec, pandas_frame(X), "the formula of fit")[names]


def outcome(terms: str, frame: Any) -> Any:
    """Return the one column that the left-hand side names, or makes of columns."""
    name = terms.removeprefix("`").removesuffix("`")
    if name in frame.columns:
        return column(frame, name, "outcome")
    y = model_matrix(terms, frame)
    if y.shape[1] != 1:
        raise ValueError(
            f"the outcome {terms!r} gives {y.shape[1]} columns; it must be one."
        )
    return y.iloc[:, 0]
