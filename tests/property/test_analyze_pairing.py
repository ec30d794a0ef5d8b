"""The fast pairing against the obvious one, on whatever events there may be."""

import itertools
from dataclasses import fields, replace
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_pairing import Event, pair_slowly

from tracekit.analyze import pairing
from tracekit.analyze.pairing import ISSUE, START, BlockEvents, carried, pair

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
        np.zeros(len(events), dtype=np.bool_),
        np.zeros(len(events), dtype=np.bool_),
    )


ROWS = ("start", "first_issue", "issue", "complete", "end", "over")
FLAGS = ("merged", "rival", "start_rival", "in_flight")
FIELDS = ("start", "first_issue", "issue", "complete", "end", "merged", "in_flight", "rival")


def check(events):
    fast, expected = pair(columns(events)), pair_slowly(events)
    for name in FIELDS:
        assert getattr(fast, name).tolist() == [getattr(one, name) for one in expected.requests], name
    assert fast.orphans.tolist() == expected.orphans
    assert len(fast.before) == expected.before
    # Whether a start had a rival is known of those that have a start and were not requeued.
    for index, one in enumerate(expected.requests):
        if one.start != -1 and one.first_issue == one.issue and one.issue != -1:
            assert fast.start_rival[index] == one.start_rival


def in_pieces(events, cuts):
    """Every request and orphan by the times of its events (which are numbers), paired a piece at a time."""
    whole = columns(events)
    left, requests, orphans = whole[np.zeros(0, dtype=np.int64)], [], []
    bounds = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    for begin, end in itertools.pairwise(bounds):
        piece = whole[np.arange(begin, end)]
        piece = BlockEvents(
            *(np.concatenate([getattr(part, one.name) for part in (left, piece)]) for one in fields(piece))
        )
        pairs = pair(piece)
        requests += told(piece, pairs, pairs.settled)
        orphans += piece.ts_ns[pairs.orphans].tolist()
        left = carried(piece, pairs)
        rest = told(piece, pairs, ~pairs.settled)
    return sorted(requests + rest), sorted(orphans)


def told(events, pairs, chosen):
    times = [np.append(events.ts_ns, -1)[getattr(pairs, name)[chosen]].tolist() for name in ROWS]
    flags = [getattr(pairs, name)[chosen].tolist() for name in FLAGS]
    return list(zip(*times, *flags, strict=True))


@settings(max_examples=600)
@given(st.lists(an_event(st.sampled_from((-1, 0, 1, 2))), max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_in_pieces_it_is_the_same(events, cuts):
    assert in_pieces(events, cuts) == in_pieces(events, [])


@settings(max_examples=600)
@given(st.lists(an_event(st.just(-1), (-1, 8), (4096,), 1), max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_in_pieces_it_is_the_same_without_slots(events, cuts):
    assert in_pieces(events, cuts) == in_pieces(events, [])


def test_a_flush_without_slot_has_no_start():
    """Starts that carry nothing, of which one is issued for all."""
    events = [Event(START, 0, -1, -1, 0, 0)] * 3 + [Event(ISSUE, 0, -1, -1, 0, 0)]
    whole = in_pieces(events, [])
    assert whole == in_pieces(events, [1]) == in_pieces(events, range(5))
    assert [one[:3] for one in whole[0]] == [(-1, 3, 3)]


def test_a_rival_that_is_gone_was_a_rival():
    """Two starts alike; the one is done before the other is even issued."""
    events = [Event(kind, 0, -1, 8, 4096, 0) for kind in (0, 0, 1, 4, 1, 4)]
    whole = in_pieces(events, [])
    assert whole == in_pieces(events, [2]) == in_pieces(events, [4]) == in_pieces(events, range(7))
    assert [one[-2] for one in whole[0]] == [True, True]


def test_in_pieces_whole_requests_are_the_same():
    """As they come in practice: nearly all are a start, an issue and a completion."""
    chance = np.random.default_rng(1)
    for _ in range(50):
        kinds = [0, 1, 4] * 60
        for place in chance.integers(0, len(kinds), 4):
            kinds[place] = int(chance.integers(0, 5))
        slots = chance.integers(0, 3, len(kinds))
        turn = [0, 0, 0]
        events = []
        for slot in slots:
            events.append(Event(kinds[turn[slot]], 0, int(slot), 8, 4096, 0))
            turn[slot] += 1
        check(events)
        cuts = chance.integers(0, len(events), 5).tolist()
        assert in_pieces(events, cuts) == in_pieces(events, [])


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


@settings(max_examples=600)
@given(
    st.lists(an_event(st.just(-1), (-1, 8), (4096,), 1), max_size=40),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 12),
)
def test_what_is_overtaken_for_long_is_given_up(events, cuts, patience):
    with patch.object(pairing, "PATIENCE_NS", patience):
        check(events)
        assert in_pieces(events, cuts) == in_pieces(events, [])


def test_a_lost_completion_does_not_cost_all_later_latencies():
    """The second of six writes to a place never completes; they are a minute apart, but the third, which comes soon."""
    one = {"dev": 1, "request": -1, "sector": 8, "bytes": 4096, "op": 1}
    kinds, seconds = (1, 4, 1, 1, 4, 1, 4, 1, 4, 1, 4), (0, 1, 60, 70, 71, 130, 131, 190, 191, 250, 251)
    events = columns([Event(kind, **one) for kind in kinds])
    pairs = pair(replace(events, ts_ns=np.array(seconds) * 1_000_000_000))
    trusted = (pairs.complete != -1) & ~pairs.rival
    assert pairs.issue[trusted].tolist() == [0, 7, 9]
    assert pairs.missed.tolist() == [False, False, True, False, False, False]
    assert not pairs.in_flight.any()
    assert pairs.over.tolist() == [1, 4, 5, 6, 8, 10]
