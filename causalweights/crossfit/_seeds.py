"""Clones whose randomness is ours where nobody set it."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone


def seeded_clone(estimator: Any, seed: int) -> Any:
    """Return a clone whose ``random_state`` parameters of None, nested too, are seeded.

    A learner left at None draws from numpy's global state, so that a ``random_state``
    of the estimator around it would promise what it cannot keep.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from causalweights.crossfit import seeded_clone
    >>> seeded_clone(RandomForestRegressor(), 7).random_state
    7
    """
    copy = clone(estimator)
    names = [
        name for name, value in copy.get_params().items()
        if value is None and name.split("__")[-1] == "random_state"
    ]  # fmt: skip
    return copy.set_params(**dict.fromkeys(names, seed))
