"""The footer of a trace: one JSON object beside the rows."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.errors import TraceError
from tracekit.schema import FORMAT


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
        return boot + offset[np.clip(np.searchsorted(at, boot, side="right") - 1, 0, None)]


@dataclass(frozen=True)
class Counters:
    """What became of the events of one family: seen = filtered + written + lost."""

    seen: int = 0
    filtered: int = 0
    written: int = 0
    lost_ring_full: int = 0
    lost_state_full: int = 0
    truncated: int = 0

    @property
    def lost(self) -> int:
        """Events that could not be recorded, for whatever reason."""
        return self.lost_ring_full + self.lost_state_full


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

    def to_json(self) -> str:
        """The footer's text; `from_json` gives the same object back."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Metadata":
        """Read a footer, passing over fields that a later tracekit may have added.

        Raises:
            TraceError: no JSON object, a higher format, or a field that is missing or of the wrong kind.
        """
        try:
            raw = json.loads(text)
            version = raw["format"]
            if not isinstance(version, int) or version < 1:
                raise TypeError("format")
            if version > FORMAT:
                raise TraceError(
                    f"it has format {version}, and this tracekit reads up to format {FORMAT}: update tracekit to read it"
                )
            values = _known(cls, raw)
            clock = _known(Clock, raw["clock"])
            clock["anchors"] = tuple(Anchor(int(a["boot_ns"]), int(a["realtime_ns"])) for a in clock["anchors"])
            values["clock"] = Clock(**clock)
            values["counters"] = {k: Counters(**_known(Counters, v)) for k, v in raw["counters"].items()}
            values["disks"] = tuple(Disk(**_known(Disk, disk)) for disk in raw["disks"])
            values["events"] = tuple(raw["events"])
            values["duration_ns"] = int(raw["duration_ns"])
            values["command"] = None if raw.get("command") is None else tuple(raw["command"])
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TraceError(f"its metadata is damaged ({type(error).__name__}: {error})") from error


def _known(kind: Any, raw: dict[str, Any]) -> dict[str, Any]:
    names = {item.name for item in dataclasses.fields(kind)}
    return {key: value for key, value in raw.items() if key in names}
