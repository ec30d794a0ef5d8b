"""How a report of a real scenario is judged by what is true of it."""

from collections.abc import Callable, Iterator
from typing import Any

from truth import Outcome, of_all, of_causes, of_modes, of_outliers, of_patterns

from laboratory.real.disks import WITNESSED
from tracekit.analyze.results import Episode, Finding, Report

DEVICE, TOTAL = "block.device", "block.total"
#: By how much percentiles of the block layer may differ from those of fio, which sees the system calls as well.
SAME_PERCENTILE = 0.05
#: Which part of the truth a finding is held to; what that part does not speak of is invented.
_HELD_TO = {
    "restarts": "patterns",
    "process_bursts": "patterns",
    "periodic": "patterns",
    "modes": "modes_ns",
    "outliers": "outliers",
    "failed_opens": "failing_opens",
    # A service that respawns does so because it fails.
    "failed_processes": "patterns",
}


def judged(truth: dict[str, Any], report: Report) -> Outcome:
    """What of the truth a report tells, and what else it tells."""
    whole = Outcome(invented=sum(_is_invented(one, truth) for one in report.findings))
    for part in _parts(truth, report):
        whole.planted += part.planted
        whole.found += part.found
        whole.invented += part.invented
        whole.errors |= part.errors
    return whole


def _is_invented(finding: Finding, truth: dict[str, Any]) -> bool:
    if finding.kind in ("modes", "outliers") and finding.evidence["metric"] != DEVICE:
        return True
    if finding.kind == "modes" and "cause" in truth:
        return False
    return _HELD_TO.get(finding.kind) not in truth


def _parts(truth: dict[str, Any], report: Report) -> Iterator[Outcome]:
    for key, judge in _JUDGES.items():
        if key in truth:
            yield judge(truth, report)


def _of_patterns(truth: dict[str, Any], report: Report) -> Outcome:
    return of_patterns(truth, report, began_ns=0)


def _of_modes(truth: dict[str, Any], report: Report) -> Outcome:
    return of_modes({"modes": truth["modes_ns"]}, report, DEVICE)


def _of_outliers(truth: dict[str, Any], report: Report) -> Outcome:
    return of_outliers(truth, report, DEVICE)


def _of_ios(truth: dict[str, Any], report: Report) -> Outcome:
    """Requests whose completion the kernel did not show are no fault of the analyzer."""
    return Outcome(errors={"I/O": abs(of_all(report, DEVICE).count / truth["ios"] - 1)})


def _of_stalls(truth: dict[str, Any], report: Report) -> Outcome:
    outliers = of_all(report, DEVICE).outliers
    episodes = () if outliers is None else outliers.episodes
    found = sum(any(is_stall(one, stall) for one in episodes) for stall in truth["stalls"])
    return Outcome(len(truth["stalls"]), found)


def is_stall(episode: Episode, stall: dict[str, int]) -> bool:
    """Whether the episode has the I/O of the stall and no other."""
    together = episode.start_ns < stall["end_ns"] and stall["start_ns"] < episode.end_ns
    return together and episode.count == stall["count"]


def _of_failing_opens(truth: dict[str, Any], report: Report) -> Outcome:
    told = [one for one in report.findings if one.kind == "failed_opens"]
    wanted = {one["comm"]: one for one in truth["failing_opens"]}
    found = [one for one in told if one.evidence["comm"] in wanted]
    outcome = Outcome(len(wanted), len(found), len(told) - len(found))
    for one in found:
        # Those that its interpreter looks for in vain when it starts come on top.
        planted = wanted[str(one.evidence["comm"])]["failed"]
        outcome.errors["failed"] = abs(int(one.evidence["failed"] or 0) / planted - 1)
    return outcome


def _of_witness(truth: dict[str, Any], report: Report) -> Outcome:
    total, fio = of_all(report, TOTAL), truth["witness"]
    errors = {name: abs(getattr(total, name) / fio[name] - 1) for name in WITNESSED}
    agree = total.count == fio["count"] and all(error <= SAME_PERCENTILE for error in errors.values())
    return Outcome(1, int(agree), errors=errors)


_JUDGES: dict[str, Callable[[dict[str, Any], Report], Outcome]] = {
    "patterns": _of_patterns,
    "modes_ns": _of_modes,
    "outliers": _of_outliers,
    "ios": _of_ios,
    "stalls": _of_stalls,
    "cause": lambda truth, report: of_causes(truth["cause"], report, truth["cause"]["slow_ns"]),
    "failing_opens": _of_failing_opens,
    "witness": _of_witness,
}
