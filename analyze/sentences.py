"""Patterns in words: one plain sentence each."""

from collections import Counter

from tracekit.analyze.results import Pattern
from tracekit.units import format_ns

_NAMED = 6
_NOUNS = {"exec": ("process starts", "processes start"), "open": ("file is opened", "files are opened")}


def say(pattern: Pattern) -> str:
    """What happens, how often, who starts it, what runs in it, and how it ends."""
    one, many = _NOUNS.get(pattern.event, ("I/O is submitted", "I/Os are submitted"))
    period = format_ns(pattern.period_ns)
    if pattern.burst_size > 1:
        text = f"{pattern.burst_size} {many} in a burst of {format_ns(pattern.burst_duration_ns)} every {period}"
        text += f" (pause {format_ns(pattern.pause_ns)})"
    else:
        text = f"one {one} every {period}"
    text += f", {pattern.cycles} times"
    details = [_who(pattern), _what(pattern)]
    text += "".join(f"{':' if index == 0 else ','} {part}" for index, part in enumerate(filter(None, details)))
    ending = _ending(pattern)
    return f"{text}; {ending}" if ending else text


def _who(pattern: Pattern) -> str:
    scope = pattern.scope
    if "parent" in scope:
        return f"started by {scope['parent']}"
    if "cgroup" in scope:
        return f"in the cgroup {scope['cgroup']}"
    if pattern.event != "exec":
        return f"by {scope['comm']}" if "comm" in scope else f"of {scope['path']}" if "path" in scope else ""
    return ""


def _what(pattern: Pattern) -> str:
    """Commands in order of their first start, each with how often."""
    counts = Counter(pattern.chain)
    if not counts or pattern.event != "exec":
        return ""
    named = [name if count == 1 else f"{name} x {count}" for name, count in counts.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"running {', '.join(named[:_NAMED])}{more}"


def _ending(pattern: Pattern) -> str:
    codes = pattern.exit_codes
    if not codes:
        return ""
    bad = {name: pattern.failing[name] for name in dict.fromkeys(pattern.chain) if name in pattern.failing}
    if not bad:
        ok = codes.get("0", 0)
        total = sum(codes.values())
        return "all exit with 0" if ok == total else f"{total - ok} of {total} fail"
    told = [_exits([name for name in bad if bad[name] == status], status) for status in dict.fromkeys(bad.values())]
    rest = ", the rest exit with 0" if len(bad) < len(set(pattern.chain)) else ""
    return f"{', '.join(told)} each time{rest}"


def _exits(names: list[str], status: str) -> str:
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    if status.startswith("signal"):
        return f"{listed} {'is' if len(names) == 1 else 'are'} killed by {status}"
    return f"{listed} {'exits' if len(names) == 1 else 'exit'} with {status}"
