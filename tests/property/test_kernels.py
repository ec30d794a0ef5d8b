"""Each kernel in C against its definition in numpy, on whatever arrays there may be."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from needs import cannot_run, must_have

from tracekit.analyze.kernels import compiled
from tracekit.analyze.kernels.binning import BINS, COARSE_BINS
from tracekit.analyze.kernels.columns import (
    Column,
    append_digit,
    classify,
    count_codes,
    count_in_time,
    count_pairs,
    encode,
    negative,
    order_rows,
    take,
    translate,
    weave,
    widen,
)
from tracekit.analyze.kernels.distributions import Filled, count_shares, fill, spread, use_blocks, use_opens
from tracekit.analyze.kernels.pairing import Events, Found, Requests, follow, gather_requests, plain_requests, under_way

NATIVE = Path(compiled.__file__).parent
EXTREME = (0, 1, -1, 1023, 1024, 1 << 32, (1 << 53) - 1, (1 << 62) + 12345, np.iinfo(np.int64).max)
pytestmark = pytest.mark.skipif(
    os.environ.get(compiled.WITHOUT) == "1", reason="the kernels in C are what is compared with their definitions"
)


def test_the_library_is_there():
    """Installed again after a change, it is wherever there is a compiler."""
    assert compiled._library() is not None


def same(kernel, *args, counted=False):
    """Call both with copies of the same arguments; what they fill and return must be the same.

    Args:
        counted: of the last array only so many elements as are returned have a meaning.
    """
    filled = [[copied(arg) for arg in args] for _ in range(2)]
    found = [how(*each) for how, each in zip((kernel, kernel.__wrapped__), filled, strict=True)]
    assert found[0] == found[1]
    if counted:
        for each in filled:
            each[-1] = each[-1][: found[0]]
    for one, other in zip(*filled, strict=True):
        for mine, its in zip(*([each] if not isinstance(each, tuple) else each for each in (one, other)), strict=True):
            np.testing.assert_array_equal(mine, its)
    return found[0], filled[0]


def copied(arg):
    if isinstance(arg, tuple):
        return type(arg)(*(copied(one) for one in arg))
    return arg.copy() if isinstance(arg, np.ndarray) else arg


def ints(size, least=-1, most=8):
    return stn.arrays(np.int64, size, elements=st.integers(least, most))


def flags(size):
    return stn.arrays(np.bool_, size)


def values(size):
    """Not negative, and some of them large."""
    return stn.arrays(np.int64, size, elements=st.integers(0, 5000) | st.sampled_from([v for v in EXTREME if v >= 0]))


def whatever(size):
    return stn.arrays(np.int64, size, elements=st.integers(-9, 9) | st.sampled_from(EXTREME) | st.just(-(1 << 63)))


@st.composite
def columns(draw, size, elements=None, codes=False):
    kind = draw(
        st.sampled_from([np.int32] if codes else [np.int8, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
    )
    raw = draw(stn.arrays(kind, size, elements=elements))
    offset = draw(st.integers(0, 11))
    valid = draw(st.just(np.zeros(0, np.uint8)) | stn.arrays(np.uint8, (offset + size) // 8 + 1))
    return Column(raw, valid, offset)


def filled(size):
    counts = np.zeros(size * BINS, np.int64)
    return Filled(counts, np.zeros(2 * size, np.int64), np.full(size, np.iinfo(np.int64).max), np.full(size, -1))


SIZES = st.integers(0, 40)


@given(st.data(), SIZES)
def test_columns(data, size):
    column, out = data.draw(columns(size)), np.zeros(size, np.int64)
    same(widen, column, out)
    same(negative, column, np.zeros(size, np.bool_))


@given(st.data(), SIZES)
def test_codes(data, size):
    one, other = (data.draw(columns(size, st.integers(0, most), codes=True)) for most in (3, 5))
    same(translate, one, data.draw(whatever(4)), np.zeros(size, np.int64))
    chosen = data.draw(flags(size) | flags(0))
    same(count_pairs, one, other, 7, chosen, np.ones(5 * 7, np.int64))


@given(st.data(), SIZES)
def test_rows(data, size):
    rows, each = data.draw(ints(size, -1, 9)), data.draw(whatever(10))
    same(take, each, rows, np.zeros(size, np.int64))
    distinct = np.array(data.draw(st.permutations(range(size))), np.int64)[: size // 2]
    found, (_, _, order) = same(order_rows, distinct, size, np.zeros(size, np.int64))
    assert distinct[order[:found]].tolist() == sorted(distinct)
    at = np.sort(data.draw(ints(size, 0, 10)))
    same(weave, each, rows, at, np.zeros(10 + size, np.int64))


@given(st.data(), SIZES, st.integers(0, 5))
def test_keys(data, size, most):
    keys = data.draw(whatever(size))
    same(append_digit, keys, data.draw(ints(size)), 10)
    both = [(np.zeros(size, np.int64), np.zeros(most, np.int64)) for _ in range(2)]
    count, other = (how(keys, *out) for how, out in zip((encode, encode.__wrapped__), both, strict=True))
    assert count == other
    if count <= most:
        for mine, its in zip(*both, strict=True):
            np.testing.assert_array_equal(mine, its)


@given(st.data(), SIZES)
def test_counts(data, size):
    codes, times = data.draw(ints(size)).astype(np.int32), data.draw(ints(size, -100, 2000))
    same(count_codes, codes, np.ones(10, np.int64))
    begin = np.arange(10) * 64
    cells = data.draw(st.sampled_from([0.0, 1.0, 1 / 3, 0.031, 1e-9]))
    same(count_in_time, codes, begin, times, 7, cells, 63, np.zeros(640, np.int64))
    same(classify, data.draw(whatever(size)), np.array((0, 1, 4, 1024)), np.zeros(size, np.int64))


@given(st.data(), SIZES)
def test_plain_requests(data, size):
    slot, kind, length = data.draw(ints(size, 0, 2)), data.draw(ints(size, 0, 4)), data.draw(ints(size, 0, 1))
    lists = [np.zeros(size // 3, np.int64) for _ in range(3)]
    heads = np.zeros(size, np.int64), np.zeros(size, np.int64)
    same(plain_requests, slot, kind, length, *lists, *heads, np.zeros(size, np.bool_))


@st.composite
def requests(draw, size):
    """Rows of issues, each once, what came before them, and when they were over; some are not issued."""
    issue = np.array(draw(st.permutations(range(size))), np.int64)[: size // 2]
    first = np.array([draw(st.integers(0, row)) if draw(st.booleans()) else row for row in issue], np.int64)
    first = np.where(np.isin(first, issue) & (first != issue), issue, first)
    _, once = np.unique(first, return_index=True)
    issue, first = issue[np.sort(once)], first[np.sort(once)]
    over = np.array([draw(st.integers(row, size - 1)) for row in issue], np.int64)
    lost = draw(flags(len(issue)))
    start = np.array([draw(st.integers(-1, row)) for row in first], np.int64)
    return start, first, issue, np.where(lost, -1, over)


@given(st.data(), SIZES)
def test_what_is_under_way(data, size):
    start, first, issue, over = data.draw(requests(size))
    # All events of a request are of one disk: here there is one, in the order of rows two.
    dev, op, old = np.zeros(size, np.int64), data.draw(ints(size, -1, 2)), data.draw(st.integers(0, 20))
    before = np.full(size, -1), np.zeros(size, np.bool_)
    same(under_way, dev, 1, op, 2, first, issue, over, old, *before)
    dev, pid = data.draw(ints(size, 0, 1)), data.draw(ints(size, -1, 1))
    sector, length = (
        data.draw(ints(size, -1, 3)),
        data.draw(st.sampled_from([-1, 0, 512]).map(lambda v: np.full(size, v))),
    )
    known = np.unique(data.draw(ints(5, 0, 300)))
    known = np.unique(np.append(known, ((pid[:3] + 1) << 38) | (dev[:3] << 6) | (op[:3] & 63)))
    left_off = np.arange(len(known)) % 3
    stops = [np.zeros(len(first), np.int64) for _ in range(2)]
    follows = np.zeros(size, np.bool_)
    same(follow, first, start, old, dev, op, pid, sector, length, known, left_off, follows, *stops)


@given(st.data(), SIZES, st.integers(0, 700))
def test_what_is_known_of_requests(data, size, count):
    chance = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows = [chance.integers(-1, size, count) for _ in range(5)]
    asked = Requests(*rows, *(chance.random(count) < 0.5 for _ in range(4)))
    events = Events(*chance.integers(-5, 5, (9, size)), *(chance.random((3, size)) < 0.5))
    chosen = chance.random(count) < 0.8
    wanted = int(chosen.sum())
    found = Found(*(np.zeros(wanted, np.int64) for _ in range(13)), *(np.zeros(wanted, np.bool_) for _ in range(7)))
    same(gather_requests, asked, chosen, events, found)


@given(st.data(), SIZES)
def test_histograms(data, size):
    each, which = data.draw(values(size)), data.draw(ints(size, 0, 2))
    same(fill, which, each, filled(3))
    same(
        count_shares,
        which,
        data.draw(ints(size, -1, 3)),
        each,
        4,
        np.zeros(3 * 5 * COARSE_BINS, np.int64),
    )


@given(st.data(), SIZES, st.sampled_from([1, 1000]))
def test_spread(data, size, unit):
    each = data.draw(ints(size, 0, 50) if unit > 1 else values(size)) * unit
    start_ns, number, group_of = data.draw(whatever(size)), data.draw(ints(size, 0, 4)), data.draw(ints(5, 0, 2))
    in_time, combined = np.zeros(3 * 9 * COARSE_BINS, np.int64), np.zeros(5 * COARSE_BINS, np.int64)
    steps, floor = data.draw(ints(3, 0, 6)), np.array((np.iinfo(np.int64).min, 30, np.iinfo(np.int64).max))
    frame = data.draw(st.sampled_from([0, 5, -(1 << 40)])), data.draw(st.sampled_from([1, 7, 1 << 50])), 8
    combined = combined[: data.draw(st.sampled_from([0, len(combined)]))]
    lists = in_time, combined, steps, floor, np.zeros(size, np.int64)
    same(spread, each, start_ns, number, group_of, *frame, filled(3), *lists, counted=True)


@given(st.data(), SIZES)
def test_uses(data, size):
    codes, unknown = data.draw(ints(size, -1, 5)), data.draw(ints(size, -1, 1))
    count, sums = np.zeros(4, np.int64), np.zeros(12, np.int64)
    length, depth, sector = data.draw(ints(size, -1, 9000)), data.draw(ints(size, -1, 40)), data.draw(ints(size, -1, 2))
    one = codes, unknown, length, depth, sector, data.draw(flags(size)), count, sums, filled(4), filled(4)
    same(use_blocks, *one)
    ret, duration = data.draw(whatever(size)), data.draw(ints(size, -1, 99999))
    answered = data.draw(flags(size))
    same(use_opens, codes, ret, answered, duration, count, np.zeros(16, np.int64), filled(4))
    # Many places are gone through one after the other.
    codes, count = np.where(codes < 0, codes, codes * 9), np.zeros(40, np.int64)
    same(use_opens, codes, ret, answered, duration, count, np.zeros(400, np.int64), filled(40))


@pytest.mark.parametrize("wrong", [-2, 40, np.iinfo(np.int64).max, np.iinfo(np.int64).min])
def test_an_index_of_nothing_is_an_error(wrong):
    rows, zero, four, nothing = (
        np.array([0, wrong, 1]),
        np.zeros(3, np.int64),
        np.zeros(4, np.int64),
        np.zeros(0, np.int64),
    )
    yes, each, shares = np.ones(3, np.bool_), np.arange(3), np.zeros(4 * 4 * COARSE_BINS, np.int64)
    codes, plain = (Column(raw, np.zeros(0, np.uint8), 0) for raw in (rows, zero))
    frame, in_time = (0, 1, 8, filled(4)), np.zeros(4 * 9 * COARSE_BINS, np.int64)
    of_groups = in_time, nothing, four, four, zero
    flags = [np.ones(3, np.bool_) for _ in range(7)]
    for kernel, *args in [
        (take, four, rows, zero),
        (translate, codes, four, zero),
        (count_pairs, codes, plain, 2, yes[:0], four),
        (count_pairs, plain, codes, 2, yes[:0], four),
        (order_rows, rows, 4, zero),
        (weave, four, each, rows, np.zeros(7, np.int64)),
        (count_codes, rows.clip(-5, 99).astype(np.int32), four),
        (count_in_time, zero.astype(np.int32), rows[1:2], zero, 0, 0.5, 9, four),
        (fill, rows, zero, filled(4)),
        (fill, zero, np.full(3, -1), filled(4)),
        (count_shares, rows, zero, zero, 3, shares),
        (count_shares, zero, rows, zero, 3, shares),
        (spread, zero, zero, rows, four, *frame, *of_groups),
        (spread, zero, zero, zero, rows[1:2], *frame, *of_groups),
        (under_way, rows, 4, zero, 1, each, each, each, 0, zero, yes),
        (under_way, zero, 1, zero, 1, each, rows, each, 0, zero, yes),
        (under_way, zero, 1, zero, 1, rows, each, each, 0, zero, yes),
        (under_way, zero, 1, zero, 1, each, each, rows, 0, zero, yes),
        (follow, each, rows, 0, *[zero] * 5, nothing, nothing, yes, zero, zero),
        (gather_requests, Requests(*[rows] * 5, *[yes] * 4), yes, Events(*[zero] * 9, *[yes] * 3),
         Found(*[zero] * 13, *flags)),
    ]:  # fmt: skip
        with pytest.raises(IndexError):
            kernel(*args)


def test_arrays_of_another_kind_are_refused():
    out = np.zeros(4, np.int64)
    for wrong in (np.zeros(4, np.int32), np.zeros(4), np.zeros(8, np.int64)[::2]):
        with pytest.raises(TypeError, match="is wanted"):
            take(out, wrong, out)


RUN_WITH = """
import ctypes, sys, pytest
library, tests, leave_out = sys.argv[1:]
class Checked(ctypes.CDLL):
    def __init__(self, name, *more, **options):
        super().__init__(library if name and name.endswith("kernels.so") else name, *more, **options)
ctypes.CDLL = Checked
from tracekit.analyze.kernels import columns, compiled, distributions, pairing
assert compiled._library()._name == library
sys.exit(pytest.main(["-q", "-s", "-x", "-p", "no:cacheprovider", tests, "-k", "not " + leave_out]))
"""


def test_no_memory_but_its_own_is_touched(tmp_path):
    """All of the above once more, with a library that looks out for that and for undefined behaviour."""
    must_have(gcc := "gcc")
    runtime = subprocess.run(
        [gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        cannot_run("gcc is here without its sanitizers")
    library, checks = tmp_path / "kernels.so", "-fsanitize=address,undefined"
    command = [gcc, "-std=c11", "-O1", "-g", "-fPIC", "-shared", checks, "-fno-sanitize-recover=all"]
    command += [f"-DMADE_FOR={compiled.checksum()}u", *map(str, sorted(NATIVE.glob("*.c"))), "-o", str(library)]
    subprocess.run(command, check=True)
    this = "test_no_memory_but_its_own_is_touched"
    done = subprocess.run(
        [sys.executable, "-c", RUN_WITH, str(library), __file__, this],
        env=os.environ
        | {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1", "PYTHONMALLOC": "malloc"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
