"""Working out what a recording means."""

from tracekit.analyze.analysis import analyze
from tracekit.analyze.results import Report

__all__ = ["Report", "analyze"]
