"""What is said of a rhythm: its figures, what runs in a burst, and how that ends."""

from dataclasses import replace

import numpy as np

from tracekit.analyze.columns import NULL, Codes, Ints
from tracekit.analyze.groups import Candidate, Group, Thin, Train
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern
from tracekit.analyze.rhythm import Rhythm, Times, robust_deviation
from tracekit.analyze.sentences import STARTED_BY, Endings, say, say_steady

MAX_CHAIN = 100
MAX_BEATS = 1000
#: A command fails in nearly each round from this part of them on.
NEARLY_EACH = 0.8


def process_pattern(train: Train, one: Candidate, lives: Lives, relation: str) -> Pattern:
    """The pattern of process starts, and how these end; `relation` is what they are to the parent of its scope."""
    pattern = pattern_of(train, one, *_exits(train, one, lives), relation=relation)
    return replace(pattern, lifetimes=_lifetimes(train, one, lives, pattern.chain))


def _lifetimes(train: Train, one: Candidate, lives: Lives, chain: tuple[str, ...]) -> dict[str, int]:
    """How long each command of a chain lives, in nanoseconds; the median of those of which it is known."""
    life, label = train.life[one.members], train.label[one.members]
    known = lives.lifetime_ns[life] != NULL
    found = {}
    for name in dict.fromkeys(chain):
        lifetimes = lives.lifetime_ns[life[known & label.is_in(name)]]
        if len(lifetimes):
            found[name] = int(np.median(lifetimes))
    return found


def pattern_of(
    train: Train,
    one: Candidate,
    exit_codes: dict[str, int] | None = None,
    failing: dict[str, str] | None = None,
    endings: Endings | None = None,
    *,
    relation: str = STARTED_BY,
) -> Pattern:
    """The pattern of a rhythm in a group; of process starts with how these end.

    Args:
        relation: what they are to the parent of its scope.
    """
    rhythm, times = one.rhythm, train.times[one.group.rows]
    start_ns, end_ns = int(times.begin_ns[rhythm.first[0]]), int(times.end_ns[rhythm.last[-1]])
    typical = _typical(one)
    kind = "bursts" if rhythm.burst_size > 1 else "periodic"
    chain = tuple(train.label.name(int(code)) or "?" for code in train.label.codes[typical[:MAX_CHAIN]])
    pattern = Pattern(
        kind=kind,
        event=train.event,
        scope=one.group.scope,
        start_ns=start_ns,
        end_ns=end_ns,
        cycles=rhythm.cycles,
        period_ns=rhythm.period_ns,
        pause_ns=rhythm.pause_ns,
        burst_size=rhythm.burst_size,
        burst_duration_ns=rhythm.burst_duration_ns,
        rate_per_second=round(rhythm.burst_size * 1e9 / rhythm.period_ns, 3),
        jitter=rhythm.jitter,
        events=rhythm.events,
        share=round(rhythm.events / train.times.events, 4),
        clock=rhythm.clock,
        chain=chain,
        exit_codes=exit_codes or {},
        sentence="",
        failing={name: failing[name] for name in dict.fromkeys((*chain, *failing)) if name in failing}
        if failing
        else {},
        beats_ns=tuple(times.begin_ns[rhythm.first[:MAX_BEATS]].tolist()),
    )
    return replace(pattern, sentence=say(pattern, endings or Endings(), relation))


def rhythm_pattern(event: str, group: Thin, rhythm: Rhythm, events: int) -> Pattern:
    """The pattern of a group of which no events are kept: it has no chain."""
    nobody = Codes(np.full(len(group.times), NULL, dtype=np.int64), ())
    train = Train(event, group.times, nobody, np.zeros(0, dtype=np.int64))
    whole = Group(group.scope, group.rank, np.arange(len(group.times)))
    pattern = pattern_of(train, Candidate(whole, rhythm, rhythm.members()))
    return replace(pattern, chain=(), share=round(rhythm.events / max(events, 1), 4))


def stream_pattern(event: str, scope: dict[str, str], times: Times, events: int) -> Pattern:
    """Of a steady stream the period is the mean distance between its events, each of which is a cycle."""
    period = times.span_ns() / max(times.events - 1, 1)
    pattern = Pattern(
        kind="steady",
        event=event,
        scope=scope,
        start_ns=int(times.begin_ns[0]),
        end_ns=int(times.end_ns[-1]),
        cycles=times.events,
        period_ns=round(period),
        pause_ns=round(period),
        burst_size=1,
        burst_duration_ns=0,
        rate_per_second=round(1e9 / period, 3),
        jitter=round(robust_deviation(times.gaps.astype(np.float64)) / period, 6),
        events=times.events,
        share=round(times.events / max(events, 1), 4),
        clock=None,
        chain=(),
        exit_codes={},
        sentence="",
    )
    return replace(pattern, sentence=say_steady(pattern))


def _typical(one: Candidate) -> Ints:
    """The events of the first whole burst of the usual size."""
    rhythm = one.rhythm
    distance = np.abs(rhythm.size - rhythm.burst_size) + np.where(rhythm.whole, 0, len(one.group.rows))
    burst = int(np.argmin(distance))
    return one.group.rows[rhythm.first[burst] : rhythm.last[burst] + 1]


def _exits(train: Train, one: Candidate, lives: Lives) -> tuple[dict[str, int], dict[str, str], Endings]:
    """How the processes ended, and which commands end badly, the same way, in nearly every burst."""
    life = train.life[one.members]
    done = lives.exit_ns[life] != NULL
    status = np.where(lives.exit_signal[life] > 0, lives.exit_signal[life] + 1000, lives.exit_code[life])[done]
    values, counts = np.unique(status, return_counts=True)
    codes = {_status(int(value)): int(count) for value, count in zip(values, counts, strict=True)}
    label, rest, nearly = train.label[one.members][done], np.ones(len(status), dtype=np.bool_), set[str]()
    failing = _failing(label, status, one.rhythm.cycles)
    for name, value in failing.items():
        told = (status == value) & label.is_in(name)
        rest &= ~told
        nearly |= {name} if told.sum() < one.rhythm.whole.sum() else set()
    others = label.codes[rest & (status > 0)]
    endings = Endings(
        nearly=frozenset(nearly),
        rest=int(rest.sum()),
        rest_failed=len(others),
        rest_failing=label.name(int(others[0])) if len(np.unique(others)) == 1 else None,
        rest_unknown=int((status < 0).sum()),
    )
    return codes, {name: _status(value) for name, value in failing.items()}, endings


def _failing(label: Codes, status: Ints, cycles: int) -> dict[str, int]:
    """How each command ends that ends badly, the same way, in nearly every burst."""
    failing = {}
    for code in np.unique(label.codes[(status > 0) & (label.codes != NULL)]):
        bad, counts = np.unique(status[(label.codes == code) & (status > 0)], return_counts=True)
        if counts.max() >= NEARLY_EACH * cycles:
            failing[label.names[code]] = int(bad[np.argmax(counts)])
    return failing


def _status(value: int) -> str:
    return "?" if value < 0 else str(value) if value < 1000 else f"signal {value - 1000}"
