"""Opens that fail; several things at once; and a machine with nothing to find."""

from typing import Any

from laboratory.real.disk import modes, sleeping_disk
from laboratory.real.disks import client, truth_of_disk, two_modes
from laboratory.real.processes import EVENTS, job, others, rhythm
from laboratory.real.recorded import Command, Laboratory, Recorded, Scenario

_PLUGINS = ",".join(f"plugin-{name}.so" for name in ("auth", "cache", "codec", "proxy", "queue"))


def poller(lab: Laboratory, rounds: int) -> Command:
    """A program that tries one path again and again."""
    return lab.program("poller", "search", lab.seed, rounds, 0.002, "poller.conf", lab.folder)


def searcher(lab: Laboratory, rounds: int) -> Command:
    """A program that looks for each of five files in each of six folders."""
    folders = [lab.folder / f"search-{number}" for number in range(6)]
    return lab.program("searcher", "search", lab.seed, rounds, 0.02, _PLUGINS, *folders)


def storm(lab: Laboratory, opens: int) -> Command:
    """A program that tries one path without any pause."""
    return lab.program("storm", "search", lab.seed, opens, 0, "storm.conf", lab.folder)


def failing(lab: Laboratory, name: str) -> dict[str, Any]:
    """What a program looked for in vain, as it noted itself."""
    (note,) = lab.notes(name)
    return {"comm": name, "errno": "ENOENT", **note}


def failing_opens(lab: Laboratory) -> Recorded:
    trace = lab.record(lab.together(poller(lab, 2000), searcher(lab, 100)), EVENTS)
    return Recorded(trace, {"failing_opens": [failing(lab, "poller"), failing(lab, "searcher")]})


def storm_of_opens(lab: Laboratory) -> Recorded:
    trace = lab.record(storm(lab, 50_000), EVENTS)
    return Recorded(trace, {"failing_opens": [failing(lab, "storm")]})


def search_along_folders(lab: Laboratory) -> Recorded:
    trace = lab.record(searcher(lab, 100), EVENTS)
    return Recorded(trace, {"failing_opens": [failing(lab, "searcher")]})


def nothing_to_find(lab: Laboratory) -> Recorded:
    """Programs, opens and I/O at chance times, and the disk has one mode."""
    files = [lab.folder / f"file-{number}" for number in range(12)]
    for number, file in enumerate(files):
        file.write_bytes(bytes(100 * (number + 1)))
    count = round(100 * lab.seconds)
    with sleeping_disk(lab.folder, modes(lab.chance, count, {"usual": (4.0, 1.0)}, spread=0.25)) as disk:
        reader = lab.program("reader", "read_files", lab.seconds, lab.seed, 0.01, *files)
        trace = lab.record(lab.together(others(lab, 0.1), reader, client(lab, disk, count, 0.036)), disk.recorded)
    return Recorded(trace, truth_of_disk(disk, "usual") | {"patterns": [], "failing_opens": []})


def several_at_once(lab: Laboratory) -> Recorded:
    """A job by a clock, a disk with two modes and a stall, and a path that is missing, with others beside them."""
    count = round(200 * lab.seconds)
    with sleeping_disk(lab.folder, two_modes(lab, count)) as disk:
        commands = [job(lab), others(lab, 0.5), client(lab, disk, count, 0.008), poller(lab, round(150 * lab.seconds))]
        trace = lab.record(lab.together(*commands), disk.recorded)
    truth = truth_of_disk(disk, "fast", "slow")
    truth["patterns"] = [rhythm(lab, "scheduler", clock=True)]
    return Recorded(trace, truth | {"failing_opens": [failing(lab, "poller")]})


#: By name: what runs, and what is recorded of it.
SCENARIOS: dict[str, Scenario] = {
    "one path again and again, and a search": failing_opens,
    "a storm of failing opens": storm_of_opens,
    "a search along folders": search_along_folders,
    "nothing to find": nothing_to_find,
    "several things at once": several_at_once,
}
