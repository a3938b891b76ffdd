"""The names and options in docs/choose.md and docs/coming_from.md are there."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import validate_parameter_constraints

import causalweights

DOCS = Path(__file__).resolve().parents[2] / "docs"
SPAN = re.compile(r"`([^`]+)`")
# The column of each page that speaks of us, and the least number of names in it.
COLUMN = {"choose.md": ("use", 50), "coming_from.md": ("here", 80)}


def cells(text, column):
    """Return the cells of this column in all tables of a page that have it."""
    found, at = [], None
    for line in text.splitlines():
        row = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            at = None
        elif at is None:
            at = row.index(column) if column in row else -1
        elif at >= 0 and not re.fullmatch(r"[|\-: ]+", line):
            found.append(row[at])
    return found


def expressions(page):
    """Return every name of ours on a page, as it is written."""
    column, _ = COLUMN[page]
    text = (DOCS / page).read_text(encoding="utf-8")
    return [span for cell in cells(text, column) for span in SPAN.findall(cell)]


def attribute(owner, name):
    """Return an attribute, or None for one that `fit` sets and the docstring names."""
    if hasattr(owner, name):
        return getattr(owner, name)
    described = re.search(
        rf"^ *(?:\w+, )*{name}(?:, \w+)* :", inspect.getdoc(owner) or "", re.M
    )
    assert described, f"{owner!r} has no {name}"
    return None


def call(function, node):
    """Check a call against the signature and return the estimator that it makes."""
    arguments = [value_of(argument) for argument in node.args]
    keywords = {word.arg: value_of(word.value) for word in node.keywords}
    bound = inspect.signature(function).bind_partial(*arguments, **keywords)
    if not (inspect.isclass(function) and issubclass(function, BaseEstimator)):
        return None
    given = {name: v for name, v in bound.arguments.items() if v is not ...}
    allowed = {
        name: values
        for name, values in function._parameter_constraints.items()
        if name in given
    }
    validate_parameter_constraints(allowed, given, function.__name__)
    return function(*arguments, **keywords)


def value_of(node):
    """Return what an expression stands for, from the package's names alone."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(value_of(part) for part in parts)
        case ast.Name(id=name):
            return getattr(causalweights, name)
        case ast.Attribute(value=owner, attr=name):
            return attribute(value_of(owner), name)
        case ast.Call(func=function):
            return call(value_of(function), node)
        case _:
            raise AssertionError(f"cannot read {ast.unparse(node)}")


def resolves(expression):
    """Return True, or raise what is wrong with an expression."""
    value_of(ast.parse(expression, mode="eval").body)
    return True


@pytest.mark.parametrize(
    ("page", "expression"),
    [(page, text) for page in COLUMN for text in dict.fromkeys(expressions(page))],
)
def test_name_resolves(page, expression):
    assert resolves(expression)


@pytest.mark.parametrize("page", COLUMN)
def test_every_row_names_something_of_ours(page):
    column, least = COLUMN[page]
    rows = cells((DOCS / page).read_text(encoding="utf-8"), column)
    assert all(SPAN.search(row) or row == "not offered" for row in rows)
    assert len(expressions(page)) >= least


@pytest.mark.parametrize(
    "expression",
    [
        "NoSuchBalancer",
        "cate.no_such_score",
        "IPMBalancer(estimate='att')",
        "IPMBalancer(solver='fast')",
        "WeightedEffect(IPMBalancer(ridge=-1.0))",
        "WeightedEffect.fit(..., ..., clusters=...)",
        "WeightedEffect.standard_error_",
        "balance_table(..., ..., no_such_option=1)",
    ],
)
def test_a_name_that_is_not_there_is_noticed(expression):
    with pytest.raises((AssertionError, AttributeError, TypeError, ValueError)):
        resolves(expression)
