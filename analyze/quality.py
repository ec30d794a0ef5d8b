"""How far a recording is to be trusted."""

from collections import Counter
from dataclasses import dataclass, field

from tracekit.analyze.blocks import BlockIO, Unpaired
from tracekit.analyze.columns import NULL, busiest
from tracekit.analyze.results import LostWindow, Quality
from tracekit.metadata import Metadata


@dataclass
class Doubts:
    """I/O that cannot be told everything of, counted while it goes by.

    Attributes:
        missed: issued, never seen to complete.
        spanning: events were lost between its first time and its last.
        rivals: matched by place while another one like it was under way.
        never: entered the block layer, and was never issued, merged or completed.
        failed: at the device, by disk.
    """

    missed: int = 0
    in_flight: int = 0
    spanning: int = 0
    rivals: int = 0
    never: int = 0
    total: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, blocks: BlockIO) -> None:
        """Count requests."""
        ended = (blocks.complete_ns != NULL) | blocks.merged | blocks.in_flight
        self.missed += int((~ended & blocks.issued).sum())
        self.never += int((~ended & ~blocks.issued).sum())
        self.in_flight += int(blocks.in_flight.sum())
        self.spanning += int(blocks.spanning.sum())
        self.rivals += int((blocks.rival | blocks.start_rival).sum())
        self.total += len(blocks)
        if blocks.failed.any():
            self.failed.update({name: len(rows) for name, rows in busiest(blocks.disk[blocks.failed])})


def quality(
    metadata: Metadata, lost: tuple[LostWindow, ...], doubts: Doubts, unpaired: Unpaired, untrusted: int, anything: bool
) -> Quality:
    """What was lost, cut, or could not be paired.

    Args:
        untrusted: process lifetimes that are not told.
        anything: whether anything was recorded besides a list of what ran already.
    """
    counted = sum(counters.lost for counters in metadata.counters.values())
    return Quality(
        max(counted, sum(window.lost for window in lost)) if metadata.counters or lost else None,
        lost,
        doubts.missed,
        unpaired.orphans - unpaired.before,
        doubts.in_flight,
        (
            *_notes_of(metadata, anything),
            *_notes_of_pairs(doubts, unpaired, untrusted, _truncated(metadata)),
        ),
        metadata.complete,
        doubts.total,
    )


def _notes_of(metadata: Metadata, anything: bool) -> list[str]:
    notes = []
    if not metadata.complete:
        notes.append("the recording did not end normally: its last moments may be missing")
    chosen = metadata.chosen()
    if chosen is not None:
        notes.append(f"only part of the machine was recorded: {chosen}")
    notes += [cut.told() for cut in metadata.cuts]
    if metadata.redaction is not None:
        notes.append(f"redacted: {'; '.join(str(what) for what in metadata.redaction.values())}")
    if metadata.counters and not anything:
        passed_over = sum(counters.filtered for counters in metadata.counters.values())
        lost = any(counters.lost for counters in metadata.counters.values())
        met = (
            f"; of {passed_over:,} events that were seen, none met the filters"
            if chosen and passed_over and not lost
            else ""
        )
        notes.append(f"no event was recorded, only a list of what ran already{met}")
    return notes


def _notes_of_pairs(doubts: Doubts, unpaired: Unpaired, untrusted: int, truncated: int) -> list[str]:
    said = (
        (
            unpaired.before,
            "{} I/O was under way at the beginning",
            "{} I/O were under way at the beginning",
        ),
        (doubts.spanning, *_both("{} I/O that span{v} lost events left out of latencies")),
        (doubts.rivals, *_both("{} I/O matched by place, with another one like it under way, left out of latencies")),
        (doubts.never, *_both("{} I/O entered the block layer, but the issue is missing")),
        (untrusted, *_both("{} process lifetime{s} that span{v} lost events left out")),
        (truncated, *_both("{} event{s} whose strings were cut")),
    )
    return [(one if count == 1 else many).format(f"{count:,}") for count, one, many in said if count]


def _both(text: str) -> tuple[str, str]:
    one = text.replace("{s}", "").replace("{v}", "s")
    return one, text.replace("{s}", "s").replace("{v}", "")


def _truncated(metadata: Metadata) -> int:
    return sum(counters.truncated for counters in metadata.counters.values())
