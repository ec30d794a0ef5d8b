"""One recording while it runs: from the rings to the journal, with an account of every event."""

import mmap
import select
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.capture import decode, host, kernel, wire
from tracekit.capture.journal import RUNNING, JournalWriter, Keep
from tracekit.capture.loading import Attached
from tracekit.capture.probes import RINGS
from tracekit.capture.ring import MOST_TAKEN_BYTES, Ring
from tracekit.metadata import Anchor, Counters
from tracekit.schema import family_schema
from tracekit.units import SECOND_NS

# A loss is known to a window of this length. A ring has room for what comes in between, or its program wakes the agent.
_DRAIN_EVERY_NS = 90_000_000
# A killed recorder needs no sync, only a crash of the machine does; and a sync is disk traffic, which on a quiet
# machine would be the only rhythm there is to find.
_SYNC_EVERY_BYTES = 1 << 20
_OPEN_RECORDS = {
    "open_short_ring": wire.OPEN_SHORT,
    "open_medium_ring": wire.OPEN_MEDIUM,
    "open_long_ring": wire.OPEN_LONG,
}
_LOST = [(wire.COUNTERS.names or ()).index(name) for name in ("lost_ring_full", "lost_state_full")]
# Between flushes a ring is drained when it is full to one part in so many.
_FILLED = 16
_END_OF_TIME = 1 << 62
# After detaching, a program may still be at work on another CPU.
_SETTLE_NS = SECOND_NS // 5


class Session:
    """Drains rings into a journal, and counts.

    Args:
        attached: the running probes; stay the caller's.
        operations: names of block operations, by their codes.
        journal: where the rows go; stays the caller's.
        began_ns: start of the recording.
        max_events: how many events are recorded at most.

    Attributes:
        began_ns: start of the recording.
        full: whether that many are recorded.
        ring_bytes: of each family the size of its largest ring.
    """

    def __init__(
        self,
        attached: Attached,
        operations: dict[int, str],
        journal: JournalWriter,
        began_ns: int,
        max_events: int | None = None,
    ) -> None:
        self.began_ns, self._ended_ns = began_ns, _END_OF_TIME
        self._max_events, self.full = max_events, False
        families = {ring.name: family for family, rings in RINGS.items() for ring in rings}
        self.ring_bytes: dict[str, int] = {}
        for name, (_, size) in attached.rings.items():
            self.ring_bytes[families[name]] = max(size, self.ring_bytes.get(families[name], 0))
        self.journal = journal
        self._attached = attached
        self._names = host.Names(operations)
        self._block = decode.BlockDecoder(self._names)
        self._rings = {name: Ring(*ring) for name, ring in attached.rings.items()}
        self._kernel_counters = {family: _map_counters(fd) for family, fd in attached.counters.items()}
        self._missed = dict.fromkeys(attached.counters, 0)
        self._written = dict.fromkeys(attached.counters, 0)
        self._outside = dict.fromkeys(attached.counters, 0)
        self._lost, self._lost_runs = dict.fromkeys(attached.counters, 0), dict.fromkeys(attached.counters, 0)
        self._counted_ns = self._asked_ns = began_ns
        self._poll = select.epoll()
        for descriptor, _ in attached.rings.values():
            self._poll.register(descriptor, select.EPOLLIN | select.EPOLLET)
        self._syncing = ThreadPoolExecutor(1, "sync")
        self._synced_bytes = 0
        self._sync: Future[None] | None = None
        self._lister = ThreadPoolExecutor(1, "list")
        self._listing: Future[pa.RecordBatch] | None = None
        self._forked: list[pa.Array] = []
        self._note_losses()
        self.flush()

    def list_running(self, running: Callable[[], pa.RecordBatch]) -> None:
        """Find out what ran already when the segment began, beside the recording, since it takes its time.

        Args:
            running: gives `process` rows. Starts are known to a tick of the clock, so that some may have forked since.
        """
        if "process_ring" in self._rings:
            self._listing = self._lister.submit(running)

    @property
    def lists(self) -> bool:
        """Whether it is still being found out what ran already."""
        return self._listing is not None

    def _write_listing(self) -> None:
        """Write down what ran already, without what has forked since the segment began."""
        if self._listing is None:
            return
        running = self._listing.result()
        self.drain()
        self._listing = None
        forked = pa.concat_arrays([pa.array([], pa.int32()), *self._forked])
        self._forked.clear()
        self.journal.append(RUNNING, running.filter(pc.invert(pc.is_in(running.column("pid"), value_set=forked))))

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lister.shutdown()
        self._syncing.shutdown()
        if error is None and self._sync is not None:
            self._sync.result()
        self._poll.close()
        self._names.close()
        # What is mapped keeps the rings in memory, and the trace is still to be written.
        self._rings.clear()
        self._kernel_counters.clear()

    def wait(self, at_most_ns: int | None) -> None:
        """Sleep until the next drain is due, a ring fills, or the time is over."""
        timeout_ns = _DRAIN_EVERY_NS if at_most_ns is None else min(_DRAIN_EVERY_NS, at_most_ns)
        self._poll.poll(max(timeout_ns, 0) / SECOND_NS)

    def drain(self, everything: bool = True) -> None:
        """Take what is in the rings, and note what did not fit into them.

        Args:
            everything: also from rings that hold little, which costs as much as from others.
        """
        taken: Iterable[tuple[str, pa.RecordBatch | None]] = (
            self._take(name, ring)
            for name, ring in self._rings.items()
            for _ in range(self._times_due(name, ring, everything))
        )
        full = False
        if self._max_events is not None:  # which of them is the last, all together tell
            taken = list(taken)
            full = self._is_full([batch for _, batch in taken if batch is not None], self._max_events)
        for family, batch in taken:
            self._keep(family, batch)
        self.full = full
        self._note_losses()

    @staticmethod
    def _times_due(name: str, ring: Ring, everything: bool) -> int:
        """How often a ring is to be taken from; between flushes one that fills, or names cgroups that may soon go."""
        unread = ring.unread()
        least = 1 if everything or name == "process_ring" else ring.size // _FILLED
        return unread // MOST_TAKEN_BYTES + 1 if unread >= least else 0

    def _is_full(self, batches: list[pa.RecordBatch], max_events: int) -> bool:
        """Whether there are as many events as are wanted; the last of them ends the recording."""
        if self.full:
            return True
        room = max_events - sum(self._written.values())
        times = np.sort(
            np.concatenate(
                [np.zeros(0, np.int64), *(self._within(batch).column("ts_ns").to_numpy() for batch in batches)]
            )
        )
        if times.size < room:
            return False
        self._ended_ns = int(times[room - 1])
        return True

    def _keep(self, family: str, batch: pa.RecordBatch | None) -> None:
        if batch is not None:
            kept = self._within(batch)
            self._written[family] += kept.num_rows
            self._outside[family] += batch.num_rows - kept.num_rows
            self.journal.append(family, kept)
            if family == "process" and self._listing is not None:
                self._forked.append(_forked(kept, self.journal.segment_began_ns))

    def _within(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of the recording's time, without those of attaching and detaching, or of opens begun before."""
        ts_ns = batch.column("ts_ns").to_numpy()
        within = (ts_ns >= self.began_ns) & (ts_ns <= self._ended_ns) & (not self.full)
        return batch if within.all() else batch.filter(pa.array(within))

    def _take(self, name: str, ring: Ring) -> tuple[str, pa.RecordBatch | None]:
        match name:
            case "process_ring":
                payloads = ring.payloads()
                return "process", decode.process_batch(payloads, self._names) if payloads.starts.size else None
            case "block_ring":
                records = ring.records(wire.BLOCK)
                return "block", self._block.batch(records) if records.size else None
            case _:
                records = ring.records(_OPEN_RECORDS[name])
                return "open", decode.open_batch(records, self._names) if records.size else None

    def _note_losses(self) -> None:
        """Look at the kernel's counters; what they have lost since the last look becomes rows."""
        self._look = {family: mapped.sum(axis=0).tolist() for family, mapped in self._kernel_counters.items()}
        full = {family: sum(counts[at] for at in _LOST) for family, counts in self._look.items()}
        self._counted_ns = self._write_losses(self._lost, full, self._counted_ns)

    def _note_missed_runs(self) -> None:
        """Runs that the kernel passed by are asked for at each flush: each program tells its own."""
        for family, programs in self._attached.programs.items():
            self._missed[family] = sum(kernel.missed_runs(program) for program in programs)
        self._asked_ns = self._write_losses(self._lost_runs, self._missed, self._asked_ns)

    def _write_losses(self, before: dict[str, int], now: dict[str, int], since_ns: int) -> int:
        """A row for each family that has lost more than before; the end of the window, where the next begins."""
        now_ns = host.boot_ns()
        for family, lost in now.items():
            if lost > before[family]:
                row = {"ts_ns": now_ns, "event": "lost", "start_ns": since_ns, "lost_family": family}
                self.journal.append("lost", _one_row("lost", row | {"lost": lost - before[family]}))
                before[family] = lost
        return now_ns

    def counters(self) -> dict[str, Counters]:
        """What had become of the events at the last look."""
        result = {}
        for family, (seen, filtered, ring_full, state_full, truncated, *_) in self._look.items():
            missed = self._missed[family]
            result[family] = Counters(
                seen=seen + missed,
                filtered=filtered + self._outside[family],
                written=self._written[family],
                lost_ring_full=ring_full,
                lost_state_full=state_full,
                lost_not_run=missed,
                truncated=truncated,
            )
        return result

    def flush(self, at: Anchor | None = None) -> None:
        """Write to the journal what was drained until `at` (now); much of it is synced to disk, in the background."""
        if self._listing is not None and self._listing.done():
            self._write_listing()
        self._note_missed_runs()
        self._note_losses()
        self.journal.flush(at or host.anchor(), self.counters())
        written = self.journal.written()
        if written - self._synced_bytes >= _SYNC_EVERY_BYTES and (self._sync is None or self._sync.done()):
            self._synced_bytes = written
            if self._sync is not None:
                self._sync.result()
            self._sync = self._syncing.submit(self.journal.sync)

    def begin_segment(self, keep: Keep | None, running: Callable[[int], pa.RecordBatch]) -> None:
        """Go on in a new segment of the journal.

        Args:
            keep: of what is older only so much stays, and the new segment knows by itself what runs; None: all stays.
            running: `process` rows of the processes that are older than a time.
        """
        self.drain()
        self._write_listing()
        self.flush()
        anchor = host.anchor()
        self.journal.begin_segment(anchor, self.counters(), keep)
        if keep is not None:
            self.list_running(partial(running, anchor.boot_ns))

    def end(self) -> None:
        """Stop the probes, and take what they left behind."""
        ended = host.anchor()
        self._ended_ns = min(ended.boot_ns, self._ended_ns)
        with ThreadPoolExecutor(1, "detach") as other:
            detaching = other.submit(self._attached.detach)
            # What comes meanwhile is no part of the recording; nor is it lost, as long as there is room for it.
            while not detaching.done():
                self.drain()
                self._poll.poll(0.01)
            detaching.result()
        deadline_ns = host.boot_ns() + _SETTLE_NS
        self.drain()
        while not self._settled() and host.boot_ns() < deadline_ns:
            self._poll.poll(0.002)
            self.drain()
        self._write_listing()
        self.flush(ended)

    def _settled(self) -> bool:
        return all(c.seen == c.filtered + c.written + c.lost for c in self.counters().values())


def _forked(rows: pa.RecordBatch, since_ns: int) -> pa.Array:
    """Processes that were started since some time."""
    is_fork = pc.equal(rows.column("event").cast(pa.string()), "fork")
    return rows.column("pid").filter(pc.and_(is_fork, pc.greater_equal(rows.column("ts_ns"), since_ns)))


def _map_counters(descriptor: int) -> npt.NDArray[np.uint64]:
    """The counters of a family: a row for each CPU, in the order of struct tk_counters."""
    size = kernel.possible_cpus() * wire.COUNTERS.itemsize
    mapped = np.frombuffer(mmap.mmap(descriptor, size, prot=mmap.PROT_READ), np.uint64)
    return mapped.reshape(-1, wire.COUNTERS.itemsize // 8)


def _one_row(family: str, values: dict[str, object]) -> pa.RecordBatch:
    schema = family_schema(family)
    return pa.record_batch([pa.array([values.get(item.name)], item.type) for item in schema], schema=schema)
