"""Processes that are started to a rhythm, and without one."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from loads import UnavailableError

from laboratory.real.recorded import Command, Laboratory, Recorded, Scenario
from laboratory.rhythms import truth_of

SERVICE_PAUSE_S, JOB_PERIOD_S, CRON_PERIOD_S = 1.0, 0.7, 2.0
#: Of what the truth is known: not of the disk that the programs are on.
EVENTS = ("--events", "process,open")
_SERVICE = ("true", "uname", "sleep 0.01..0.06", "false")
_JOB = ("true", "uname", "sleep 0.02..0.3")
#: Programs that open nothing that is missing.
_OTHERS = ("true", "uname", "id -u", "sleep 0.001..0.1")


def service(lab: Laboratory) -> Command:
    """A service that takes some time to fail, and is started again after a pause."""
    return [*lab.program("supervise", "respawn", lab.seconds, lab.seed, SERVICE_PAUSE_S), *_SERVICE]


def job(lab: Laboratory) -> Command:
    """A job of several programs at multiples of a period, however long it takes."""
    return [*lab.program("scheduler", "by_clock", lab.seconds, lab.seed, JOB_PERIOD_S), *_JOB]


def others(lab: Laboratory, mean_s: float) -> Command:
    """Programs after exponentially distributed pauses."""
    return [*lab.program("people", "at_chance", lab.seconds, lab.seed, mean_s), *_OTHERS]


def rhythm(lab: Laboratory, name: str, *, clock: bool) -> dict[str, Any]:
    """The pattern in a program's starts of others, as it noted them itself."""
    return truth_of([np.array(note["starts_ns"]) for note in lab.notes(name)], "exec", clock)


def respawning(lab: Laboratory) -> Recorded:
    trace = lab.record(service(lab), EVENTS)
    return Recorded(trace, {"patterns": [rhythm(lab, "supervise", clock=False)]})


def respawning_beside_others(lab: Laboratory) -> Recorded:
    trace = lab.record(lab.together(service(lab), others(lab, 0.2)), EVENTS)
    return Recorded(trace, {"patterns": [rhythm(lab, "supervise", clock=False)]})


def by_a_clock(lab: Laboratory) -> Recorded:
    trace = lab.record(job(lab), EVENTS)
    return Recorded(trace, {"patterns": [rhythm(lab, "scheduler", clock=True)]})


def like_cron(lab: Laboratory) -> Recorded:
    cron = lab.program("cron", "by_clock", lab.seconds, lab.seed, CRON_PERIOD_S)
    trace = lab.record(lab.together([*cron, "sleep 0.01..0.8"], others(lab, 0.5)), EVENTS)
    return Recorded(trace, {"patterns": [rhythm(lab, "cron", clock=True)]})


def chance_forks(lab: Laboratory) -> Recorded:
    return Recorded(lab.record(others(lab, 0.1), EVENTS), {"patterns": []})


def parallel_build(lab: Laboratory) -> Recorded:
    sources = lab.folder / "build"
    sources.mkdir()
    _write_sources(sources, lab.chance, round(8 * lab.seconds))
    return Recorded(lab.record([_needed("make"), "-s", "-j4", "-C", str(sources)], EVENTS), {"patterns": []})


def _write_sources(folder: Path, chance: np.random.Generator, files: int) -> None:
    """So many C files of all sizes, and how they become a library."""
    for number in range(files):
        functions = range(round(float(chance.lognormal(3, 1))))
        lines = [f"int f{number}_{one}(int x) {{ return x * {one} + {number}; }}" for one in functions]
        (folder / f"part{number}.c").write_text("\n".join(lines))
    objects = " ".join(f"part{number}.o" for number in range(files))
    compiler = _needed("cc", "clang")
    rules = [f"all: {objects}", "%.o: %.c", f"\t{compiler} -O2 -c -o $@ $<", "\tcp $@ $*.copy"]
    (folder / "Makefile").write_text("\n".join(rules) + "\n")


def _needed(*programs: str) -> str:
    """The first of these programs that is installed."""
    found = [path for program in programs if (path := shutil.which(program)) is not None]
    if not found:
        raise UnavailableError(f"{programs[-1]} is not installed")
    return found[0]


#: By name: what runs, and what is recorded of it.
SCENARIOS: dict[str, Scenario] = {
    "a service that respawns": respawning,
    "the same, 5/s of others": respawning_beside_others,
    "bursts by a clock": by_a_clock,
    "single starts by a clock, 2/s of others": like_cron,
    "forks at chance times": chance_forks,
    "a parallel build": parallel_build,
}
