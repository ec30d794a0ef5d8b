"""Which picture shows a finding."""

from dataclasses import replace
from typing import Any

from tracekit.analyze.columns import UNKNOWN
from tracekit.analyze.results import Finding, Report
from tracekit.analyze.selection import Selection
from tracekit.errors import UsageError


def of_finding(report: Report, number: int, selection: Selection) -> tuple[str, dict[str, Any], Selection]:
    """The kind of picture that shows a finding, its options, and the part of the trace to look at.

    Args:
        report: of the selected part of the trace.
        number: of the finding, from 1 on.

    Raises:
        UsageError: there is no such finding, or no picture of it.
    """
    if not 1 <= number <= len(report.findings):
        raise UsageError(f"there is no finding {number}: the report has {len(report.findings)}")
    found = report.findings[number - 1]
    if found.where.metric is not None:
        kind = "heatmap" if found.kind == "outliers" else "latency"
        return kind, {"metric": found.where.metric, "group": dict(found.where.fields)}, selection
    if found.kind in ("failed_opens", "failed_processes"):
        events = ["open"] if found.kind == "failed_opens" else ["exec", "exit"]
        comm = str(found.evidence["comm"])
        return "rates", {"events": events}, selection if comm == UNKNOWN else _narrowed(selection, {"comm": comm})
    return _of_rhythm(report, found, selection)


def _of_rhythm(report: Report, finding: Finding, selection: Selection) -> tuple[str, dict[str, Any], Selection]:
    starts = [one for one in report.patterns if one.event == "exec" and one.kind != "steady"]
    for one in report.patterns:
        # A title is the sentence of its rhythm, with a capital.
        if one.sentence[1:] == finding.title[1:]:
            if one in starts and one.burst_size > 1:
                return "timeline", {"pattern": starts.index(one) + 1}, selection
            return "subsecond", {"event": one.event}, _narrowed(selection, one.scope)
    raise UsageError(f"no picture shows finding {finding.rank}: 'tracekit report --finding {finding.rank}' tells of it")


def _narrowed(selection: Selection, scope: dict[str, str]) -> Selection:
    """The part of a part that is of this command and disk, as far as these are told."""
    return replace(selection, comm=selection.comm or scope.get("comm"), disk=selection.disk or scope.get("disk"))
