"""Patterns in words: one plain sentence each."""

from collections import Counter
from dataclasses import dataclass, replace

from tracekit.analyze.results import Pattern, SetsApart
from tracekit.units import format_count, format_ns, format_share

STARTED_BY, BELOW = "started by", "below"
_NAMED = 6
_NOUNS = {"exec": ("process starts", "processes start"), "open": ("file is opened", "files are opened")}
_IO = ("I/O is submitted", "I/Os are submitted")


@dataclass(frozen=True)
class Endings:
    """How the processes of a pattern end, beyond what it tells itself.

    Attributes:
        nearly: failing commands that do not fail in every round.
        rest: processes whose end the failing commands do not account for; of these `rest_failed` failed, all of one
            command if `rest_failing` names it, and of `rest_unknown` it is not known.
    """

    nearly: frozenset[str] = frozenset()
    rest: int = 0
    rest_failed: int = 0
    rest_failing: str | None = None
    rest_unknown: int = 0


def say(pattern: Pattern, endings: Endings, relation: str = STARTED_BY) -> str:
    """What happens, how often, who starts it, what runs in it, and how it ends.

    Args:
        pattern: its own sentence is not looked at.
        endings: how its processes end.
        relation: what the bursts are to the parent of its scope: started by it, or by something below it.
    """
    one, many = _NOUNS.get(pattern.event, _IO)
    period, size, file = format_ns(pattern.period_ns), format_count(pattern.burst_size), _file(pattern)
    if pattern.burst_size > 1:
        text = f"{file} {size} times" if file else f"{size} {many}"
        text += f" in a burst of {format_ns(pattern.burst_duration_ns)} every {period}"
        text += f" (pause {format_ns(pattern.pause_ns)})"
    else:
        text = f"{file or f'one {one}'} every {period}"
    text += f", {format_count(pattern.cycles)} times"
    details = [_who(pattern, relation), _what(pattern)]
    text += "".join(f"{':' if index == 0 else ','} {part}" for index, part in enumerate(filter(None, details)))
    ending = _ending(pattern, endings)
    return f"{text}; {ending}" if ending else text


def resay(pattern: Pattern) -> Pattern:
    """The pattern with a sentence for the scope that it has now; for events other than process starts."""
    steady = pattern.kind == "steady"
    return replace(pattern, sentence=say_steady(pattern) if steady else say(pattern, Endings()))


def say_steady(pattern: Pattern) -> str:
    """What happens at a steady rate, by whom and how long."""
    _, many = _NOUNS.get(pattern.event, _IO)
    what = f"{_file(pattern) or many} at a steady rate of {format_rate(pattern.rate_per_second)}"
    who = _who(pattern)
    return f"{what}{', ' if who else ''}{who}, for {format_ns(pattern.end_ns - pattern.start_ns)}"


def format_rate(per_second: float) -> str:
    """A rate in the unit that makes a number of it which people can read."""
    for rate, unit in ((per_second, "second"), (per_second * 60, "minute")):
        if rate >= 0.95:
            return f"{rate:,.{0 if rate >= 99.95 else 1}f} a {unit}"
    return f"{per_second * 3600:.1f} an hour"


def _who(pattern: Pattern, relation: str = STARTED_BY) -> str:
    scope = pattern.scope
    if "parent" in scope:
        return f"{relation} {scope['parent']}"
    if "cgroup" in scope:
        return f"in the cgroup {scope['cgroup']}"
    if pattern.event != "exec":
        return f"by {scope['comm']}" if "comm" in scope else ""
    return ""


def _file(pattern: Pattern) -> str:
    """What is opened, where that is always the same file."""
    same = pattern.event == "open" and pattern.scope.keys() == {"path"}
    return f"the file {pattern.scope['path']} is opened" if same else ""


def _what(pattern: Pattern) -> str:
    """Commands in order of their first start, each with how often."""
    counts = Counter(pattern.chain)
    if not counts or pattern.event != "exec":
        return ""
    named = [name if count == 1 else f"{name} x {count}" for name, count in counts.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"running {', '.join(named[:_NAMED])}{more}"


def _ending(pattern: Pattern, endings: Endings) -> str:
    failing = pattern.failing
    if not failing:
        return _rest(endings, "all exit with 0", f"of {format_count(endings.rest)}")
    how = dict.fromkeys((failing[name], name in endings.nearly) for name in failing)
    told = [
        say_exits([name for name in failing if (failing[name], name in endings.nearly) == (status, nearly)], status)
        + (" nearly each time" if nearly else " each time")
        for status, nearly in how
    ]
    rest = _rest(endings, "the rest exit with 0", f"of the other {format_count(endings.rest)}")
    return ", ".join(filter(None, (*told, rest)))


def _rest(endings: Endings, all_well: str, of_them: str) -> str:
    """How those end that need no name; nothing where that is not known."""
    if endings.rest_failed:
        who = f" ({endings.rest_failing})" if endings.rest_failing else ""
        return f"{format_count(endings.rest_failed)} {of_them} fail{'s' if endings.rest_failed == 1 else ''}{who}"
    return all_well if endings.rest and not endings.rest_unknown else ""


def say_exits(names: list[str], status: str) -> str:
    """How some commands end: by their exit code, or such as `signal 11`."""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if status.startswith("signal"):
        return f"{listed} {'is' if len(names) == 1 else 'are'} killed by {status}"
    return f"{listed} {'exits' if len(names) == 1 else 'exit'} with {status}"


def say_apart(reason: SetsApart, value: str) -> str:
    """What some events have in common, and how many of the others have it, too.

    Args:
        value: the reason's, as it is to be shown.
    """
    inside, outside = format_share(reason.share_inside), format_share(reason.share_outside)
    return f"{reason.field.replace('_', ' ')} {value} ({inside} of these, {outside} of the rest)"
