"""Programs that fail and are started again, over and over."""

import numpy as np

from tracekit.analyze.columns import NULL
from tracekit.analyze.described import NEARLY_EACH
from tracekit.analyze.groups import labels
from tracekit.analyze.processes import Lives
from tracekit.analyze.results import Pattern
from tracekit.analyze.why import ANSWERS_WITH_1, SIGPIPE

#: A round of a service that is started again may end with this, and is no work of its starter.
_PAUSE = "sleep"
#: A cluster that follows a start by at most so many lengths of a burst belongs to the same burst.
_SAME_BURST = 1.25


def restarted(pattern: Pattern, lives: Lives) -> str | None:
    """The program that fails and is started again, if that is what the pattern shows.

    That is the first one of each round, if it fails, waits for no clock, and is all that its starter starts: a loop
    in which one of several commands exits with 1 is no service that cannot start.
    """
    first = pattern.chain[0] if pattern.event == "exec" and pattern.chain else ""
    status = pattern.failing.get(first)
    if status is None or pattern.clock is True:
        return None
    if status == f"signal {SIGPIPE}" or (status == "1" and first in ANSWERS_WITH_1):
        return None
    return first if _is_all_that_is_started(first, pattern, lives) else None


def _is_all_that_is_started(first: str, pattern: Pattern, lives: Lives) -> bool:
    label, started, parent = labels(lives), lives.exec_ns, lives.parent
    during = (started >= pattern.start_ns) & (started <= pattern.end_ns)
    named = np.append(during & label.is_in(first), False)
    service = named[:-1] & ~named[parent]
    begin = np.sort(started[service])
    if len(begin) > (2 - NEARLY_EACH) * pattern.cycles:
        return False
    starters = np.setdiff1d(parent[service], (NULL,))
    beside = np.flatnonzero(during & np.isin(parent, starters) & ~service & ~label.is_in(_PAUSE))
    since = started[beside] - begin[np.searchsorted(begin, started[beside], side="right") - 1]
    together = (since >= 0) & (since <= _SAME_BURST * pattern.burst_duration_ns)
    # Who starts it but once belongs to the same round, and so does all that it starts.
    once = np.bincount(parent[service & (parent != NULL)], minlength=len(lives)) == 1
    together |= once[parent[beside]]
    return bool(together.sum() < (1 - NEARLY_EACH) * pattern.cycles)
