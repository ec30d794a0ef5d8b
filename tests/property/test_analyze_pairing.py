"""The fast pairing against the obvious one, on whatever events there may be."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_pairing import Event, pair_slowly

from tracekit.analyze.pairing import BlockEvents, pair

SIZES = (0, 512, 1024, 4096)


def an_event(requests, sectors=(-1, 0, 1, 8), sizes=SIZES, others=2):
    return st.builds(
        Event,
        kind=st.integers(0, 4),
        dev=st.integers(0, others - 1),
        request=requests,
        sector=st.sampled_from(sectors),
        bytes=st.sampled_from(sizes),
        op=st.integers(0, others - 1),
    )


def columns(events):
    def of(name):
        return np.array([getattr(event, name) for event in events], dtype=np.int64)

    return BlockEvents(
        np.arange(len(events), dtype=np.int64),
        of("kind"),
        of("dev"),
        of("request"),
        of("sector"),
        of("bytes"),
        of("op"),
    )


FIELDS = ("start", "first_issue", "issue", "complete", "end", "merged", "in_flight", "rival")


def check(events):
    fast, expected = pair(columns(events)), pair_slowly(events)
    for name in FIELDS:
        assert getattr(fast, name).tolist() == [getattr(one, name) for one in expected.requests], name
    assert fast.orphans.tolist() == expected.orphans
    assert fast.before == expected.before
    # Whether a start had a rival is known of those that have a start and were not requeued.
    for index, one in enumerate(expected.requests):
        if one.start != -1 and one.first_issue == one.issue and one.issue != -1:
            assert fast.start_rival[index] == one.start_rival


@settings(max_examples=600)
@given(st.lists(an_event(st.integers(0, 2)), max_size=40))
def test_by_slot(events):
    check(events)


@settings(max_examples=600)
@given(st.lists(an_event(st.just(-1), (-1, 8), (4096,), 1), max_size=40))
def test_without_slot(events):
    check(events)


@settings(max_examples=300)
@given(st.lists(an_event(st.sampled_from((-1, 0, 1))), max_size=40))
def test_some_with_slot(events):
    check(events)
