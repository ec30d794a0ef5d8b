"""The report as JSON, format 1: for machines. The same report always gives the same bytes."""

import json
from dataclasses import asdict, replace
from typing import Any

from tracekit.analyze.results import Report, Where

REPORT_FORMAT = 1


def to_json(report: Report) -> str:
    """One JSON object, indented; times are integer nanoseconds. Strings are as the trace has them."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=True, allow_nan=False)


def to_dict(report: Report) -> dict[str, Any]:
    """The same as plain dictionaries and lists."""
    where = Where(())  # not told, and large
    whole = asdict(replace(report, findings=tuple(replace(one, where=where) for one in report.findings)))
    whole["trace"].pop("start_ns")
    whole["quality"].pop("complete")
    for pattern in whole["patterns"]:
        pattern.pop("failing")
    for finding in whole["findings"]:
        finding.pop("where")
    for part in (whole["workload"], *whole["latency"]):
        if not part["omitted"]:
            del part["omitted"]
    for part in (whole["workload"], *whole["latency"], *whole["patterns"]):
        if not part["lost"]:
            del part["lost"]
    return {"report_format": REPORT_FORMAT, **whole}
