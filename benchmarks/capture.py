"""What recording costs: tracekit, `perf record` and bpftrace in turn, over the same workloads. See README.md here."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import click
from loads import Execs, Load, Opens, Reads, UnavailableError, compiled, loop_device
from machine import Others, Patience
from recorders import Bpftrace, Perf, Recorded, Recorder, Tracekit
from rich.console import Console
from rich.table import Table

STEPS = ("opens", "missing", "execs", "block", "idle", "long")
_MB = 1_000_000
# A run during which others used more of a CPU than this is made again, while there is patience.
_DISTURBED_PERCENT = 10


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds of each comparison, seconds of each run, and how many starts are timed."""

    rounds: dict[str, int]
    seconds: dict[str, float]
    starts: int


FULL = Plan(
    rounds={"opens": 5, "missing": 3, "execs": 3, "block": 3},
    seconds={"opens": 3, "missing": 3, "execs": 4, "block": 12, "idle": 20, "long": 60},
    starts=7,
)
QUICK = Plan(
    rounds={"opens": 1, "missing": 1, "execs": 1, "block": 1},
    seconds={"opens": 1, "missing": 1, "execs": 1, "block": 1, "idle": 3, "long": 5},
    starts=3,
)

_NOTHING = Recorded(0, 0, 0)


@dataclass(frozen=True)
class Run:
    """One run of a workload.

    Attributes:
        recorder: that recorded it; None: untraced.
        operations: that the workload did.
        ns: that each took, as the workload says.
        recorded: what is in the recorder's file.
        cpu_s: processor time of the recorder, from its start until its file was there.
        peak_bytes: of its memory beside the rings.
        start_s: from its start until it recorded.
        stop_s: from the end of the recording until its file was there.
        others_percent: of a CPU, that processes used that have nothing to do with this.
    """

    recorder: str | None
    operations: int
    ns: float
    recorded: Recorded = _NOTHING
    cpu_s: float = 0
    peak_bytes: int = 0
    start_s: float = 0
    stop_s: float = 0
    others_percent: float = 0

    @property
    def kept(self) -> float:
        """Operations that are in the file: all but the lost part."""
        return self.operations * self.recorded.entries / max(self.recorded.entries + self.recorded.lost, 1)

    @property
    def cpu_ns(self) -> float:
        """Of the recorder, for each operation that it kept."""
        return self.cpu_s * 1e9 / max(self.kept, 1)

    @property
    def bytes(self) -> float:
        """Of the file, for each operation that it kept."""
        return self.recorded.bytes / max(self.kept, 1)

    @property
    def cpu_ns_per_entry(self) -> float:
        """Of the recorder, for each entry of its file."""
        return self.cpu_s * 1e9 / max(self.recorded.entries, 1)

    @property
    def bytes_per_entry(self) -> float:
        """Of the file, for each of its entries."""
        return self.recorded.bytes / max(self.recorded.entries, 1)


@dataclass(frozen=True)
class Compared:
    """The runs of one workload: rounds of one run untraced and one with each recorder, and why one has none."""

    title: str
    operation: str
    rounds: list[dict[str | None, Run]]
    failures: dict[str, str]

    def of(self, recorder: str | None) -> list[Run]:
        """The runs of one recorder."""
        return [runs[recorder] for runs in self.rounds if recorder in runs]

    def added_ns(self, recorder: str) -> list[float]:
        """To each operation, over the untraced run of the same round."""
        return [runs[recorder].ns - runs[None].ns for runs in self.rounds if recorder in runs]

    def over_perf(self) -> list[float]:
        """What tracekit adds over what perf adds, round by round; none where noise hides what perf adds."""
        both = [runs for runs in self.rounds if {"tracekit", "perf record"} <= runs.keys()]
        added = [(runs["tracekit"].ns - runs[None].ns, runs["perf record"].ns - runs[None].ns) for runs in both]
        return [tracekit / perf for tracekit, perf in added] if all(perf > 0 for _, perf in added) else []


@dataclass(frozen=True)
class Idle:
    """tracekit where nothing happens.

    Attributes:
        cpu_percent: of one CPU, while it records.
        peak_bytes: of its memory beside the rings.
        start_s: from the command to recording, of some starts.
        cpu_s: processor time of each of these recordings, of nothing.
        others_percent: of a CPU, that processes used that have nothing to do with this.
    """

    cpu_percent: float
    peak_bytes: int
    start_s: list[float]
    cpu_s: list[float]
    others_percent: float


@dataclass
class Results:
    """Everything that was measured."""

    compared: dict[str, Compared] = field(default_factory=dict)
    long: Run | None = None
    idle: Idle | None = None


class Bench:
    """Measures.

    Args:
        plan: how much.
        folder: for programs and traces; on a disk.
        patience: with others who use the machine.
        say: shows a line of progress.
    """

    def __init__(self, plan: Plan, folder: Path, patience: Patience, say: Callable[[str], None]) -> None:
        self._plan, self._folder, self._patience, self._say = plan, folder, patience, say
        self._tracekit = Tracekit()

    def compare(self, step: str, load: Load) -> Compared:
        """Rounds of a workload, untraced and with each recorder in turn."""
        seconds = self._plan.seconds[step]
        recorders: list[Recorder] = [self._tracekit, Perf(compiled("perfdata", self._folder)), Bpftrace()]
        failures = {recorder.name: why for recorder in recorders if (why := recorder.missing())}
        result = Compared(load.title, load.operation, [], failures)
        rounds = self._plan.rounds[step]
        for number in range(rounds):
            self._say(f"{load.title}: round {number + 1} of {rounds}")
            runs: dict[str | None, Run] = {None: self._undisturbed(partial(_untraced, load, seconds))}
            for recorder in recorders:
                if recorder.name in failures:
                    continue
                try:
                    runs[recorder.name] = self._undisturbed(partial(self._record, recorder, load, seconds))
                except UnavailableError as error:
                    failures[recorder.name] = str(error)
            result.rounds.append(runs)
        return result

    def long(self, load: Load) -> Run:
        """tracekit alone, for long."""
        seconds = self._plan.seconds["long"]
        self._say(f"{load.title}: {seconds:g} s without a pause")
        return self._undisturbed(partial(self._record, self._tracekit, load, seconds))

    def idle(self) -> Idle:
        """tracekit alone, with nothing to record."""
        self._say("idle, and how long a start takes")
        starts, cpus = zip(*(self._start() for _ in range(self._plan.starts)), strict=True)
        self._patience.wait_until_quiet()
        others = Others()
        # To look at the recorder is something to record, so this is done rarely.
        with self._tracekit.start_families("process,block,open", self._folder / "trace", 2) as running:
            self._tracekit.await_recording(running)
            time.sleep(1)
            before, since = running.cpu_so_far_s(), time.monotonic()
            time.sleep(self._plan.seconds["idle"])
            percent = 100 * (running.cpu_so_far_s() - before) / (time.monotonic() - since)
            running.stop()
            return Idle(percent, running.peak_bytes, list(starts), list(cpus), others.percent())

    def _start(self) -> tuple[float, float]:
        """Seconds from the command to recording, and of processor time until the empty file is there."""
        self._patience.wait_until_quiet()
        with self._tracekit.start_families("process,block,open", self._folder / "trace") as running:
            self._tracekit.await_recording(running)
            start_s = time.monotonic() - running.started
            running.stop()
            return start_s, running.cpu_s

    def _undisturbed(self, measure: Callable[[], Run]) -> Run:
        """Measure while nothing else runs; the best of some tries where something does."""
        tries: list[Run] = []
        while True:
            self._patience.wait_until_quiet()
            begun = time.monotonic()
            tries.append(measure())
            if tries[-1].others_percent < _DISTURBED_PERCENT or self._patience.left_s <= 0:
                return min(tries, key=lambda run: run.others_percent)
            self._patience.spend(time.monotonic() - begun)

    def _record(self, recorder: Recorder, load: Load, seconds: float) -> Run:
        output = self._folder / "trace"
        others = Others()
        with recorder.start(load, output) as running:
            recorder.await_recording(running, load)
            start_s = time.monotonic() - running.started
            done = load.run(seconds)
            running.stop()
            others_percent = others.percent()
            return Run(
                recorder=recorder.name,
                operations=done.operations,
                ns=done.ns_per_operation,
                recorded=recorder.read(load, output),
                cpu_s=running.cpu_s,
                peak_bytes=running.peak_bytes,
                start_s=start_s,
                stop_s=running.stop_s,
                others_percent=others_percent,
            )


def _untraced(load: Load, seconds: float) -> Run:
    others = Others()
    done = load.run(seconds)
    return Run(None, done.operations, done.ns_per_operation, others_percent=others.percent())


def _measure(steps: Sequence[str], bench: Bench, folder: Path, cpu: int, say: Callable[[str], None]) -> Results:
    """All that was chosen."""
    results = Results()
    programs = compiled("workloads", folder)
    there = folder / "there"
    there.touch()
    opens = Opens(programs, there, "opens of a file", cpu)
    simple = {
        "opens": opens,
        "missing": Opens(programs, folder / "missing", "opens of a file that is missing", cpu),
        "execs": Execs(programs, cpu),
    }
    for step in steps:
        try:
            if step == "long":
                results.long = bench.long(opens)
            elif step == "idle":
                results.idle = bench.idle()
            elif step == "block":
                with tempfile.TemporaryDirectory(dir=_memory_folder()) as name, loop_device(Path(name)) as device:
                    results.compared[step] = bench.compare(step, Reads(device, cpu))
            else:
                results.compared[step] = bench.compare(step, simple[step])
        except UnavailableError as error:
            say(f"{step}: {error}")
    return results


def _memory_folder() -> str | None:
    """A file system in memory, so that the disk's own speed does not matter; None: there is none."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _spread(values: Sequence[float], show: str = "{:,.0f}") -> str:
    """Median, and least and most."""
    if not values:
        return "?"
    middle = show.format(median(values))
    return middle if len(values) == 1 else f"{middle} ({show.format(min(values))}..{show.format(max(values))})"


def _comparison(compared: Compared) -> Table:
    one = compared.operation
    table = _table(
        f"{compared.title}: median (least..most) of {len(compared.rounds)}",
        ("", f"ns per {one}", "ns added", "lost", f"CPU ns per {one}", f"bytes per {one}", "most memory MB", "start s"),
    )
    untraced = compared.of(None)
    table.add_row("untraced", _spread([run.ns for run in untraced]))
    for name in ("tracekit", "perf record", "bpftrace"):
        runs = compared.of(name)
        if name in compared.failures:
            continue
        table.add_row(
            name,
            _spread([run.ns for run in runs]),
            _spread(compared.added_ns(name)),
            _lost(runs),
            _spread([run.cpu_ns for run in runs]),
            f"{median(run.bytes for run in runs):,.1f}",
            f"{max(run.peak_bytes for run in runs) / _MB:,.0f}",
            _spread([run.start_s for run in runs], "{:.2f}"),
        )
    return table


def _lost(runs: Sequence[Run]) -> str:
    lost, entries = sum(run.recorded.lost for run in runs), sum(run.recorded.entries for run in runs)
    return "0" if not lost else f"{lost:,} ({100 * lost / (lost + entries):.1f} %)"


def _targets(results: Results) -> Table:
    table = _table("Targets", ("target", "wanted", "measured", "reached?"))
    for name, wanted, measured, reached in _judged(results):
        table.add_row(name, wanted, measured, "yes" if reached else "NO")
    return table


def _judged(results: Results) -> list[tuple[str, str, str, bool]]:
    """Each target that was measured: name, what is wanted, what was found, and whether that is enough."""
    rows: list[tuple[str, str, str, bool]] = []
    runs = {step: compared.of("tracekit") for step, compared in results.compared.items()}
    opens, blocks = runs.get("opens", []), runs.get("block", [])

    def at_most(name: str, limit: float, values: Sequence[float], unit: str, show: str = "{:,.0f}") -> None:
        if values:
            rows.append((name, f"<= {limit:g} {unit}".strip(), _spread(values, show), median(values) <= limit))

    if (long := results.long) is not None:
        rate = f"{long.operations:,} opens in {long.operations * long.ns / 1e9:.0f} s, {1e9 / long.ns:,.0f} a second"
        rows.append((f"lost of {rate}", "0", f"{long.recorded.lost:,}", long.recorded.lost == 0))
        at_most("recorder's CPU, in these", 500, [long.cpu_ns], "ns an open")
        at_most("file, of these", 10, [long.bytes], "bytes an open", "{:.1f}")
    if "opens" in results.compared:
        at_most("added to an open, over what perf adds", 0.6, results.compared["opens"].over_perf(), "", "{:.2f}")
    at_most("recorder's CPU", 500, [run.cpu_ns for run in opens], "ns an open")
    at_most("file", 10, [run.bytes for run in opens], "bytes an open", "{:.1f}")
    at_most("recorder's CPU", 200, [run.cpu_ns_per_entry for run in blocks], "ns a block event")
    at_most("file", 6.5, [run.bytes_per_entry for run in blocks], "bytes a block event", "{:.1f}")
    everything = [run for some in runs.values() for run in some] + ([long] if long is not None else [])
    peaks = [run.peak_bytes / _MB for run in everything]
    if (idle := results.idle) is not None:
        at_most("from the command to recording", 0.5, idle.start_s, "s", "{:.2f}")
        at_most("CPU on an idle machine", 0.5, [idle.cpu_percent], "% of one CPU", "{:.2f}")
        peaks.append(idle.peak_bytes / _MB)
    at_most("most memory beside the rings, in all of this", 150, [max(peaks)] if peaks else [], "MB")
    return rows


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _facts() -> str:
    """The machine and the tools, without any name of them."""
    tools = [f"{tool} {_version(tool)}" for tool in ("perf", "bpftrace", "fio") if shutil.which(tool)]
    kernel = platform.release().partition("-")[0]
    return ", ".join([f"{os.cpu_count()} CPUs ({platform.machine()})", f"Linux {kernel}", *tools])


def _version(tool: str) -> str:
    said = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return said[-1].removeprefix(f"{tool}-") if said else "?"


def _show(results: Results, console: Console) -> None:
    for compared in results.compared.values():
        console.print(_comparison(compared))
        for name, why in compared.failures.items():
            console.print(f"{name}: {why}")
        if ratios := compared.over_perf():
            console.print(f"tracekit adds {_spread(ratios, '{:.2f}')} times what perf adds.")
        console.print()
    if (long := results.long) is not None:
        console.print(
            f"Long run: {long.operations:,} opens, {long.ns:,.0f} ns each; CPU {long.cpu_ns:,.0f} ns and "
            f"{long.bytes:.1f} bytes an open; memory {long.peak_bytes / _MB:.0f} MB; "
            f"the file was there {long.stop_s:.1f} s after the end.\n"
        )
    if (idle := results.idle) is not None:
        console.print(
            f"Idle: {idle.cpu_percent:.2f} % of a CPU; memory {idle.peak_bytes / _MB:.0f} MB; "
            f"records after {_spread(idle.start_s, '{:.2f}')} s; "
            f"to record nothing takes {_spread(idle.cpu_s, '{:.2f}')} s of CPU.\n"
        )
    console.print(_targets(results))
    for step, percent in _disturbances(results).items():
        if percent >= _DISTURBED_PERCENT:
            console.print(f"NOTE: other processes used up to {percent:.0f} % of a CPU during {step}: measure it again.")


def _disturbances(results: Results) -> dict[str, float]:
    """The most that others used of a CPU, in percent, while each step was measured."""
    found = {
        step: max(run.others_percent for runs in compared.rounds for run in runs.values())
        for step, compared in results.compared.items()
    }
    alone = {"idle": results.idle, "long": results.long}
    return found | {step: result.others_percent for step, result in alone.items() if result is not None}


def _split_cpus() -> int:
    """Keep this process and all recorders off the workload's CPU; the number of that one."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise click.ClickException("this takes two CPUs: one for the workload and one for the recorder")
    os.sched_setaffinity(0, cpus[1:2])
    return cpus[0]


def _chosen(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    if unknown := [name for name in names if name not in STEPS]:
        raise click.BadParameter(f"no step {unknown[0]!r}: there are {', '.join(STEPS)}")
    return names


@click.command()
@click.option("--quick", is_flag=True, help="About a minute in all, to try it; the figures mean little.")
@click.option("--only", default=",".join(STEPS), show_default=True, callback=_chosen, help="The steps to run.")
@click.option("--patience", default=120, show_default=True, help="Seconds to lose to others who use this machine.")
@click.option("--json", "raw", type=click.Path(path_type=Path), help="Write every figure of every run to this file.")
def main(quick: bool, only: tuple[str, ...], patience: float, raw: Path | None) -> None:
    """Measure what recording costs: tracekit, perf record and bpftrace side by side."""
    if os.geteuid() != 0:
        raise click.ClickException("recording takes root: run this with sudo")
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(128 + received))
    console = Console(width=160, highlight=False)
    facts = _facts()
    cpu = _split_cpus()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tracekit-bench-")))
        bench = Bench(QUICK if quick else FULL, folder, Patience(0 if quick else patience), _progress)
        results = _measure(only, bench, folder, cpu, _progress)
    console.print(f"{facts}\nThe workload has one CPU, the recorders another.\n")
    _show(results, console)
    if raw is not None:
        raw.write_text(json.dumps({"facts": facts, **asdict(results)}, indent=1))


def _progress(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
