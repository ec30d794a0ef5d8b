"""How often the analyzer is right: scenarios with known truth, and what the report says of them.

Run as anybody: .venv/bin/python benchmarks/truth.py [--runs 200] [--only rhythms,modes,...] [--nothing] [--tune]
"""

import json
import tempfile
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from laboratory import causes, changes, latencies, reasons, rhythms, streams
from laboratory.recording import START_NS, Recording
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tracekit import Trace, open_trace
from tracekit.analyze import Selection, analyze
from tracekit.analyze.diff import Part, diff
from tracekit.analyze.results import Latency, Pattern, Report

# Detectors are improved on the one, and the figures that are told come from the other.
_REPORT_SEED, _TUNING_SEED = 1_000_000, 0
_SAME_PERIOD, _SAME_PLACE, _SAME_SPAN = 0.1, 0.1, 0.5
Scenarios = Callable[[np.random.Generator], dict[str, Callable[[], Recording]]]


@dataclass
class Outcome:
    """What a report made of one trace.

    Attributes:
        planted: how many things are to be found.
        found: how many of them were.
        invented: how many were told that are not there.
        errors: by figure, relative error.
    """

    planted: int = 0
    found: int = 0
    invented: int = 0
    errors: dict[str, float] = field(default_factory=dict)


def of_patterns(truth: dict[str, Any], report: Report, began_ns: int = START_NS) -> Outcome:
    """Whether each planted pattern is told once, and no other; a constant rate that is told as such is not invented.

    Args:
        began_ns: when the times in the truth begin to count.
    """
    # Who does not know what rates are constant cannot say that one is not.
    left = [one for one in report.patterns if one.kind != "steady" or "steady" in truth]
    outcome = Outcome(len(truth["patterns"]))
    for wanted in truth["patterns"]:
        fitting = [one for one in left if _fits(one, wanted, began_ns)]
        if not fitting:
            continue
        best = min(fitting, key=lambda one: (_apart(one, wanted), -one.events))
        left.remove(best)
        outcome.found += 1
        for name in ("period_ns", "pause_ns", "burst_size", "rate_per_second"):
            if name in wanted:
                error = abs(getattr(best, name) - wanted[name]) / max(wanted[name], 1)
                outcome.errors[name] = max(error, outcome.errors.get(name, 0.0))
        if "clock" in wanted:
            outcome.errors["clock wrong"] = float(best.clock not in (None, wanted["clock"]))
    outcome.invented = sum(not any(_has_rate(one, rate) for rate in truth.get("steady", ())) for one in left)
    return outcome


def _fits(one: Pattern, wanted: dict[str, Any], began_ns: int) -> bool:
    together = min(one.end_ns - began_ns, wanted["end_ns"]) - max(one.start_ns - began_ns, wanted["start_ns"])
    if together < _SAME_SPAN * (wanted["end_ns"] - wanted["start_ns"]):
        return False
    if wanted.get("kind") == "steady":
        return _has_rate(one, wanted)
    same_period = abs(one.period_ns - wanted["period_ns"]) <= _SAME_PERIOD * wanted["period_ns"]
    return bool(one.event == wanted["event"] and one.kind != "steady" and same_period)


def _apart(one: Pattern, wanted: dict[str, Any]) -> float:
    """How far off the period is, in steps of a percent: several rhythms may have nearly the same."""
    period = wanted.get("period_ns", one.period_ns)
    return round(float(abs(one.period_ns / period - 1)), 2)


def _has_rate(one: Pattern, wanted: dict[str, Any]) -> bool:
    rate = wanted["rate_per_second"]
    return one.kind == "steady" and one.event == wanted["event"] and abs(one.rate_per_second - rate) <= 0.1 * rate


def of_modes(truth: dict[str, Any], report: Report, metric: str = "open") -> Outcome:
    """Every mode is told at its place, and no other."""
    modes = of_all(report, metric).modes
    if len(truth["modes"]) == 1:
        return Outcome(invented=max(len(modes) - 1, 0))
    outcome = Outcome(len(truth["modes"]))
    left = [mode.peak_ns for mode in modes]
    for place in truth["modes"]:
        near = min(left, key=lambda peak: abs(peak / place - 1), default=None)
        if near is not None and abs(near / place - 1) <= _SAME_PLACE:
            left.remove(near)
            outcome.found += 1
            outcome.errors["position"] = max(outcome.errors.get("position", 0.0), abs(near / place - 1))
    outcome.invented = len(left)
    return outcome


def of_outliers(truth: dict[str, Any], report: Report, metric: str = "open") -> Outcome:
    """So many outliers are told as there are."""
    outliers = of_all(report, metric).outliers
    told, planted = 0 if outliers is None else outliers.count, truth["outliers"]
    return Outcome(planted, min(told, planted), max(told - planted, 0))


def of_causes(truth: dict[str, Any], report: Report, slow_ns: int = 1_000_000) -> Outcome:
    """Whether the cause comes first among what sets the slow mode apart; if it does not come at all, nothing may."""
    slow = [mode for mode in of_all(report, "block.device").modes if mode.peak_ns > slow_ns]
    told = [reason.field for mode in slow[:1] for reason in mode.sets_apart]
    return Outcome(1, int(told[:1] == [truth["field"]]), int(bool(told) and told[0] != truth["field"]))


def of_reasons(truth: dict[str, Any], report: Report) -> Outcome:
    """Whether what is missing is told as the reason why the service fails, and nothing else."""
    told = [one.evidence["path"] for one in report.findings if one.evidence.get("program") == "service"]
    planted = truth["path"] is not None
    return Outcome(int(planted), int(planted and truth["path"] in told), sum(path != truth["path"] for path in told))


def of_all(report: Report, metric: str) -> Latency:
    """The distribution of a metric over everything."""
    return next(one for one in report.latency if one.metric == metric and not one.group)


def of_changes(truth: dict[str, Any], trace: Trace) -> Outcome:
    """Whether what changes halfway through a recording is told of its halves, and nothing else."""
    half = trace.metadata.duration_ns // 2
    parts = (Part(trace, Selection(None, half)), Part(trace, Selection(half, None)))
    told = [change.kind for change in diff(*parts).changes]
    wanted = truth.get("change")
    return Outcome(int("change" in truth), int(wanted in told), sum(kind != wanted for kind in told))


class Seen:
    """A trace, and its report if it is asked for."""

    def __init__(self, path: Path) -> None:
        self.trace = open_trace(path)

    @cached_property
    def report(self) -> Report:
        return analyze(self.trace)


#: How what is said of a trace is judged, by detector.
DETECTORS: dict[str, Callable[[dict[str, Any], Seen], Outcome]] = {
    "rhythms": lambda truth, seen: of_patterns(truth, seen.report),
    "modes": lambda truth, seen: of_modes(truth, seen.report),
    "outliers": lambda truth, seen: of_outliers(truth, seen.report),
    "causes": lambda truth, seen: of_causes(truth, seen.report),
    "reasons": lambda truth, seen: of_reasons(truth, seen.report),
    "changes": lambda truth, seen: of_changes(truth, seen.trace),
}
#: Scenarios, and the detectors that are judged by them.
SCENARIOS: tuple[tuple[Scenarios, tuple[str, ...]], ...] = (
    (rhythms.with_rhythm, ("rhythms",)),
    (streams.with_rhythm, ("rhythms",)),
    (rhythms.without_rhythm, ("rhythms",)),
    (streams.without_rhythm, ("rhythms",)),
    (latencies.plain, ("modes", "outliers")),
    (latencies.with_modes, ("modes", "outliers")),
    (latencies.with_outliers, ("outliers",)),
    (causes.with_cause, ("causes",)),
    (reasons.with_reason, ("reasons",)),
    (reasons.without_reason, ("reasons",)),
    (changes.steady, ("changes",)),
    (changes.changed, ("changes",)),
)


#: Those in which there is nothing to find.
NOTHING = (rhythms.without_rhythm, streams.without_rhythm, latencies.plain, reasons.without_reason, changes.steady)


def judged(detectors: Container[str], seed: int, *, nothing: bool = False) -> Iterator[tuple[str, str, Outcome]]:
    """Every scenario of some detectors once, or those with nothing to find: detector, scenario, and how it went."""
    with tempfile.TemporaryDirectory(prefix="tracekit-truth-") as folder:
        for scenarios, mine in SCENARIOS:
            if nothing and scenarios not in NOTHING:
                continue
            wanted = [detector for detector in mine if detector in detectors]
            for name, make in scenarios(np.random.default_rng(seed)).items() if wanted else ():
                path = make().write(Path(folder) / "scenario.parquet")
                truth = json.loads(path.with_suffix(".truth.json").read_text())
                seen = Seen(path)
                yield from ((detector, name, DETECTORS[detector](truth, seen)) for detector in wanted)


def _run(detectors: list[str], nothing: bool, seed: int) -> list[tuple[str, str, Outcome]]:
    return list(judged(detectors, seed, nothing=nothing))


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The interval in which a share lies with 95 % confidence (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z2, share = 1.96**2, hits / of
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = 1.96 / (1 + z2 / of) * float(np.sqrt(share * (1 - share) / of + z2 / (4 * of * of)))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _share(hits: int, of: int) -> str:
    if not of:
        return ""
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.1f} % ({100 * low:.1f}..{100 * high:.1f})"


def _rows(outcomes: dict[str, list[Outcome]]) -> Iterator[list[str]]:
    for name, runs in outcomes.items():
        planted = sum(run.planted for run in runs)
        yield [
            name,
            str(len(runs)),
            _share(sum(run.found for run in runs), planted),
            _share(sum(run.invented > 0 for run in runs), len(runs)),
            _errors(runs),
        ]


def _errors(runs: list[Outcome]) -> str:
    names = dict.fromkeys(name for run in runs for name in run.errors)
    told = []
    for name in names:
        values = [run.errors[name] for run in runs if name in run.errors]
        if name == "clock wrong":
            told.append(f"clock wrong {100 * float(np.mean(values)):.1f} %")
        else:
            told.append(
                f"{name.removesuffix('_ns')} {_percent(np.median(values))} ({_percent(np.quantile(values, 0.95))})"
            )
    return ", ".join(told)


def _percent(share: float) -> str:
    return "<0.01 %" if 0 < share < 1e-4 else f"{100 * share:.2g} %"


def table_of(detector: str, outcomes: dict[str, list[Outcome]]) -> Table:
    """The outcomes of each scenario, by its name."""
    table = Table(title=f"{detector}: shares with their 95 % intervals, median errors (and 95 % of them)")
    for name in ("scenario", "runs", "found", "runs with something invented", "relative errors"):
        table.add_column(name, justify="left" if name in ("scenario", "relative errors") else "right")
    for row in _rows(outcomes):
        table.add_row(*row)
    hidden = [run for runs in outcomes.values() for run in runs if run.planted]
    clean = [run for runs in outcomes.values() for run in runs if not run.planted]
    table.add_section()
    found = _share(sum(run.found for run in hidden), sum(run.planted for run in hidden))
    table.add_row("all with something to find", str(len(hidden)), found, _share(_false(hidden), len(hidden)), "")
    table.add_row("all with nothing to find", str(len(clean)), "", _share(_false(clean), len(clean)), "")
    return table


def _false(runs: list[Outcome]) -> int:
    return sum(run.invented > 0 for run in runs)


@click.command()
@click.option("--runs", default=200, show_default=True, type=click.IntRange(min=1), help="Of each scenario.")
@click.option("--only", default=",".join(DETECTORS), show_default=True, help="The detectors to look at.")
@click.option(
    "--tune", is_flag=True, help="Take the seeds that detectors are improved on, not those that are reported."
)
@click.option(
    "--nothing", is_flag=True, help="Only scenarios with nothing to find: it takes many runs to show a rate near none."
)
def main(runs: int, only: str, tune: bool, nothing: bool) -> None:
    """Print how often each detector is right."""
    console = Console(width=150, highlight=False)
    first = _TUNING_SEED if tune else _REPORT_SEED
    detectors = only.split(",")
    outcomes: dict[str, dict[str, list[Outcome]]] = {detector: {} for detector in detectors}
    with ProcessPoolExecutor() as pool, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reports", total=runs)
        for found in pool.map(partial(_run, detectors, nothing), range(first, first + runs)):
            for detector, name, outcome in found:
                outcomes[detector].setdefault(name, []).append(outcome)
            progress.advance(task)
    for detector in detectors:
        console.print(table_of(detector, outcomes[detector]))


if __name__ == "__main__":
    main()
