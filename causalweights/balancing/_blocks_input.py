"""Whether X lies in the blocks of a dask array, told without importing dask."""

from __future__ import annotations

from typing import Any


def is_dask(X: Any) -> bool:
    """Tell whether X is a dask array."""
    return type(X).__module__.startswith("dask.array")


def dask_refusal(name: str) -> ValueError:
    """Return the error of something that needs rows in memory."""
    return ValueError(
        f"{name} takes rows that are in memory, and X is a dask array: compute the "
        "rows you need (X[:1000].compute()), or call it on each block."
    )


def refuse_dask(X: Any, name: str) -> None:
    """Refuse a dask array where rows are needed in memory."""
    if is_dask(X):
        raise dask_refusal(name)
