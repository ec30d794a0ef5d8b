"""What changed between two recordings, or two parts of one."""

from tracekit.analyze.diff.comparison import diff
from tracekit.analyze.diff.results import Change, Diff, LatencyChange, Part, RateChange

__all__ = ["Change", "Diff", "LatencyChange", "Part", "RateChange", "diff"]
