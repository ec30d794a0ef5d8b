"""Reads a file of Perfetto's as its trace processor does, as far as tracks and slices go, and checks its rules.

The messages are decoded by the project's own definitions, from the package `perfetto`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

BEGIN, END, INSTANT = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END, TrackEvent.TYPE_INSTANT


@dataclass
class Slice:
    """What is drawn: from when to when (`end_ns` is null of a moment), how deep, on which track."""

    track: int
    name: str
    category: str
    begin_ns: int
    end_ns: int | None
    depth: int
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Read:
    """All of a file.

    Attributes:
        tracks: descriptors by uuid.
        slices: in order of time.
        clocks: as (boot, realtime).
        packets: how many there are.
        process: of the uuid of each process, which one Perfetto takes it for.
        listed: of each of these, what its lists of processes say at last.
    """

    tracks: dict[int, Any]
    slices: list[Slice]
    clocks: list[tuple[int, int]]
    packets: int
    process: dict[int, int]
    listed: dict[int, Any]

    def of(self, category: str) -> list[Slice]:
        return [one for one in self.slices if one.category == category]

    def root(self, uuid: int) -> str:
        """The name of the track that a track is below."""
        while self.tracks[uuid].parent_uuid:
            uuid = self.tracks[uuid].parent_uuid
        return str(self.tracks[uuid].name)


def read_perfetto(content: bytes) -> Read:
    """Decode; an AssertionError is where Perfetto would count an error or draw nonsense."""
    trace = Trace()
    assert trace.ParseFromString(content) == len(content)
    assert_known(trace)
    tracks: dict[int, Any] = {}
    told: dict[int, int] = {}
    clocks, events = [], []
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        if packet.HasField("track_descriptor"):
            one = packet.track_descriptor
            assert one.uuid not in tracks
            assert one.parent_uuid == 0 or one.parent_uuid in tracks
            tracks[one.uuid] = one
            told[one.uuid] = packet.timestamp
            # By when it is told, Perfetto knows whose a pid or tid is that is used again.
            assert packet.HasField("timestamp") or not (one.HasField("process") or one.HasField("thread"))
            assert packet.timestamp >= told.get(one.parent_uuid, 0)
        elif packet.HasField("clock_snapshot"):
            at = {clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks}
            clocks.append((at[6], at[1]))
        elif not packet.HasField("process_tree"):
            assert packet.HasField("track_event")
            assert packet.timestamp >= told[packet.track_event.track_uuid]
            events.append(packet)
    events.sort(key=lambda packet: packet.timestamp)  # stable, as Perfetto's
    return Read(tracks, list(_slices(events)), clocks, len(trace.packet), *_listed(trace))


def assert_known(trace: Any) -> None:
    """Every field is one of Perfetto's."""
    for packet in trace.packet:
        parts = [packet, packet.track_event, packet.track_descriptor, packet.clock_snapshot]
        parts += [
            packet.track_descriptor.process,
            packet.track_descriptor.thread,
            *packet.process_tree.processes,
            *packet.track_event.debug_annotations,
        ]
        assert not any(len(UnknownFieldSet(part)) for part in parts)


def _listed(trace: Any) -> tuple[dict[int, int], dict[int, Any]]:
    """Another track of a pid is another process to Perfetto; which track that one has it does not keep in mind."""
    now: dict[int, int] = {}
    track: dict[int, int] = {}
    process: dict[int, int] = {}
    listed: dict[int, Any] = {}
    for packet in sorted(trace.packet, key=lambda packet: packet.timestamp):
        if packet.track_descriptor.HasField("process"):
            uuid, pid = packet.track_descriptor.uuid, packet.track_descriptor.process.pid
            which = now.setdefault(pid, len(process))
            if track.setdefault(which, uuid) != uuid:
                track[which] = uuid
                now[pid] = len(process)
            process[uuid] = now[pid]
        for one in packet.process_tree.processes:
            assert one.cmdline, "Perfetto does not read it"
            assert listed.setdefault(now[one.pid], one).ppid == one.ppid, "Perfetto keeps the first"
            listed[now[one.pid]] = one
    return process, listed


def _slices(events: list[Any]) -> Iterator[Slice]:
    stacks: dict[int, list[Slice]] = {}
    for packet in events:
        event = packet.track_event
        stack = stacks.setdefault(event.track_uuid, [])
        if event.type == END:
            assert stack, "an end without a begin"
            stack.pop().end_ns = packet.timestamp
            continue
        notes = {
            note.name: note.string_value if note.HasField("string_value") else note.int_value
            for note in event.debug_annotations
        }
        assert len(event.categories) == 1
        made = Slice(event.track_uuid, event.name, event.categories[0], packet.timestamp, None, len(stack), notes)
        if event.type == BEGIN:
            stack.append(made)
        else:
            assert event.type == INSTANT
        yield made
    assert not any(stacks.values()), "a begin without an end"
