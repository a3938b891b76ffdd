"""Balance, effective sample sizes, overlap and uniformity: functions of arrays."""

from causalweights.diagnostics._balance import balance_table
from causalweights.diagnostics._overlap import overlap_summary
from causalweights.diagnostics._uniformity import rank_dependence, uniformity_table
from causalweights.diagnostics._weights import effective_sample_size, weight_summary

__all__ = [
    "balance_table",
    "effective_sample_size",
    "overlap_summary",
    "rank_dependence",
    "uniformity_table",
    "weight_summary",
]
