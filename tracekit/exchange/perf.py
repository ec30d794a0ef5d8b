"""Events that `perf script` printed.

The tracepoints name their fields in what they print; what is before them is perf's own choice of fields (`-F`), of
which time and event must be there. Block tracepoints print the fields in the way that the kernel's include/trace/
events/block.h fixes.
"""

import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.exchange import blockio
from tracekit.exchange.intake import Facts, Intake
from tracekit.exchange.lines import (
    Block,
    Bools,
    Ints,
    blocks,
    bools,
    chosen,
    found,
    groups,
    hexadecimal,
    names,
    numbers,
    resolution_ns,
    stamps,
    text,
)
from tracekit.metadata import Anchor

COMMAND = "perf script --ns --header --show-lost-events --show-task-events -F comm,pid,tid,cpu,time,event,trace"
REMEDY = f"write it with '{COMMAND}'"

#: What tells a line of perf's from those of other tools.
LINE = (
    r" *(?:(?P<comm>.{1,16}?) +(?P<one>-?\d{1,9})(?:/(?P<tid>-?\d{1,9}))? +)?(?:\[(?P<cpu>\d{1,5})\] +)?"
    r"(?P<seconds>\d{1,9})\.(?P<fraction>\d{6}|\d{9}): +(?:\d{1,18} +)?"
    r"(?P<event>[\w.-]+:[\w.-]+(?::[A-Za-z]+)?|PERF_RECORD_\w+):? *(?P<rest>.*)"
)
# Lines without an event: comments, empty ones, and those of call chains.
_IDLE = r"^(?:#.*|\s*|\s+[0-9a-f]+ .*)\n$"

_OPEN = re.compile(r"syscalls:sys_(?:enter|exit)_(?:open|openat|openat2|creat)")
# These tell addresses only.
_PASSED_SILENTLY = ("syscalls:sys_enter_execve", "syscalls:sys_enter_execveat")
_CALLS = ("open", "openat", "openat2", "creat")
_BLOCK_EVENTS = {
    "block:block_io_start": "block_start",
    "block:block_rq_issue": "block_issue",
    "block:block_rq_requeue": "block_requeue",
    "block:block_rq_merge": "block_merge",
    "block:block_rq_complete": "block_complete",
}
_BLOCK = (
    r"(?P<major>\d{1,4}),(?P<minor>\d{1,7}) (?P<rwbs>\w+) (?:(?P<bytes>\d{1,9}) )?\(.*?\) "
    r"(?P<sector>\d{1,20}) \+ (?P<sectors>\d{1,9})(?: .*?)? ?\[(?P<last>.*)\]"
)
_NO_SECTOR = b"18446744073709551615"
_TASK = re.compile(rb"\((-?\d+):(-?\d+)\):\((-?\d+):(-?\d+)\)")
_COMM = re.compile(rb"(.*):(\d+)/(\d+)")


class PerfReader:
    """Turns the lines of one output into rows.

    Args:
        intake: takes them.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._threads: set[int] = set()
        self._running: dict[int, int] = {}  # of what ran already its parent
        self._comms: dict[int, bytes] = {}
        self._last_ns: dict[int, int] = {}  # of each CPU
        self._entered: dict[str, Any] | None = None
        self._without_pid = self._deadless = False
        self._facts: dict[str, str] = {}
        self._digits = 0

    def read(self, stream: BinaryIO) -> None:
        """Read a whole output."""
        for block in blocks(stream, self._intake.tally):
            self._block(block)
        self._finish()

    def _block(self, block: Block) -> None:
        good, line = groups(block.lines, LINE)
        if not good.all():
            self._left_over(block, good)
        if not good.any():
            return
        self._digits = max(self._digits, len(str(resolution_ns(line["fraction"]))))
        rows = self._rows(line)
        event = line["event"].dictionary_encode()
        code = event.indices.to_numpy()
        opens = np.zeros(len(code), np.bool_)
        for number, name in enumerate(event.dictionary.to_pylist()):
            kind, mask = ":".join(name.decode().split(":")[:2]), code == number
            if _OPEN.fullmatch(kind):
                opens |= mask
            else:
                self._of_kind(kind, rows, block, good, mask)
        if opens.any():
            self._opens(chosen(rows | {"event": event.cast(pa.binary())}, opens), block, good, opens)
        cpus, ts_ns = rows["cpu"], rows["ts_ns"]
        for cpu in np.unique(cpus):
            self._last_ns[int(cpu)] = int(ts_ns[cpus == cpu].max())

    def _left_over(self, block: Block, good: Bools) -> None:
        """Lines without an event: comments, call chains, and what makes no sense."""
        wrong = ~good & ~found(block.lines, _IDLE)
        self._intake.tally.no_sense_at(block.lines, wrong, block.first)
        rest = block.lines.filter(pa.array(~good))
        for comment in rest.filter(pa.array(found(rest, "^#"))).to_pylist():
            self._comment(comment)

    def _of_kind(self, kind: str, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        handler = self._handlers.get(kind)
        if kind in _BLOCK_EVENTS:
            self._io(_BLOCK_EVENTS[kind], chosen(rows, mask), block, good, mask)
        elif handler is not None:
            handler(self, chosen(rows, mask), block, good, mask)
        elif kind.startswith("PERF_RECORD_LOST"):
            self._lost(chosen(rows, mask), np.flatnonzero(mask), rows)
        elif kind.startswith("PERF_RECORD_"):
            self._task(kind, chosen(rows, mask))
        elif kind not in _PASSED_SILENTLY:
            self._intake.tally.passed_over[kind] += int(mask.sum())

    def _rows(self, line: dict[str, pa.Array]) -> dict[str, Any]:
        """The fields before the event: a single number is the thread's, as perf prints it unless asked otherwise."""
        both = bools(pc.greater(pc.binary_length(line["tid"]), 0))
        one, tid = (pc.fill_null(numbers(line[name]), -1).to_numpy() for name in ("one", "tid"))
        pid, tid = np.where(both, one, -1), np.where(both, tid, one)
        self._without_pid |= bool(((pid < 0) & (tid > 0)).any())
        strange = np.unique(tid[(pid > 0) & (tid > 0) & (pid != tid)])
        self._threads.update(strange.tolist())
        comm = names(line["comm"])
        unnamed = found(comm.dictionary, r"^:-?\d+$")
        if unnamed.any():
            code = pc.fill_null(comm.indices, -1).to_numpy()
            mask = (code < 0) | unnamed[code]
            comm = pa.DictionaryArray.from_arrays(pa.array(code, mask=mask), comm.dictionary)
        return {
            "ts_ns": stamps(line["seconds"], line["fraction"]),
            "pid": pid,
            "tid": tid,
            "comm": comm,
            "cpu": pc.fill_null(numbers(line["cpu"]), -1).to_numpy(),
            "rest": line["rest"],
        }

    def _met(
        self, pattern: str, rows: dict[str, Any], block: Block, good: Bools, mask: Bools
    ) -> tuple[dict[str, Any], dict[str, pa.Array]]:
        """Rows whose rest meets a pattern, with its groups; the others make no sense."""
        fits, fields = groups(rows["rest"], pattern)
        if fits.all():
            return rows, fields
        wrong = np.zeros(len(block), np.bool_)
        wrong[np.flatnonzero(good)[np.flatnonzero(mask)[~fits]]] = True
        self._intake.tally.no_sense_at(block.lines, wrong, block.first)
        return chosen(rows, fits), fields

    def _common(self, rows: dict[str, Any]) -> dict[str, Any]:
        return {
            "ts_ns": rows["ts_ns"],
            "cpu": _known(rows["cpu"]),
            "pid": _known(rows["pid"]),
            "tid": _known(rows["tid"]),
            "comm": rows["comm"],
        }

    def _io(self, event: str, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        rows, fields = self._met(_BLOCK, rows, block, good, mask)
        nowhere = bools(pc.equal(fields["sector"], _NO_SECTOR))
        plain = pc.if_else(pa.array(nowhere), pa.scalar(b"0", fields["sector"].type), fields["sector"])
        sector = pc.if_else(pa.array(nowhere), pa.scalar(None, pa.uint64()), numbers(plain, pa.uint64()))
        size = pc.coalesce(numbers(fields["bytes"]), pc.multiply(numbers(fields["sectors"]), 512))
        op, sector = blockio.places(blockio.ops(fields["rwbs"]), sector, size)
        major, minor = numbers(fields["major"]).to_numpy(), numbers(fields["minor"]).to_numpy()
        ret = None
        if event == "block_complete":
            code_there, code = groups(fields["last"], r"(?P<code>-?\d{1,5})")
            ret = np.zeros(len(code_there), np.int64)
            ret[code_there] = numbers(code["code"]).to_numpy()
            ret = pa.array(np.where(ret > 0, -ret, ret), mask=~code_there)
        columns = self._common(rows) | {
            "event": event,
            "dev": major << 20 | minor,
            "disk": blockio.numbered(major, minor),
            "sector": sector,
            "bytes": size,
            "op": op,
            "ret": ret,
        }
        self._intake.add("block", len(rows["ts_ns"]), columns)

    def _fork(self, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        pattern = (
            r"comm=(?P<comm>.*) pid=(?P<pid>\d{1,9}) child_comm=(?P<child_comm>.*) child_pid=(?P<child_pid>\d{1,9})"
        )
        rows, fields = self._met(pattern, rows, block, good, mask)
        child = numbers(fields["child_pid"])
        parent = np.where(rows["pid"] > 0, rows["pid"], numbers(fields["pid"]).to_numpy())
        columns = self._common(rows) | {
            "event": "fork",
            "pid": child,
            "tid": child,
            "ppid": parent,
            "comm": names(fields["child_comm"]),
        }
        self._intake.add("process", len(child), columns)

    def _exec(self, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        rows, fields = self._met(r"filename=(?P<path>.*) pid=(?P<pid>\d{1,9}) old_pid=\d{1,9}", rows, block, good, mask)
        pid = numbers(fields["pid"])
        columns = self._common(rows) | {"event": "exec", "pid": pid, "tid": pid, "path": names(fields["path"])}
        self._intake.add("process", len(pid), columns)

    def _exec_failed(self, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        rows, fields = self._met(r"0x(?P<ret>[0-9a-f]{1,16})", rows, block, good, mask)
        ret = hexadecimal(fields["ret"])[0].view(np.int64)
        failed = (ret < 0) & (ret > -4096)
        columns = chosen(self._common(rows) | {"ret": ret}, failed) | {"event": "exec_failed"}
        self._intake.add("process", int(failed.sum()), columns)

    def _exit(self, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        pattern = r"comm=(?P<comm>.*) pid=(?P<pid>\d{1,9}) prio=-?\d{1,9}(?: group_dead=(?P<dead>true|false))?"
        rows, fields = self._met(pattern, rows, block, good, mask)
        tid = numbers(fields["pid"]).to_numpy()
        pid = np.where(rows["pid"] > 0, rows["pid"], tid)
        told = bools(pc.greater(pc.binary_length(fields["dead"]), 0))
        self._deadless |= not told.all()
        # Older kernels do not say which thread is the last: it is the leader, nearly always.
        last = np.where(told, bools(pc.equal(fields["dead"], b"true")), pid == tid)
        comm = names(fields["comm"])
        columns = self._common(rows) | {"pid": pid, "tid": tid, "comm": comm}
        self._intake.add("process", int(last.sum()), chosen(columns, last) | {"event": "exit"})

    def _opens(self, rows: dict[str, Any], block: Block, good: Bools, mask: Bools) -> None:
        """Entries and returns of the calls that open files, matched by thread; entries may be of an earlier block."""
        fits = np.array(found(rows["rest"], r"^(?:0x[0-9a-f]{1,16}|\w+: 0x.*)\n?$"))
        if not fits.all():
            wrong = np.zeros(len(block), np.bool_)
            wrong[np.flatnonzero(good)[np.flatnonzero(mask)[~fits]]] = True
            self._intake.tally.no_sense_at(block.lines, wrong, block.first)
            rows = chosen(rows, fits)
        name = rows.pop("event").dictionary_encode()
        kinds = [one.decode().split(":")[1] for one in name.dictionary.to_pylist()]
        call = np.array([_CALLS.index(kind.rsplit("_", 1)[1]) for kind in kinds], np.int64)
        enter = np.array([kind.startswith("sys_enter") for kind in kinds], np.bool_)
        code = name.indices.to_numpy()
        new = rows | {"call": call[code], "enter": enter[code]}
        if self._entered is not None:
            old = self._entered
            new = {key: _joined(old[key], values) for key, values in new.items()}
        order = np.argsort(new["tid"], kind="stable")
        tid, entered, kind = new["tid"][order], new["enter"][order], new["call"][order]
        returned = ~entered
        after = np.append(False, (tid[1:] == tid[:-1]) & entered[:-1] & (kind[1:] == kind[:-1]))
        pairs = np.flatnonzero(returned & after & (tid >= 0))
        # An entry whose return is still to come is the last of its thread.
        waiting = order[entered & np.append(tid[1:] != tid[:-1], True) & (tid >= 0)]
        self._entered = chosen(new, np.sort(waiting))
        alone = np.flatnonzero(returned & ~(after & (tid >= 0)))
        self._open_rows(new, order[pairs - 1], order[pairs])
        self._open_rows(new, None, order[alone])

    def _open_rows(self, rows: dict[str, Any], entries: Ints | None, returns: Ints) -> None:
        at_return = chosen(rows, returns)
        ret = hexadecimal(groups(at_return["rest"], r"0x(?P<ret>[0-9a-f]{1,16})")[1]["ret"])[0].view(np.int64)
        columns = self._common(at_return) | {"event": "open", "ret": _interrupted(ret)}
        if entries is not None:
            at_entry = chosen(rows, entries)
            asked = at_entry["rest"]
            columns |= self._common(at_entry) | {
                "duration_ns": np.maximum(at_return["ts_ns"] - at_entry["ts_ns"], 0),
                "flags": _field(asked, "flags", np.uint32),
                "mode": _field(asked, "mode", np.uint16),
                "dirfd": _field(asked, "dfd", np.int32),
                # Kernels since 6.19 print the file behind its address.
                "path": names(_first(asked, r'name: 0x[0-9a-f]+ "(?P<it>.*?)"(?:, |$)')),
            }
        self._intake.add("open", len(ret), columns)

    def _lost(self, rows: dict[str, Any], where: Ints, everything: dict[str, Any]) -> None:
        """Lost since the last event before on the same CPU; perf does not say of which kind they were."""
        told = pc.extract_regex(rows["rest"], r"lost (?P<lost>\d{1,18})")
        good = bools(told.is_valid())
        if not good.any():
            return
        cpus, times = everything["cpu"], everything["ts_ns"]
        order = np.argsort(cpus, kind="stable")
        before = np.empty(len(order), np.int64)
        before[order[1:]] = np.where(cpus[order[1:]] == cpus[order[:-1]], order[:-1], -1)
        before[order[0]] = -1
        last = before[where[good]]
        earlier = np.array([self._last_ns.get(cpu, 0) for cpu in rows["cpu"][good].tolist()], np.int64)
        start_ns, end_ns = np.where(last >= 0, times[last], earlier), rows["ts_ns"][good]
        started = pa.array(np.minimum(start_ns, end_ns), mask=start_ns == 0)
        self._intake.lost(started, end_ns, numbers(told.drop_null().field(0)).to_numpy(), None)

    def _task(self, kind: str, rows: dict[str, Any]) -> None:
        """What ran already, which perf lists with the time 0, and which new tasks are threads."""
        for ts_ns, rest in zip(rows["ts_ns"], rows["rest"].to_pylist(), strict=True):
            if kind == "PERF_RECORD_FORK" and (task := _TASK.match(rest)):
                pid, tid, parent = int(task[1]), int(task[2]), int(task[3])
                if pid != tid:
                    self._threads.add(tid)
                elif ts_ns == 0:
                    self._running[pid] = parent
            elif kind == "PERF_RECORD_COMM" and ts_ns == 0 and (comm := _COMM.match(rest)) and comm[2] == comm[3]:
                self._comms[int(comm[2])] = comm[1]

    def _comment(self, line: bytes) -> None:
        name, separator, value = line[1:].decode("utf-8", "replace").partition(":")
        if separator:
            self._facts.setdefault(name.strip(), value.strip())

    def _finish(self) -> None:
        intake, facts = self._intake, self._facts
        pids = sorted(pid for pid in self._running if pid in self._comms and 0 < pid < 2**31)
        if pids and intake.rows:
            columns: dict[str, Any] = {
                "ts_ns": np.full(len(pids), intake.first_ns),
                "event": "process",
                "pid": np.array(pids),
                "tid": np.array(pids),
                "ppid": np.array([max(self._running[pid], 0) for pid in pids]),
                "comm": text(pa.array([self._comms[pid] for pid in pids], pa.binary())),
            }
            intake.add("process", len(pids), columns)
        intake.revise["process"] = self._without_threads
        if self._without_pid:
            intake.tally.notes.append(f"threads are named, but not their processes: {REMEDY}")
        if self._deadless and self._without_pid:
            intake.tally.notes.append("a thread's end cannot be told from that of its process in it")
        clock = facts.get("clockid", "").partition(" ")[0]
        cpus = facts.get("nrcpus online", "")
        intake.facts = Facts(
            backend="perf",
            clock={"monotonic": "CLOCK_MONOTONIC", "monotonic_raw": "CLOCK_MONOTONIC_RAW"}.get(clock, "perf"),
            resolution_ns=10 ** max(self._digits - 1, 0),
            anchor=_anchor(facts.get("reference time", "")),
            kernel=facts.get("os release"),
            arch=facts.get("arch"),
            cpus=int(cpus) if cpus.isdecimal() and len(cpus) < 6 else None,
            hostname=facts.get("hostname"),
        )

    def _without_threads(self, rows: pa.Table) -> pa.Table:
        """New threads are no forks: which of them are threads is seen by what they did later."""
        if not self._threads:
            return rows
        threads = pa.array(sorted(self._threads), pa.int32())
        thread = bools(pc.is_in(rows["pid"], value_set=threads)) & bools(
            pc.equal(rows["event"].cast(pa.string()), "fork")
        )
        return rows.filter(pa.array(~thread)) if thread.any() else rows

    _handlers: dict[str, Callable[["PerfReader", dict[str, Any], Block, Bools, Bools], None]] = {  # noqa: RUF012
        "sched:sched_process_fork": _fork,
        "sched:sched_process_exec": _exec,
        "sched:sched_process_exit": _exit,
        "syscalls:sys_exit_execve": _exec_failed,
        "syscalls:sys_exit_execveat": _exec_failed,
    }


def _known(values: Ints) -> pa.Array:
    return pa.array(np.maximum(values, 0), mask=values < 0)


def _interrupted(ret: Ints) -> Ints:
    """A call that a signal ended has a code of the kernel's own; to who waits, it was interrupted (EINTR)."""
    return np.where((ret <= -512) & (ret >= -516), -4, ret).astype(np.int32)


def _first(texts: pa.Array, pattern: str) -> pa.Array:
    """The group `it` of the first place that meets a pattern; empty where there is none."""
    return pc.fill_null(pc.extract_regex(texts, pattern).field(0), b"")


def _field(texts: pa.Array, name: str, kind: Any) -> pa.Array:
    """A hexadecimal field that is called so, of which a C type keeps what fits it."""
    values, there = hexadecimal(_first(texts, rf"(?:^|, ){name}: 0x(?P<it>[0-9a-f]{{1,16}})(?:,|\n|$)"))
    return pa.array(values.astype(kind), mask=~there)


def _joined(one: Any, other: Any) -> Any:
    if isinstance(one, np.ndarray):
        return np.concatenate([one, other])
    if pa.types.is_dictionary(one.type):
        return pa.chunked_array([one, other]).unify_dictionaries().combine_chunks()
    return pa.concat_arrays([one, other])


def _anchor(told: str) -> Anchor | None:
    """`DATE TIME = SECONDS (TOD) = SECONDS (CLOCK)`, of which the numbers are the same moment."""
    match = re.search(r"= (\d{1,10})\.(\d{6}) \(TOD\) = (\d{1,9})\.(\d{9}) \(", told)
    if match is None:
        return None
    return Anchor(int(match[3]) * 10**9 + int(match[4]), int(match[1]) * 10**9 + int(match[2]) * 1000)
