"""Process starts and opens with a rhythm, and without one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from laboratory.recording import MS_NS, SECOND_NS, Ints, Recording

Chance = np.random.Generator
_SUPERVISOR, _SHELL, _INIT = 123, 50, 1


@dataclass(frozen=True)
class Beat:
    """A rhythm to be planted.

    Attributes:
        period_ns: start of a round to the start of the next.
        size: events of a round.
        burst_ns: from the first to the last of them.
        clock: whether rounds keep the beat of a clock; else each begins some time after the last one has ended.
        jitter: standard deviation of a round's beginning (clock) or of its pause, over the period.
        drift: by how much of it the period has grown at the end.
        missed: share of the rounds that do not take place.
    """

    period_ns: float
    size: int = 1
    burst_ns: float = 0.0
    clock: bool = False
    jitter: float = 0.01
    drift: float = 0.0
    missed: float = 0.0

    def times(self, chance: Chance, begin_ns: float, end_ns: float) -> list[Ints]:
        """The events of each round between two times."""
        rounds, turn, at = [], 0, begin_ns
        while at < end_ns:
            period = self.period_ns * (1 + self.drift * (at - begin_ns) / (end_ns - begin_ns))
            steps = chance.gamma(4, 1, self.size - 1) / 4
            burst = self.burst_ns / max(self.size - 1, 1) * np.concatenate(([0.0], np.cumsum(steps)))
            if chance.uniform() >= self.missed:
                shift = self.jitter * self.period_ns * chance.normal() if self.clock else 0.0
                rounds.append((at + shift + burst).astype(np.int64))
            turn += 1
            at += period
            if not self.clock:
                at += burst[-1] - self.burst_ns + self.jitter * self.period_ns * chance.normal()
        return rounds


def truth_of(rounds: list[Ints], event: str, clock: bool) -> dict[str, object]:
    """What a report should tell of events in rounds, each with the times of its events in nanoseconds."""
    begin = np.array([one[0] for one in rounds])
    end = np.array([one[-1] for one in rounds])
    sizes = np.array([len(one) for one in rounds])
    return {
        "event": event,
        "period_ns": int(np.median(np.diff(begin))),
        "pause_ns": int(np.median(begin[1:] - end[:-1])),
        "burst_size": int(np.median(sizes)),
        "start_ns": int(begin[0]),
        "end_ns": int(end[-1]),
        "cycles": len(rounds),
        "clock": clock,
    }


def planted(
    beat: Beat,
    chance: Chance,
    *,
    seconds: float = 20.0,
    others_per_second: float = 0.0,
    beside_per_second: float = 0.0,
    span: tuple[float, float] = (0.0, 1.0),
) -> Recording:
    """A supervisor that starts processes to a beat.

    Args:
        others_per_second: processes that others start at chance times.
        beside_per_second: processes that the supervisor itself starts at chance times.
        span: the part of the recording in which the beat is kept.
    """
    recording = Recording(round(seconds * SECOND_NS))
    for pid, ppid, comm in ((_INIT, 0, "init"), (_SHELL, _INIT, "shell"), (_SUPERVISOR, _SHELL, "supervise")):
        recording.running(pid, ppid, comm)
    low, high = (share * recording.duration_ns for share in span)
    rounds = beat.times(chance, low + chance.uniform(0, 1) * beat.period_ns, high)
    rounds = [one for one in rounds if one[0] >= 0 and one[-1] < recording.duration_ns]
    rates = {others_per_second, beside_per_second, others_per_second + beside_per_second}
    steady = [{"event": "exec", "rate_per_second": rate} for rate in rates]
    recording.truth = {"patterns": [truth_of(rounds, "exec", beat.clock)], "steady": steady}
    at = np.concatenate(rounds)
    recording.processes(at, _lives(chance, len(at), beat), "attempt", _SUPERVISOR, 1)
    for rate, parent, comm in ((others_per_second, _INIT, "stranger"), (beside_per_second, _SUPERVISOR, "errand")):
        noise = chance.uniform(0, recording.duration_ns, chance.poisson(rate * seconds)).astype(np.int64)
        recording.processes(noise, _lives(chance, len(noise), beat), comm, parent)
    return recording


def _lives(chance: Chance, count: int, beat: Beat) -> Ints:
    usual = min(5 * MS_NS, max(beat.burst_ns / beat.size, beat.period_ns / 20))
    return chance.gamma(3, usual / 3, count).astype(np.int64)


def with_rhythm(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """Scenarios in which one rhythm is planted, by their names."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(chance.uniform(np.log(low), np.log(high))))

    size = int(chance.integers(5, 60))
    service = Beat(log_uniform(0.3, 2) * SECOND_NS, size, chance.uniform(0.02, 0.2) * 0.3 * SECOND_NS)
    cron = Beat(log_uniform(0.3, 3) * SECOND_NS, clock=True, jitter=0.004)
    cycles = int(chance.integers(4, 8))
    few = 20.0 / (cycles + chance.uniform(0.2, 0.8))
    fast = Beat(log_uniform(10, 100) * MS_NS, clock=bool(chance.integers(2)), jitter=0.02)
    return {
        "service that respawns": lambda: planted(service, chance),
        "the same, 5/s of others": lambda: planted(service, chance, others_per_second=5),
        "the same, 50/s of others": lambda: planted(service, chance, others_per_second=50),
        "the same, 1/s beside it": lambda: planted(service, chance, beside_per_second=1),
        "bursts by a clock": lambda: planted(
            Beat(service.period_ns, size, service.burst_ns, clock=True), chance, others_per_second=2
        ),
        "single starts by a clock": lambda: planted(cron, chance),
        "the same, 5/s of all others": lambda: planted(cron, chance, others_per_second=5),
        "the same, a tenth missed": lambda: planted(
            Beat(cron.period_ns, clock=True, jitter=0.004, missed=0.1), chance, seconds=40
        ),
        "single starts, 0.3/s beside": lambda: planted(cron, chance, seconds=60, beside_per_second=0.3),
        "few rounds": lambda: planted(Beat(few * SECOND_NS, size, 0.02 * few * SECOND_NS), chance),
        "few single rounds": lambda: planted(Beat(few * SECOND_NS, clock=True, jitter=0.002), chance),
        "10 to 100 ms": lambda: planted(fast, chance),
        "jitter 8 %": lambda: planted(Beat(service.period_ns, size, service.burst_ns, jitter=0.08), chance, seconds=40),
        "drift 10 %": lambda: planted(Beat(service.period_ns, size, service.burst_ns, drift=0.1), chance),
        "in the middle of it": lambda: planted(service, chance, seconds=40, span=(0.3, 0.8)),
    }


def without_rhythm(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """Scenarios in which there is none, by their names."""

    def starts(times_s: np.ndarray, seconds: float = 20.0, steady: bool = False) -> Recording:
        rate = {"event": "exec", "rate_per_second": len(times_s) / seconds}
        truth = {"patterns": [], "steady": [rate] if steady else []}
        recording = Recording(round(seconds * SECOND_NS), truth=truth)
        recording.running(_INIT, 0, "init")
        recording.running(_SHELL, _INIT, "shell")
        at = (times_s * SECOND_NS).astype(np.int64)
        recording.processes(at, chance.gamma(3, 2 * MS_NS, len(at)).astype(np.int64), "job", _SHELL)
        return recording

    def poisson() -> Recording:
        count = chance.poisson(np.exp(chance.uniform(np.log(5), np.log(5000))))
        return starts(chance.uniform(0, 20, count), steady=True)

    def bursts() -> Recording:
        begins = np.cumsum(chance.exponential(chance.uniform(0.3, 3), 200))
        size = int(chance.integers(2, 50))
        parts = [
            begin + np.cumsum(chance.exponential(0.002, chance.poisson(size) + 1)) for begin in begins[begins < 20]
        ]
        return starts(np.concatenate([np.zeros(0), *parts]))

    def build() -> Recording:
        return starts(np.concatenate([build_times(chance, 20.0) for _ in range(int(chance.integers(1, 5)))]))

    def walk() -> Recording:
        return starts(wandering_times(chance))

    return {"chance": poisson, "bursts at chance times": bursts, "a parallel build": build, "a rate that wanders": walk}


def wandering_times(chance: Chance) -> np.ndarray:
    """Times within 20 s whose rate is a random walk."""
    rate = np.minimum(np.exp(np.cumsum(chance.normal(0, 0.3, 200))) * 5, 500)
    counts = chance.poisson(rate * 0.1)
    return np.asarray((np.repeat(np.arange(200), counts) + chance.uniform(0, 1, int(counts.sum()))) * 0.1)


def build_times(chance: Chance, seconds: float) -> np.ndarray:
    """Compilers one after another: each start has its driver, compiler and assembler."""
    ends = np.cumsum(chance.lognormal(-1, 0.5, int(seconds * 5)))
    begins = np.concatenate(([0.0], ends[:-1]))
    return np.concatenate((begins, begins + 0.002, begins + 0.005, ends - 0.02))
