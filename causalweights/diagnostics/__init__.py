"""Covariate balance, effective sample sizes and overlap: functions of arrays."""

from causalweights.diagnostics._balance import balance_table
from causalweights.diagnostics._overlap import overlap_summary
from causalweights.diagnostics._weights import effective_sample_size, weight_summary

__all__ = [
    "balance_table",
    "effective_sample_size",
    "overlap_summary",
    "weight_summary",
]
