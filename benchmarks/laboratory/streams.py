"""Several rhythms at once, rhythms in opens and block I/O, steady rates; and the same without a rhythm."""

from collections.abc import Callable

import numpy as np

from laboratory.recording import MS_NS, SECOND_NS, Ints, Recording
from laboratory.rhythms import Beat, Chance, build_times, truth_of, wandering_times

_INIT = 1
Strangers = list[tuple[str, float]]


def _machine(seconds: float) -> Recording:
    recording = Recording(round(seconds * SECOND_NS), truth={"patterns": [], "steady": []})
    recording.running(_INIT, 0, "init")
    return recording


def _rounds(recording: Recording, beat: Beat, chance: Chance, span: tuple[float, float] = (0.0, 1.0)) -> list[Ints]:
    low, high = (share * recording.duration_ns for share in span)
    rounds = beat.times(chance, low + chance.uniform(0, 1) * beat.period_ns, high)
    return [one for one in rounds if one[0] >= 0 and one[-1] < recording.duration_ns]


def _at_chance(recording: Recording, chance: Chance, rate: float) -> Ints:
    count = chance.poisson(rate * recording.duration_ns / SECOND_NS)
    return chance.uniform(0, recording.duration_ns, count).astype(np.int64)


def _starts(recording: Recording, at: Ints, comm: str, ppid: int, cgroup: str | None = None, life_ns: int = 0) -> None:
    """Processes that start, and end after a time."""
    pid = recording.pids(len(at))
    who = {"pid": pid, "tid": pid, "ppid": ppid, "cgroup": cgroup}
    recording.add("process", "fork", at, comm="sh", **who)
    recording.add("process", "exec", at + 150_000, comm=comm, path=f"/usr/bin/{comm}", argv=[comm], **who)
    recording.add("process", "exit", at + max(life_ns, 500_000), comm=comm, exit_code=0, exit_signal=0, **who)


def _open(recording: Recording, at: Ints, comm: str, path: str) -> None:
    recording.opens(at, np.full(len(at), 3_000), comm, path)


def _write(recording: Recording, at: Ints, comm: str, disk: str = "sda") -> None:
    """Writes that each have a request of their own."""
    number = recording.pids(len(at))
    place = {"dev": 8 << 20 | (disk == "sdb"), "disk": disk, "request": number, "sector": number * 8, "bytes": 4096}
    place["op"] = "write"
    recording.add("block", "block_start", at, comm=comm, pid=900, tid=900, **place)
    recording.add("block", "block_issue", at + 5_000, comm=comm, pid=900, tid=900, **place)
    recording.add("block", "block_complete", at + 90_000, comm="swapper/0", pid=0, tid=0, ret=0, **place)


def _events(recording: Recording, event: str, at: Ints, comm: str, where: str) -> None:
    """Opens of a path or writes to a disk."""
    if event == "open":
        _open(recording, at, comm, where)
    else:
        _write(recording, at, comm, where)


def _plant(recording: Recording, event: str, rounds: list[Ints], clock: bool) -> Ints:
    recording.truth["patterns"].append(truth_of(rounds, event, clock))
    return np.concatenate(rounds)


def _strangers(
    recording: Recording, event: str, chance: Chance, strangers: Strangers, where: str, beside: float = 0
) -> None:
    """Commands that do the same at chance times, each at a constant rate; so what all do is nearly constant, too."""
    for comm, rate in strangers:
        _events(recording, event, _at_chance(recording, chance, rate), comm, where)
    rates = [rate for _, rate in strangers]
    beats = [
        one["cycles"] * one["burst_size"] / recording.duration_ns * SECOND_NS for one in recording.truth["patterns"]
    ]
    rates += [sum(rates), sum(rates) + beside + sum(beats)]
    recording.truth["steady"] += [{"event": event, "rate_per_second": rate} for rate in dict.fromkeys(rates)]


def _several_services(chance: Chance, count: int) -> Recording:
    """Services with periods of their own, each with its parent; the last one is told apart by its cgroup alone."""
    recording = _machine(30)
    for number in range(count):
        size, period = int(chance.integers(3, 30)), np.exp(chance.uniform(np.log(0.4), np.log(2.5)))
        beat = Beat(period * SECOND_NS, size, chance.uniform(0.01, 0.1) * period * SECOND_NS)
        rounds = _rounds(recording, beat, chance)
        at = _plant(recording, "exec", rounds, clock=False)
        if number == count - 1:
            _starts(recording, at, "task", _INIT, f"/system.slice/svc{number}.service")
        else:
            parent = recording.running(100 + number, _INIT, f"supervise{number}")
            _starts(recording, at, "attempt", parent, "/system.slice/other.service")
    return recording


def _loop_of_four(chance: Chance) -> Recording:
    """a; b; c; d; sleep, over and over: each takes a time of its own, which varies from round to round."""
    recording = _machine(60)
    shell = recording.running(100, _INIT, "bash")
    usual, at, rounds = np.exp(chance.uniform(np.log(0.003), np.log(0.4), 4)), chance.uniform(0, 1), []
    pause = chance.uniform(1, 2)
    while at < 58:
        lives = np.append(usual * chance.gamma(100, 0.01, 4), pause)
        rounds.append(((at + np.cumsum(np.append(0, lives[:-1]))) * SECOND_NS).astype(np.int64))
        at += lives.sum() + 0.002
    _plant(recording, "exec", rounds, clock=False)
    for place, comm in enumerate(("alpha", "beta", "gamma", "delta", "sleep")):
        _starts(recording, np.array([one[place] for one in rounds]), comm, shell)
    return recording


def _in_a_stream(chance: Chance, event: str, beat: Beat, strangers: Strangers, beside: float = 0.0) -> Recording:
    """One command to a beat; others, and itself, at chance times."""
    recording = _machine(30)
    own, other = ("/var/lib/app/state", "/etc/motd") if event == "open" else ("sda", "sda")
    rounds = _rounds(recording, beat, chance)
    noise = _at_chance(recording, chance, beside)
    _events(recording, event, np.concatenate((_plant(recording, event, rounds, beat.clock), noise)), "app", own)
    _strangers(recording, event, chance, strangers, other, beside)
    return recording


def _uneven_round(chance: Chance, strangers: Strangers) -> Recording:
    """A command that opens a few files, one after another at uneven distances, and again."""
    recording = _machine(30)
    count, period = int(chance.integers(2, 7)), chance.uniform(0.5, 2)
    after = np.sort(chance.uniform(0, 0.8, count)) * period
    begin = np.cumsum(period * chance.normal(1, 0.01, int(30 / period) + 2)) - chance.uniform(0, 1)
    at = ((begin[:, None] + after + chance.normal(0, 0.004 * period, (len(begin), count))) * SECOND_NS).astype(np.int64)
    at = at[(at.min(axis=1) >= 0) & (at.max(axis=1) < recording.duration_ns)]
    for number in range(count):
        _open(recording, at[:, number], "app", f"/run/app/{number}")
    _plant(recording, "open", list(np.sort(at, axis=1)), clock=False)
    _strangers(recording, "open", chance, strangers, "/etc/motd")
    del recording.truth["patterns"][0]["pause_ns"]  # of two long distances either may be told as the pause
    return recording


def _in_one_command(chance: Chance, beat: Beat, beside: float) -> Recording:
    """Opens of one command, to a beat and at chance times, which differ by their path alone."""
    recording = _machine(30)
    _open(recording, _plant(recording, "open", _rounds(recording, beat, chance), beat.clock), "app", "/run/app/tick")
    _strangers(recording, "open", chance, [("app", beside)], "/run/app/data")
    return recording


def _files_of_a_service(chance: Chance, strangers: Strangers) -> Recording:
    """Programs that are started again and again at uneven distances, and of which each opens the same files.

    They open others, too, at chance times: what is in step with their starts is each of the files alone.
    """
    recording, beat = _machine(15), Beat(chance.uniform(0.7, 1.5) * SECOND_NS, 20, 0.1 * SECOND_NS, jitter=0.06)
    rounds = _rounds(recording, beat, chance)
    at = _plant(recording, "exec", rounds, clock=False)
    supervisor = recording.running(100, _INIT, "supervise")
    for number, comm in enumerate(("id", "date", "uname", "mkdir")):
        mine = at[number::4]
        _starts(recording, mine, comm, supervisor)
        for place in range(8):
            _open(recording, mine + 600_000 + 40_000 * place, comm, f"/lib/locale/{place}")
        _strangers(recording, "open", chance, [(comm, chance.uniform(20, 60))], "/var/lib/data")
    _strangers(recording, "open", chance, strangers, "/etc/motd")
    return recording


def _a_steady_rate(chance: Chance, event: str) -> Recording:
    """One command at a nearly equal rate, with others that are few and come in bursts at chance times."""
    recording, rate = _machine(30), float(np.exp(chance.uniform(np.log(30), np.log(500))))
    times_s = np.cumsum(chance.gamma(4, 1 / (4 * rate), int(30 * rate * 1.2)))
    at = (times_s[times_s < 30] * SECOND_NS).astype(np.int64)
    _events(recording, event, at, "app", "sda" if event == "block_start" else "/run/app/data")
    steady = {
        "event": event,
        "kind": "steady",
        "rate_per_second": len(at) / 30,
        "start_ns": 0,
        "end_ns": 30 * SECOND_NS,
    }
    recording.truth["patterns"].append(steady)
    begins = chance.uniform(0, 30, 5)
    few = np.concatenate([begin + chance.uniform(0, 0.05, int(rate / 2)) for begin in begins]) * SECOND_NS
    _events(recording, event, few.astype(np.int64), "other", "sdb" if event == "block_start" else "/etc/motd")
    return recording


def with_rhythm(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """Scenarios in which something is planted, by their names."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(chance.uniform(np.log(low), np.log(high))))

    period = log_uniform(0.4, 2) * SECOND_NS
    flush = Beat(period, int(chance.integers(8, 60)), chance.uniform(0.01, 0.1) * period)
    poll = Beat(period, clock=True, jitter=0.004)
    pair = Beat(period, int(chance.integers(2, 5)), 0.005 * period, jitter=0.01)
    quick = Beat(log_uniform(10, 60) * MS_NS, clock=True, jitter=0.02)
    slow = Beat(30 / chance.uniform(3.1, 4.9) * SECOND_NS, int(chance.integers(8, 60)), 0.2 * SECOND_NS)
    many = [(f"other{number}", float(rate)) for number, rate in enumerate(chance.uniform(1, 30, 8))]
    count = int(chance.integers(2, 4))
    slow_rounds = 4 if slow.period_ns * 4.5 > 30 * SECOND_NS else 5
    return {
        "2 or 3 services at once": lambda: _several_services(chance, count),
        "a loop of four programs": lambda: _loop_of_four(chance),
        "a poll among opens of others": lambda: _in_a_stream(chance, "open", poll, many),
        "a poll, by its path alone": lambda: _in_one_command(chance, poll, 40.0),
        "a poll, 1 as often beside it": lambda: _in_a_stream(chance, "open", poll, [], SECOND_NS / period),
        "a poll, 4 as often beside it": lambda: _in_a_stream(chance, "open", poll, [], 4 * SECOND_NS / period),
        "2 to 4 opens, 2 a period beside": lambda: _in_a_stream(chance, "open", pair, [], 2 * SECOND_NS / period),
        "every 10 to 60 ms, 20/s beside": lambda: _in_a_stream(chance, "open", quick, many, 20.0),
        "2 to 6 files in an uneven round": lambda: _uneven_round(chance, many),
        "the files of a service": lambda: _files_of_a_service(chance, many),
        "bursts of writes among others": lambda: _in_a_stream(chance, "block_start", flush, many),
        "bursts of writes, 5/s beside": lambda: _in_a_stream(chance, "block_start", flush, many, 5.0),
        "bursts of writes, 20/s beside": lambda: _in_a_stream(chance, "block_start", flush, many, 20.0),
        "a third to a fifth of it": lambda: _few_rounds(chance, slow, slow_rounds, many),
        "steady opens": lambda: _a_steady_rate(chance, "open"),
        "steady I/O": lambda: _a_steady_rate(chance, "block_start"),
    }


def _few_rounds(chance: Chance, beat: Beat, count: int, strangers: Strangers) -> Recording:
    """The longest periods that fit in, from an early beginning on."""
    recording = _machine(30)
    early = Beat(beat.period_ns, beat.size, beat.burst_ns)
    begin = chance.uniform(0, 1) * max(recording.duration_ns - (count - 0.9) * beat.period_ns, 0)
    rounds = [one for one in early.times(chance, begin, recording.duration_ns) if one[-1] < recording.duration_ns]
    at = _plant(recording, "block_start", rounds, clock=False)
    if len(rounds) < 4:
        recording.truth["patterns"].clear()
    _write(recording, at, "app")
    _strangers(recording, "block_start", chance, strangers, "sda")
    return recording


def _in_turn(chance: Chance) -> Recording:
    """Who goes round some files at uneven steps: the distances of each are alike, by counting."""
    files, rounds = int(chance.integers(4, 21)), int(chance.integers(5, 81))
    at = np.cumsum(chance.gamma(chance.uniform(3, 10), 1, files * rounds))
    recording, at = _machine(20), (at / at[-1] * 20 * SECOND_NS).astype(np.int64) - 1
    for number in range(files):
        _open(recording, at[number::files], "worker", f"/srv/{number}")
    rates = rounds / 20, files * rounds / 20
    recording.truth["steady"] = [{"event": "open", "rate_per_second": rate} for rate in rates]
    return recording


def _fast_pace(chance: Chance) -> Recording:
    """Paced so fast that it is but a rate, among others: each n-th has no rhythm of its own."""
    recording, period = _machine(20), chance.uniform(0.8, 2.2) / 1000
    beats = period * (np.arange(int(20 / period)) + chance.normal(0, chance.uniform(0.01, 0.15), int(20 / period)))
    at = np.sort(np.concatenate((np.abs(beats), chance.uniform(0, 20, chance.poisson(20 * chance.uniform(1, 100))))))
    _write(recording, (at * SECOND_NS).astype(np.int64), "app")
    recording.truth["steady"] = [{"event": "block_start", "rate_per_second": len(at) / 20}]
    return recording


def without_rhythm(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """Scenarios in which there is none, by their names."""

    def stream(event: str, times_s: dict[str, np.ndarray], steady: bool = False) -> Recording:
        recording = _machine(20)
        for comm, at in times_s.items():
            _events(recording, event, (at * SECOND_NS).astype(np.int64), comm, "sda" if event != "open" else f"/{comm}")
        rates = [len(at) / 20 for at in times_s.values()]
        if steady:
            told = {"event": event}
            recording.truth["steady"] = [told | {"rate_per_second": rate} for rate in (*rates, sum(rates))]
        return recording

    def poisson(event: str) -> Recording:
        rates = np.exp(chance.uniform(np.log(1), np.log(300), int(chance.integers(1, 12))))
        times = {f"app{number}": chance.uniform(0, 20, chance.poisson(20 * rate)) for number, rate in enumerate(rates)}
        return stream(event, times, steady=True)

    def walk(event: str) -> Recording:
        return stream(event, {f"app{number}": wandering_times(chance) for number in range(4)})

    def build() -> Recording:
        """Each compiler opens its headers one after another."""
        begins = build_times(chance, 20.0)
        opened = begins[:, None] + np.cumsum(chance.exponential(0.0008, (len(begins), 12)), axis=1)
        return stream("open", {"cc1": opened.ravel(), "make": begins[: len(begins) // 4]})

    def equal_bursts() -> Recording:
        """As many in each burst, at chance times."""
        begins = np.cumsum(chance.exponential(chance.uniform(0.5, 4), 100))
        steps = np.cumsum(chance.gamma(4, 0.0005, (100, int(chance.integers(2, 40)))), axis=1)
        at = (begins[:, None] + steps).ravel()
        return stream("block_start", {"app": at[at < 20]})

    return {
        "opens at chance times": lambda: poisson("open"),
        "I/O at chance times": lambda: poisson("block_start"),
        "opens at a rate that wanders": lambda: walk("open"),
        "I/O at a rate that wanders": lambda: walk("block_start"),
        "a build's opens": build,
        "equal bursts at chance times": equal_bursts,
        "files opened in turn": lambda: _in_turn(chance),
        "I/O at a fast pace": lambda: _fast_pace(chance),
    }
