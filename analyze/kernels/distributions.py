"""Distributions: values into bins, by group."""

from typing import NamedTuple

import numpy as np

from tracekit.analyze.kernels.binning import BINS, COARSE, COARSE_BINS, bin_of
from tracekit.analyze.kernels.columns import NULL
from tracekit.analyze.kernels.compiled import Bools, Ints, compiled
from tracekit.analyze.kernels.pairing import SECTOR_BYTES

_LOW_HALF = (1 << 32) - 1


class Filled(NamedTuple):
    """Histograms side by side: counts by histogram and bin, sums of the low halves of values and then of the high
    ones, the least and the greatest value of each."""

    counts: Ints
    halves: Ints
    low: Ints
    high: Ints


@compiled
def fill(which: Ints, values: Ints, filled: Filled) -> int:
    """Put each value, which is not negative, into one of the histograms."""
    np.add.at(filled.counts, which * BINS + bin_of(values), 1)
    np.add.at(filled.halves, which, values & _LOW_HALF)
    if values.max(initial=0) > _LOW_HALF:
        np.add.at(filled.halves, which + len(filled.low), values >> 32)
    np.minimum.at(filled.low, which, values)
    np.maximum.at(filled.high, which, values)
    return 0


@compiled
def spread(
    values: Ints,
    start_ns: Ints,
    number: Ints,
    group_of: Ints,
    from_ns: int,
    slot_ns: int,
    slots: int,
    filled: Filled,
    in_time: Ints,
    combined: Ints,
    steps: Ints,
    floor: Ints,
    candidates: Ints,
) -> int:
    """Count values by group.

    Args:
        values: not negative.
        start_ns: the time of each.
        number: the combination of attributes of each.
        group_of: the group of each combination.
        from_ns: when the first slot of time begins; what is before is in the first, what is behind all in the last.
        slot_ns: how long each is.
        slots: how many there are.
        filled: histograms by group.
        in_time: to add to, by group, slot and wider bin; the first slot of each group stays free.
        combined: to add to, by combination and wider bin; empty to do without.
        steps: of each group the greatest common divisor so far, 0 for none.
        floor: of each group.
        candidates: the positions of values that are not below the floor of their group, to fill.

    Returns:
        How many candidates there are.
    """
    group, coarse = group_of[number], COARSE[bin_of(values)]
    fill(group, values, filled)
    slot = np.clip((start_ns - from_ns) // slot_ns, 0, slots - 1) + 1
    np.add.at(in_time, (group * (slots + 1) + slot) * COARSE_BINS + coarse, 1)
    if len(combined):
        np.add.at(combined, number * COARSE_BINS + coarse, 1)
    for one in np.flatnonzero(steps != 1):
        mine = values[group == one]
        for part in (mine[:64], mine[64:]):
            if steps[one] != 1 and len(part):
                steps[one] = np.gcd(steps[one], np.gcd.reduce(part))
    found = np.flatnonzero(values >= floor[group])
    candidates[: len(found)] = found
    return len(found)


@compiled
def count_shares(group: Ints, codes: Ints, values: Ints, names: int, counts: Ints) -> int:
    """Count codes, of which there are so many names, by group; to add to, by group, code, null first, and wider bin."""
    np.add.at(counts, (group * (names + 1) + codes + 1) * COARSE_BINS + COARSE[bin_of(values)], 1)
    return 0


@compiled
def use_blocks(
    codes: Ints,
    issue_ns: Ints,
    size: Ints,
    depth: Ints,
    sector: Ints,
    sequential: Bools,
    count: Ints,
    sums: Ints,
    sectors: Filled,
    depths: Filled,
) -> int:
    """Count requests that were issued by the place of their code: null comes first, what is beyond the last is in it.

    Args:
        count: of each place, to add to.
        sums: likewise bytes of all places, then requests whose sector is known, then sequential ones.
        sectors: histograms of their length.
        depths: of the queue depth.
    """
    places, issued = len(count), np.flatnonzero(issue_ns != NULL)
    place, size = np.minimum(codes[issued] + 1, places - 1), np.maximum(size[issued], 0)
    np.add.at(count, place, 1)
    np.add.at(sums, place, size)
    np.add.at(sums, place[sector[issued] != NULL] + places, 1)
    np.add.at(sums, place[sequential[issued]] + 2 * places, 1)
    fill(place, size // SECTOR_BYTES, sectors)
    fill(place, np.maximum(depth[issued], 0), depths)
    return 0


@compiled
def use_opens(
    codes: Ints, ret: Ints, answered: Bools, duration_ns: Ints, count: Ints, errors: Ints, latency: Filled
) -> int:
    """Count opens by the place of their code: null comes first, what is beyond the last is in it.

    Args:
        ret: a result, below 0 an error; of no meaning where not `answered`.
        duration_ns: below 0 if unknown.
        count: of each place, to add to.
        errors: likewise of each place and error number; what is beyond the last is in it.
        latency: histograms of the durations.
    """
    places, most = len(count), len(errors) // len(count)
    place, failed, known = (
        np.minimum(codes + 1, places - 1),
        np.flatnonzero(answered & (ret < 0)),
        np.flatnonzero(duration_ns >= 0),
    )
    np.add.at(count, place, 1)
    np.add.at(errors, place[failed] * most - np.maximum(ret[failed], 1 - most), 1)
    fill(place[known], duration_ns[known], latency)
    return 0
