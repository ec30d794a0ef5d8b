"""Working out what a recording means."""

from tracekit.analyze.analysis import analyze, rows_to_read
from tracekit.analyze.evidence import raw_events
from tracekit.analyze.results import Report
from tracekit.analyze.selection import Selection

__all__ = ["Report", "Selection", "analyze", "raw_events", "rows_to_read"]
