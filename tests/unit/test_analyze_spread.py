"""What is kept of the values of a metric while they go by, against counting them all at once."""

import numpy as np
import pytest

from tracekit.analyze.columns import Codes
from tracekit.analyze.combinations import FULL, Combiner
from tracekit.analyze.contrast import Field
from tracekit.analyze.kernels.binning import COARSE, bin_of
from tracekit.analyze.outliers import looked_at
from tracekit.analyze.spread import TIME_SLOTS, Frame, Grouping, Sample, Spread

#: More combinations than one table holds.
SIZES = {"comm": 40, "path": 30, "op": 7, "sync": 2}
COUNT, PIECES = 40_000, (23, 6)
DURATION_NS = 1_000_000_000


@pytest.fixture(scope="module")
def events():
    """Values, times, and attributes of which some are unknown."""
    chance = np.random.default_rng(11)
    attributes = {
        name: Codes(chance.integers(-1, size, COUNT), tuple(f"{name} {number}" for number in range(size)))
        for name, size in SIZES.items()
    }
    values = chance.lognormal(12, 2, COUNT).astype(np.int64)
    return values, np.sort(chance.integers(0, DURATION_NS, COUNT)), attributes


@pytest.fixture(scope="module", params=PIECES, ids="in {} pieces".format)
def spread(events, request):
    """All of them, a piece at a time; of large ones the combinations are too many to be numbered."""
    values, times_ns, attributes = events
    groupings = (Grouping(("op",), (("op 0",), ("op 3",)), (COUNT, COUNT), 5), Grouping(("comm", "op"), (), ()))
    fields = {name: Field(codes.names) for name, codes in attributes.items()}
    found, combiner = Spread("block.device", Frame(0, DURATION_NS, 0), COUNT, groupings, fields), Combiner()
    for rows in np.array_split(np.arange(COUNT), request.param):
        known = combiner.of({name: codes[rows] for name, codes in attributes.items()})
        found.add(Sample(values[rows], times_ns[rows], known, lambda _: {}))
    return found


def by_hand(values, codes, chosen, size):
    """How often each code, unknown first, occurs in each coarse bin."""
    counts = np.zeros((size + 1, int(COARSE[-1]) + 1), dtype=np.int64)
    for value, code in zip(values[chosen].tolist(), codes[chosen].tolist(), strict=True):
        counts[code + 1, COARSE[bin_of(np.array([value]))[0]]] += 1
    return counts


def test_there_are_more_combinations_than_a_table_holds(events):
    codes = np.array([codes.codes for codes in events[2].values()])
    many, few = (len(np.unique(codes[:, : COUNT // pieces], axis=1).T) for pieces in PIECES[::-1])
    assert few < FULL // 2 < many
    assert len(np.unique(codes, axis=1).T) > 2 * FULL


@pytest.mark.parametrize("name", SIZES)
def test_attributes_are_counted_by_group_and_bin(events, spread, name):
    values, _, attributes = events
    op = attributes["op"].codes
    groups = (op == 0, op == 3, (op != 0) & (op != 3))
    if name == "op":
        found = [spread.shares(0)[name].sum(axis=0)]
        groups = (np.ones(COUNT, dtype=np.bool_),)
    else:
        found = list(spread.shares(0)[name])
    for chosen, counts in zip(groups, found, strict=True):
        assert (counts == by_hand(values, attributes[name].codes, chosen, SIZES[name])).all()


def test_asking_twice_counts_once(spread):
    first = {name: counts.copy() for name, counts in spread.shares(0).items()}
    assert all((counts == first[name]).all() for name, counts in spread.shares(0).items())
    assert all(int(counts.sum()) == COUNT for counts in first.values())


def test_what_comes_after_asking_is_counted_too(events):
    values, times_ns, attributes = events
    fields = {name: Field(codes.names) for name, codes in attributes.items()}
    found, combiner = Spread("open", Frame(0, DURATION_NS, 0), 200, (Grouping((), ((),), (200,)),), fields), Combiner()
    for rows in (np.arange(100), np.arange(100, 200)):
        known = combiner.of({name: codes[rows] for name, codes in attributes.items()})
        found.add(Sample(values[rows], times_ns[rows], known, lambda _: {}))
        assert int(found.shares(0)["comm"].sum()) == rows[-1] + 1


def test_no_table_has_more_combinations_than_it_holds(events):
    combiner, tables = Combiner(), []
    for rows in np.array_split(np.arange(COUNT), PIECES[0]):
        known = combiner.of({name: codes[rows] for name, codes in events[2].items()})
        tables.append(known.table)
        assert len(known.table) <= FULL
    assert len(set(map(id, tables))) > 2
    assert combiner.of(events[2]).table is None


def test_what_divides_the_groups_is_counted_with_the_first_grouping_only(spread):
    assert set(spread.shares(0)) == {*SIZES, "time"}
    assert set(spread.shares(1)) == {"path", "sync", "time"}


def test_time_is_counted_in_slots(events, spread):
    values, times_ns, _ = events
    slots = times_ns // (DURATION_NS // TIME_SLOTS + 1)
    counts = spread.shares(0)["time"].sum(axis=0)
    assert (counts == by_hand(values, slots, np.ones(COUNT, dtype=np.bool_), TIME_SLOTS)).all()


def test_the_greatest_are_the_greatest_of_all_and_of_each_group(events, spread):
    values, _, attributes = events
    assert (spread.greatest[0][0]["value"] == np.sort(values)[::-1][: looked_at(COUNT)]).all()
    mine = np.sort(values[attributes["op"].codes == 3])[::-1]
    assert (spread.greatest[1][1]["value"] == mine[: looked_at(COUNT)]).all()
    rows = spread.greatest[0][0]
    where = np.searchsorted(np.sort(values), rows["value"])
    assert (attributes["path"].codes[np.argsort(values, kind="stable")[where]] == rows["attribute path"])[:100].all()
