"""The footer of a trace: one JSON object beside the rows."""

import dataclasses
import json
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from tracekit.errors import TraceError
from tracekit.schema import FORMAT, MOST_NS, RECORDED_FAMILIES
from tracekit.units import format_ns, format_span


@dataclass(frozen=True)
class Anchor:
    """The same moment on both clocks, in nanoseconds."""

    boot_ns: int
    realtime_ns: int


@dataclass(frozen=True)
class Clock:
    """The clock that stamped the events, and how it maps to wall-clock time."""

    name: str = "CLOCK_BOOTTIME"
    resolution_ns: int = 1
    anchors: tuple[Anchor, ...] = ()

    def realtime_ns(self, boot_ns: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Wall-clock nanoseconds since 1970 of boot-clock stamps: the offset of the last anchor at or before each.

        Raises:
            TraceError: the trace has no anchor.
        """
        if not self.anchors:
            raise TraceError("the trace has no clock anchor, so its wall-clock time is unknown")
        boot = np.asarray(boot_ns, dtype=np.int64)
        at = np.array([anchor.boot_ns for anchor in self.anchors])
        offset = np.array([anchor.realtime_ns - anchor.boot_ns for anchor in self.anchors])
        last = np.searchsorted(at, boot, side="right") - 1
        realtime: npt.NDArray[np.int64] = boot + offset[np.clip(last, 0, None)]
        return realtime


@dataclass(frozen=True)
class Counters:
    """What became of the events of one family: seen = filtered + written + lost."""

    seen: int = 0
    filtered: int = 0
    written: int = 0
    lost_ring_full: int = 0
    lost_state_full: int = 0
    lost_not_run: int = 0
    lost_damaged: int = 0
    truncated: int = 0

    @property
    def lost(self) -> int:
        """Events that could not be recorded, for whatever reason."""
        return self.lost_ring_full + self.lost_state_full + self.lost_not_run + self.lost_damaged

    def __sub__(self, earlier: "Counters") -> "Counters":
        """What happened since an earlier look at the same counters."""
        before = dataclasses.asdict(earlier)
        return Counters(**{name: count - before[name] for name, count in dataclasses.asdict(self).items()})


@dataclass(frozen=True)
class Disk:
    """A disk that was there while recording; null is unknown."""

    name: str
    dev: int
    model: str | None = None
    scheduler: str | None = None
    rotational: bool | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Cut:
    """What a slice was cut from, and what was wanted of it; times are offsets into that recording.

    Attributes:
        trace: the name of its file; null where it was removed.
        rows: how many events it had.
        duration_ns: how long it was.
        from_ns: where the part that was wanted begins.
        to_ns: where it ends.
        start_ns: where the slice begins: earlier than what was wanted where an I/O did.
        filters: what else was wanted, as in the footer's `filters`; and `events`, the families.
    """

    trace: str | None
    rows: int
    duration_ns: int
    from_ns: int
    to_ns: int
    start_ns: int
    filters: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """In words, for a person."""
        earlier_ns = self.from_ns - self.start_ns
        parts = [f"{format_span(self.from_ns)} to {format_span(self.to_ns)}"]
        parts += [f"with I/O from {format_ns(earlier_ns)} before"] if earlier_ns else []
        parts += [chosen] if (chosen := _chosen(self.filters)) else []
        name = self.trace or "a recording"
        return f"cut from {name} ({self.rows:,} events, {format_span(self.duration_ns)}): {'; '.join(parts)}"


@dataclass(frozen=True)
class Metadata:
    """Everything the footer says. See the format's documentation for the meaning of each field."""

    tool_version: str
    created: str
    duration_ns: int
    kernel: str | None = None
    arch: str | None = None
    cpus: int | None = None
    hostname: str | None = None
    backend: str | None = None
    events: tuple[str, ...] = ()
    filters: dict[str, Any] = field(default_factory=dict)
    clock: Clock = Clock()
    counters: dict[str, Counters] = field(default_factory=dict)
    disks: tuple[Disk, ...] = ()
    complete: bool = True
    redaction: dict[str, Any] | None = None
    command: tuple[str, ...] | None = None
    format: int = FORMAT
    cuts: tuple[Cut, ...] = ()

    def chosen(self) -> str | None:
        """What of the machine was recorded, for a person; None: everything."""
        return _chosen(self.filters)

    def to_json(self) -> str:
        """The footer's text; `from_json` gives the same object back."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))

    @property
    def recorded(self) -> tuple[str, ...]:
        """The families that were recorded: all, where the file does not tell."""
        return self.events or RECORDED_FAMILIES

    @classmethod
    def from_json(cls, text: str | bytes) -> "Metadata":
        """Read a footer, passing over fields that a later tracekit may have added.

        Raises:
            TraceError: no JSON object, a higher format, or a field that is missing or of the wrong kind.
        """
        try:
            raw = json.loads(text)
            json.dumps(raw, ensure_ascii=False).encode()  # half a character could be read, but never written
            version = raw["format"]
            if isinstance(version, int) and version > FORMAT:
                raise TraceError(
                    f"it has format {version}, and this tracekit reads up to format {FORMAT}: update tracekit"
                )
            for required in ("clock", "counters"):
                if required not in raw:
                    raise KeyError(required)
            found = build(cls, raw, "metadata")
            if found.format < 1 or not 0 <= found.duration_ns <= MOST_NS:
                raise ValueError("a format or a duration that cannot be")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TraceError(f"its metadata is damaged ({type(error).__name__}: {error})") from error
        return cast(Metadata, found)


def _chosen(filters: dict[str, Any]) -> str | None:
    parts = []
    for kind, values in filters.items():
        if kind == "command":
            parts.append("what the command did and started")
        else:
            listed = values if isinstance(values, list) else [values]
            of_what = "of block I/O only disk" if kind == "disk" else kind
            parts.append(f"{of_what} {' or '.join(str(value) for value in listed)}")
    return " and ".join(parts) or None


def build(hint: Any, raw: Any, name: str) -> Any:
    """What JSON says, as the annotated type.

    Raises:
        TypeError: it does not fit.
    """
    if dataclasses.is_dataclass(hint) and isinstance(raw, dict):
        return _build_dataclass(hint, raw)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return None if raw is None else build(arguments[0], raw, name)
    if origin is tuple and isinstance(raw, list):
        return tuple(build(arguments[0], item, name) for item in raw)
    if origin is dict and isinstance(raw, dict):
        return {key: build(arguments[1], value, name) for key, value in raw.items()}
    if hint is Any:
        return raw
    # A JSON true is no number, though Python's bool is an int; what does not fit 64 bits fits no column either.
    if type(raw) is hint and (hint is not int or -(2**63) <= raw < 2**63):
        return raw
    raise TypeError(name)


def _build_dataclass(kind: Any, raw: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind) if item.name in raw]
    return kind(**{name: build(hints[name], raw[name], name) for name in names})
