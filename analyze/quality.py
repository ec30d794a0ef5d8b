"""How far a recording is to be trusted."""

import numpy as np

from tracekit.analyze.columns import NULL
from tracekit.analyze.events import Events
from tracekit.analyze.results import Quality
from tracekit.metadata import Metadata


def quality(metadata: Metadata, events: Events) -> Quality:
    """What was lost, cut, or could not be paired."""
    counted = sum(counters.lost for counters in metadata.counters.values())
    lost, pairs = events.lost, events.blocks.pairs
    return Quality(
        max(counted, sum(window.lost for window in lost)) if metadata.counters or lost else None,
        lost,
        int(pairs.missed.sum()),
        len(pairs.orphans) - pairs.before,
        int(pairs.in_flight.sum()),
        tuple(_notes(metadata, events)),
        metadata.complete,
    )


def _notes(metadata: Metadata, events: Events) -> list[str]:
    lives, blocks = events.lives, events.blocks
    notes = []
    if not metadata.complete:
        notes.append("the recording did not end normally: its last moments may be missing")
    chosen = metadata.chosen()
    if chosen is not None:
        notes.append(f"only part of the machine was recorded: {chosen}")
    if metadata.redaction is not None:
        notes.append(f"redacted: {'; '.join(str(what) for what in metadata.redaction.values())}")
    if metadata.counters and not (len(blocks) or len(events.opens) or lives.seen.any()):
        passed_over = sum(counters.filtered for counters in metadata.counters.values())
        lost = any(counters.lost for counters in metadata.counters.values())
        met = f"; of {passed_over:,} events that were seen, none met the filters" if chosen and not lost else ""
        notes.append(f"no event was recorded, only a list of what ran already{met}")
    pairs = blocks.pairs
    spanning = blocks.windows.spanned_by(
        np.where(pairs.start == NULL, blocks.first_issue_ns, blocks.start_ns), blocks.end_ns
    )
    spanning &= blocks.end_ns != NULL
    never = (pairs.start != NULL) & (pairs.issue == NULL) & (pairs.complete == NULL) & ~pairs.merged & ~pairs.in_flight
    said = (
        (
            pairs.before,
            "{} I/O was under way when the recording began",
            "{} I/O were under way when the recording began",
        ),
        (int(spanning.sum()), *_both("{} I/O that span{v} lost events left out of latencies")),
        (
            int((pairs.rival | pairs.start_rival).sum()),
            *_both("{} I/O matched by place, with another one like it under way, left out of latencies"),
        ),
        (int(never.sum()), *_both("{} I/O entered the block layer, but the issue is missing")),
        (lives.untrusted, *_both("{} process lifetime{s} that span{v} lost events left out")),
        (_truncated(metadata), *_both("{} event{s} whose strings were cut")),
    )
    return notes + [(one if count == 1 else many).format(f"{count:,}") for count, one, many in said if count]


def _both(text: str) -> tuple[str, str]:
    one = text.replace("{s}", "").replace("{v}", "s")
    return one, text.replace("{s}", "s").replace("{v}", "")


def _truncated(metadata: Metadata) -> int:
    return sum(counters.truncated for counters in metadata.counters.values())
