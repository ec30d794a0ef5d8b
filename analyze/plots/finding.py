"""Which picture shows a finding."""

from dataclasses import replace
from typing import Any

from tracekit.analyze.columns import UNKNOWN
from tracekit.analyze.results import Finding, Report
from tracekit.analyze.selection import Selection
from tracekit.errors import UsageError

#: What happens where something fails.
_FAILURES = {"failed_opens": ["open"], "failed_processes": ["exec", "exit"], "failed_execs": ["exec_failed"]}


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
    if found.kind in _FAILURES:
        events = _FAILURES[found.kind]
        comm = str(found.evidence["comm"])
        return "rates", {"events": events}, selection if comm == UNKNOWN else _narrowed(selection, {"comm": comm})
    return _of_rhythm(report, found, selection)


def _of_rhythm(report: Report, finding: Finding, selection: Selection) -> tuple[str, dict[str, Any], Selection]:
    rhythm = finding.where.rhythm
    if rhythm is None:
        raise UsageError(
            f"no picture shows finding {finding.rank}: 'tracekit report --finding {finding.rank}' tells of it"
        )
    if rhythm.event == "exec" and rhythm.burst_size > 1:
        starts = [one for one in report.patterns if one.event == "exec" and one.kind != "steady"]
        return "timeline", {"pattern": starts.index(rhythm) + 1}, selection
    return "subsecond", {"event": rhythm.event}, _narrowed(selection, rhythm.scope)


def _narrowed(selection: Selection, scope: dict[str, str]) -> Selection:
    """The part of a part that is of this command and disk, as far as these are told."""
    return replace(selection, comm=selection.comm or scope.get("comm"), disk=selection.disk or scope.get("disk"))
