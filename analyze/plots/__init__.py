"""Pictures of a recording, by matplotlib: `plot` draws one and `save` writes it to a file."""

from tracekit.analyze.plots.finding import of_finding
from tracekit.analyze.plots.kinds import KINDS, Kind, check, plot, resolution, save
from tracekit.analyze.plots.source import NothingToShowError

__all__ = ["KINDS", "Kind", "NothingToShowError", "check", "of_finding", "plot", "resolution", "save"]
