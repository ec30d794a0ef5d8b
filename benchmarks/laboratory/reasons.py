"""Programs that fail over and over, for want of a file or program that is in the truth, or for another reason."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from laboratory.recording import MS_NS, SECOND_NS, START_NS, Ints, Recording

Chance = np.random.Generator
Tries = Sequence[tuple[str, int] | tuple[str, int, str]]

_SUPERVISOR, _INIT = 123, 1
_ENOENT, _EACCES = -2, -13
_WANTED = "/etc/service/service.conf"
#: Whatever starts opens these, and looks for some in vain.
_START: Tries = (
    ("/etc/ld.so.preload", _ENOENT),
    ("/etc/ld.so.cache", 3),
    ("/usr/local/lib/libservice.so.2", _ENOENT),
    ("/usr/lib/libservice.so.2", 3),
    ("/lib/libc.so.6", 3),
    ("/usr/lib/locale/locale-archive", _ENOENT),
    ("/usr/share/locale/locale.alias", 3),
    ("/usr/lib/locale/C.UTF-8/LC_CTYPE", _ENOENT),
)
_OPTIONAL: Tries = (("/home/service/.servicerc", _ENOENT), ("/etc/service/service.local", _ENOENT))
_MODULES: Tries = tuple((f"/usr/share/service/module-{number}", 4) for number in range(5))
_MISSING: Tries = ((_WANTED, _ENOENT),)
_DAEMON = "/opt/service/daemon"
_UNRUN: Tries = ((_DAEMON, _ENOENT, "exec"),)
#: A search along PATH, in vain; the last folder may have the program after all.
_SEARCH: Tries = tuple(
    (f"{folder}/daemon", _ENOENT, "exec") for folder in ("/usr/local/sbin", "/usr/local/bin", "/sbin")
)
_FOUND: Tries = (("/bin/daemon", 0, "exec"),)


class _Machine:
    """A supervisor that starts a service again whenever it has ended, and programs that need other files."""

    def __init__(self, chance: Chance, wanted: str | None) -> None:
        self.chance, self.recording = chance, Recording(20 * SECOND_NS, truth={"path": wanted})
        self.recording.running(_INIT, 0, "init")
        self.recording.running(_SUPERVISOR, _INIT, "supervise")
        period = 20 / np.exp(chance.uniform(np.log(8), np.log(60)))
        steps = period * chance.normal(1, chance.choice([0.01, 0.1, 1.0]), 200).clip(0.3)
        self.begin = (np.cumsum(steps) * SECOND_NS).astype(np.int64)
        self.begin = self.begin[self.begin < 19.5 * SECOND_NS]
        at = np.sort(chance.uniform(0, 19.5 * SECOND_NS, int(chance.integers(0, 100)))).astype(np.int64)
        self.run(at, "stranger", [*_START, ("/etc/stranger.conf", _ENOENT)], _INIT, chance.integers(0, 2, len(at)))

    def run(
        self, at: Ints, comm: str, tries: Tries, ppid: int | Ints, exit_code: int | Ints = 1, life_ns: int = 0
    ) -> Ints:
        """Runs of a program that opens files one after another, or runs them, and ends after the last; their pids."""
        steps = self.chance.gamma(2, 15_000, (len(at), len(tries) + 1)).astype(np.int64)
        when = at[:, None] + 200_000 + np.cumsum(steps, axis=1)
        ends = np.maximum(when[:, -1] - at, life_ns)
        pid = self.recording.processes(at, ends, comm, ppid, exit_code)
        for number, (path, ret, *is_exec) in enumerate(tries):
            what: dict[str, Any] = {"pid": pid, "tid": pid, "comm": comm, "path": path, "ret": ret}
            if is_exec:
                self.recording.add("process", "exec_failed" if ret < 0 else "exec", when[:, number], ppid=ppid, **what)
            else:
                self.recording.add("open", "open", when[:, number], flags=0, duration_ns=2_000, **what)
        return pid

    def child(self, at: Ints, ppid: Ints, tries: Tries) -> None:
        """Forks for a program that cannot be run."""
        pid = self.recording.pids(len(at))
        who = {"pid": pid, "tid": pid, "comm": "service", "ppid": ppid}
        self.recording.add("process", "fork", at, **who)
        for number, (path, ret, *_) in enumerate(tries, 1):
            self.recording.add("process", "exec_failed", at + number * 20_000, path=path, ret=ret, **who)
        ends = at + 500_000
        self.recording.add("process", "exit", ends, start_ns=START_NS + at, exit_code=127, exit_signal=0, **who)

    def service(self, tries: Tries, runs: Ints | None = None, exit_code: int = 1) -> Recording:
        """Runs of the service, all of them or these."""
        self.run(self.begin if runs is None else self.begin[runs], "service", [*_START, *tries], _SUPERVISOR, exit_code)
        return self.recording

    def some(self, share: float) -> tuple[Ints, Ints]:
        """About so many of the runs, and the others."""
        chosen = self.chance.uniform(size=len(self.begin)) < share
        return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _script(machine: _Machine, fails_at: float, unrun: Tries = (), search: Tries = ()) -> Recording:
    """A shell that fails, and starts programs before, one of which cannot read its file: the first is 0, the last 1.

    Args:
        unrun: what the shell cannot run instead.
        search: what all others are looked for with.
    """
    size = int(machine.chance.integers(9, 25))
    step, turn = 2 * MS_NS, round(fails_at * (size - 1))
    shell = machine.run(machine.begin, "service", _START, _SUPERVISOR, 1, life_ns=(size + 2) * step)
    for number in range(size):
        at = machine.begin + (number + 1) * step
        if number == turn and unrun:
            machine.child(at, shell, unrun)
        elif number == turn and fails_at <= 1:
            machine.run(at, "cat", [*_START, *_MISSING], shell, 1)
        else:
            machine.run(
                at, str(machine.chance.choice(["date", "cp", "sed"])), [*search, *_START, ("/etc/motd", 3)], shell, 0
            )
    return machine.recording


def with_reason(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """Scenarios in which a missing file is why, by their names."""

    def machine(path: str = _WANTED) -> _Machine:
        return _Machine(chance, path)

    def well_at_times() -> Recording:
        one = machine()
        well, bad = one.some(0.3)
        one.service([*_MODULES, *_OPTIONAL, (_WANTED, 3)], well, 0)
        return one.service([*_MODULES, *_OPTIONAL, *_MISSING], bad)

    def program_at_times() -> Recording:
        one = machine(_DAEMON)
        well, bad = one.some(0.3)
        one.service([*_MODULES, (_DAEMON, 0, "exec"), *_MODULES], well, 0)
        return one.service([*_MODULES, *_UNRUN], bad)

    library = "libneeded.so.1"
    folders = ("/usr/local/lib", "/lib", "/usr/lib")
    words: Tries = [("/usr/share/locale/de/LC_MESSAGES/libc.mo", _ENOENT)]
    denied: Tries = ((_WANTED, _EACCES),)
    return {
        "a file": lambda: machine().service(_MISSING),
        "a file after optional ones": lambda: machine().service([*_MODULES, *_OPTIONAL, *_MISSING]),
        "a file, denied, then words": lambda: machine().service([*_OPTIONAL, *_MODULES, *denied, *words]),
        "a file, at times there": well_at_times,
        "a library in no folder": lambda: machine(f"/usr/lib/{library}").service(
            [(f"{folder}/{library}", _ENOENT) for folder in folders]
        ),
        "a file of the last process": lambda: _script(machine(), 1),
        "a program": lambda: machine(_DAEMON).service([*_OPTIONAL, *_UNRUN], exit_code=127),
        "a program, at times there": program_at_times,
        "a program in no folder": lambda: machine(_SEARCH[-1][0]).service([*_MODULES, *_SEARCH], exit_code=127),
        "a program that a child could not run": lambda: _script(machine(_DAEMON), 1, _UNRUN, [*_SEARCH, *_FOUND]),
    }


def without_reason(chance: Chance) -> dict[str, Callable[[], Recording]]:
    """Scenarios in which no missing file is why, by their names."""

    def machine() -> _Machine:
        return _Machine(chance, None)

    def optional_in_good_runs() -> Recording:
        one = machine()
        well, bad = one.some(0.3)
        one.service([*_MODULES, *_OPTIONAL], well, 0)
        return one.service([*_MODULES, *_OPTIONAL], bad)

    def in_half_of_the_runs() -> Recording:
        one = machine()
        some, others = one.some(0.5)
        one.service([*_MODULES, *_MISSING], some)
        return one.service([*_MODULES, (_WANTED, 3)], others)

    return {
        "nothing is missing": lambda: machine().service(_MODULES),
        "optional files": lambda: machine().service([*_OPTIONAL, *_MODULES]),
        "optional ones, at times well": optional_in_good_runs,
        "in half of the runs": in_half_of_the_runs,
        "found in the last folder": lambda: machine().service(
            [("/opt/service.conf", _ENOENT), ("/etc/service.conf", _ENOENT), ("/usr/share/service.conf", 3)]
        ),
        "a process that nobody heeds": lambda: _script(machine(), 0.4),
        "a program along PATH": lambda: machine().service([*_SEARCH, *_FOUND, *_START, *_MODULES]),
        "children along PATH": lambda: _script(machine(), 2, search=[*_SEARCH, *_FOUND]),
        "a program that nobody needs": lambda: _script(machine(), 0.4, _UNRUN),
    }
