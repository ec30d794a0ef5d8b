"""How often the analyzer is right on real traces: workloads with known truth are run, recorded and reported on.

Run as root: .venv/bin/python benchmarks/real.py [--runs 1] [--only processes,disks,mixed] [--keep FOLDER]
"""

import json
import shutil
import signal
import tempfile
from pathlib import Path

import click
from laboratory.real import disks, mixed, processes
from laboratory.real.judging import judged
from laboratory.real.recorded import Laboratory, Recorded, Scenario
from loads import UnavailableError
from rich.console import Console
from truth import Outcome, table_of

from tracekit import open_trace
from tracekit.analyze import analyze
from tracekit.analyze.results import Report

_TRIES = 5
GROUPS: dict[str, dict[str, Scenario]] = {
    "processes": processes.SCENARIOS,
    "disks": disks.SCENARIOS,
    "mixed": mixed.SCENARIOS,
}


def _run(
    scenario: Scenario, seed: int, seconds: float, keep: Path | None, tries: int = _TRIES
) -> tuple[Outcome, Report]:
    """A scenario, on a real disk, in a folder that is gone afterwards; so often, until the kernel shows every I/O."""
    with tempfile.TemporaryDirectory(prefix="tracekit-real-", dir="/var/tmp") as folder:
        recorded = scenario(Laboratory(Path(folder), seed, seconds=seconds))
        if recorded.has_every_io or tries == 1:
            if keep is not None:
                _keep(recorded, keep)
            report = analyze(open_trace(recorded.trace))
            return judged(recorded.truth, report), report
    return _run(scenario, seed, seconds, keep, tries - 1)


def _keep(recorded: Recorded, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(recorded.trace, path)
    path.with_suffix(".truth.json").write_text(json.dumps(recorded.truth, indent=1, sort_keys=True))


def _is_right(outcome: Outcome) -> bool:
    return outcome.found == outcome.planted and not outcome.invented


@click.command()
@click.option("--runs", default=1, show_default=True, type=click.IntRange(min=1), help="Of each scenario.")
@click.option("--seconds", default=15.0, show_default=True, type=click.FloatRange(min=5), help="Of a run, about.")
@click.option("--only", default=",".join(GROUPS), show_default=True, help="The groups of scenarios to run.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep traces and their truth here.")
def main(runs: int, seconds: float, only: str, keep: Path | None) -> None:
    """Print how often reports of real workloads are right, and what those say that are not."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left of a disk
    console = Console(width=150, highlight=False)
    wrong: list[str] = []
    for group in only.split(","):
        outcomes: dict[str, list[Outcome]] = {}
        for number, (name, scenario) in enumerate(GROUPS[group].items()):
            for seed in range(1, runs + 1):
                path = keep / f"{group}-{number}-{seed}.parquet" if keep is not None else None
                try:
                    outcome, report = _run(scenario, seed, seconds, path)
                except UnavailableError as error:
                    wrong.append(f"{name}: left out: {error}")
                    break
                outcomes.setdefault(name, []).append(outcome)
                if not _is_right(outcome):
                    told = "; ".join(one.title for one in report.findings) or "nothing"
                    wrong.append(f"{name}, run {seed}: {outcome.found} of {outcome.planted} found. The report: {told}")
        console.print(table_of(group, outcomes))
    for line in wrong:
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
