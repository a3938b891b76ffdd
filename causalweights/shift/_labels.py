"""Labels of the source rows; what stands in for those of the target is not read."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import _num_samples

from causalweights._categories import is_missing
from causalweights._validation import check_same_rows
from causalweights.learners._stacking import check_labels
from causalweights.shift._samples import source_rows


def source_labels(X: Any, y: Any, sample_domain: Any) -> np.ndarray:
    """Return the labels of the source rows, in their order.

    Raises
    ------
    ValueError
        For a missing y, one of another length than X, and labels of source rows that
        are continuous, missing or of several kinds.
    """
    check_same_rows(X=X, y=y)
    n = _num_samples(X)
    if y is not None and sample_domain is not None:
        if _num_samples(y) != n:
            raise ValueError(
                f"y has {_num_samples(y)} rows, X has {n} (inconsistent numbers of "
                "samples): pass one label a row of X, a placeholder for target rows."
            )
        _, y, _ = source_rows(X, y, sample_domain)
        n = _num_samples(y)
    if y is not None:
        _check_kinds(np.asarray(y))
    return check_labels(y, n)


def _check_kinds(labels: np.ndarray) -> None:
    """Refuse labels that cannot be sorted, which scikit-learn does with a TypeError."""
    if labels.dtype != object:
        return
    if any(is_missing(label) for label in labels.ravel()):
        raise ValueError("y contains missing labels: remove those rows.")
    if len({isinstance(label, str) for label in labels.ravel()}) > 1:
        raise ValueError(
            "y mixes strings and other labels: give every class a label of one kind."
        )


def encode(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and each row's position among them.

    Raises
    ------
    ValueError
        For a single class.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}) among the source rows "
            "of positive weight: a classifier needs two."
        )
    return classes, codes


def refuse_placeholders(y: Any, classes: np.ndarray) -> None:
    """Refuse labels that no source row had: likely placeholders of target rows."""
    unknown = set(np.unique(np.asarray(y)).tolist()) - set(classes.tolist())
    if unknown:
        raise ValueError(
            f"y holds the label {unknown.pop()!r}, which no source row has: pass "
            "sample_domain, as to fit; in a scikit-learn search or cross-validation "
            "through metadata routing, set_config(enable_metadata_routing=True)."
        )
