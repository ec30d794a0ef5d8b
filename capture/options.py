"""What a caller tells the agent, and what the agent tells its caller."""

import signal
from dataclasses import dataclass, field
from pathlib import Path

from tracekit.capture.filters import Filters
from tracekit.errors import TracekitError
from tracekit.metadata import Counters, Metadata
from tracekit.schema import RECORDED_FAMILIES


@dataclass(frozen=True)
class RecordOptions:
    """What to record.

    Attributes:
        output: the trace to write.
        families: of `process`, `block` and `open` those that are wanted.
        filters: which of their events.
        duration_ns: how long; None: until stopped, or until the command ends.
        max_events: end with so many events recorded.
        max_bytes: end when what was recorded takes so much disk; the trace will be smaller. With `last_ns`: forget.
        min_free_bytes: end when the disk would have less than this left, once the trace is written.
        last_ns: only the end of the recording is kept, so much of it and at most a tenth more.
        backend: `auto`, `core` or `bcc`.
        force: overwrite the output, and throw away an unfinished recording of it.
        command: program and arguments to run and record; empty for none.
        ring_bytes: size of each ring, a power of two and whole pages; None: as fits the machine.
        give_up_privileges: once the probes are attached this process keeps only what it still needs, for good.
    """

    output: Path
    families: tuple[str, ...] = RECORDED_FAMILIES
    filters: Filters = field(default_factory=Filters)
    duration_ns: int | None = None
    max_events: int | None = None
    max_bytes: int | None = None
    min_free_bytes: int = 0
    last_ns: int | None = None
    backend: str = "auto"
    force: bool = False
    command: tuple[str, ...] = ()
    ring_bytes: int | None = None
    give_up_privileges: bool = False


@dataclass(frozen=True)
class Progress:
    """How a recording is getting on.

    Attributes:
        elapsed_ns: since it began.
        counters: of each family, so far.
        bytes_on_disk: size of the journal.
        ring_bytes: of each family the size of its largest ring.
    """

    elapsed_ns: int
    counters: dict[str, Counters]
    bytes_on_disk: int
    ring_bytes: dict[str, int]


class Observer:
    """Who wants to know how a recording is getting on; does nothing with it."""

    def started(self, backend: str, notes: tuple[str, ...]) -> None:
        """The probes run.

        Args:
            backend: name of the loader.
            notes: what the recording lacks.
        """

    def noted(self, note: str) -> None:
        """Something that the user should know."""

    def progressed(self, progress: Progress) -> None:
        """Half a second has passed."""

    def ended(self, reason: str | None, counters: dict[str, Counters]) -> None:
        """The recording is over.

        Args:
            reason: the limit that was reached, if one was.
            counters: of each family, without the list of what ran already.
        """

    def writing(self, share: float) -> None:
        """So much of the trace is written."""

    def written(self, path: Path, metadata: Metadata) -> None:
        """A trace is there: that of the recording, or one that was asked for on the way."""

    def not_written(self, error: TracekitError) -> None:
        """A trace that was asked for on the way could not be written; the recording is not touched by that."""

    def waiting(self) -> None:
        """The trace is there, and the command still runs."""


@dataclass
class Control:
    """Asks something of a recording, from a signal handler or another thread.

    Attributes:
        stops: how often it was asked to end.
        number: of the signal that asked for it last.
        copies: how often it was asked to write what it has and go on.
    """

    stops: int = 0
    number: int = 0
    copies: int = 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the recording soon; asked again, do not wait for the command."""
        self.stops += 1
        self.number = number

    def copy(self) -> None:
        """Write a trace of what there is, and go on."""
        self.copies += 1
