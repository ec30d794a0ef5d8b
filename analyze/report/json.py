"""The report as JSON, format 1: for machines. The same report always gives the same bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tracekit.analyze.results import Finding, Report, Where

REPORT_FORMAT = 1
#: In place of where a finding's events are, which is large.
_NOT_TOLD = Where(())


def to_json(report: Report) -> str:
    """One JSON object, indented; times are integer nanoseconds. Strings are as the trace has them."""
    return _dumped(to_dict(report))


def finding_to_json(finding: Finding, start_ns: int, rows: Sequence[dict[str, Any]], omitted: int) -> str:
    """A finding and raw events behind it as one JSON object.

    Args:
        start_ns: when the recording began, on the clock of the rows.
        rows: as the trace has them.
        omitted: how many others there are.
    """
    told = asdict(replace(finding, where=_NOT_TOLD))
    del told["where"]
    whole = {"report_format": REPORT_FORMAT, "finding": told, "start_ns": start_ns, "rows": rows, "omitted": omitted}
    return _dumped(whole)


def _dumped(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False)


def to_dict(report: Report) -> dict[str, Any]:
    """The same as plain dictionaries and lists."""
    whole = asdict(replace(report, findings=tuple(replace(one, where=_NOT_TOLD) for one in report.findings)))
    whole["trace"].pop("start_ns")
    for name in ("complete", "io"):
        whole["quality"].pop(name)
    for pattern in whole["patterns"]:
        pattern.pop("failing")
        pattern.pop("beats_ns")
    for finding in whole["findings"]:
        finding.pop("where")
    for part in (whole["workload"], *whole["latency"]):
        if not part["omitted"]:
            del part["omitted"]
    for one in whole["latency"]:
        if not one["requeued"]:
            del one["requeued"], one["requeued_ns"]
    for part in (whole["workload"], *whole["latency"], *whole["patterns"]):
        if not part["lost"]:
            del part["lost"]
    return {"report_format": REPORT_FORMAT, **whole}
