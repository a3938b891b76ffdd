"""Tables of estimates by great_tables, an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def great_table(frame: pd.DataFrame, title: str) -> Any:
    """Return a ``great_tables.GT`` of a frame, its index as row names.

    Raises
    ------
    ImportError
        Without great_tables: ``pip install causalweights[tables]``.
    """
    try:
        from great_tables import GT
    except ImportError as error:
        raise ImportError(
            "this table needs great_tables: pip install causalweights[tables]."
        ) from error
    numbers = frame.select_dtypes("number").columns.tolist()
    rows = frame.rename_axis("row").reset_index()
    table = GT(rows, rowname_col="row").tab_header(title=title)
    return table.fmt_number(columns=numbers, n_sigfig=4)
