"""Sizes of what the programs share with the agent."""

import pytest

from tracekit.capture.probes import open_calls, ring_bytes

GIB = 1 << 30
EVERY = ("process", "block", "open")


@pytest.mark.parametrize("memory", [GIB // 4, GIB, 24 * GIB, 6 << 40])
@pytest.mark.parametrize("cpus", [1, 2, 3, 64, 448])
def test_rings_fit_the_machine(memory: int, cpus: int) -> None:
    sizes = ring_bytes(EVERY, memory, cpus)
    assert all(size & (size - 1) == 0 and size >= 64 << 10 for size in sizes.values())
    assert sum(sizes.values()) <= max(memory // 64, 10 * 256 << 10)
    assert sum(sizes.values()) <= 320 << 20
    assert sizes["open_short_ring"] == max(sizes.values())


def test_more_of_the_machine_means_larger_rings() -> None:
    totals = [sum(ring_bytes(EVERY, 24 * GIB, cpus).values()) for cpus in (1, 2, 4, 8, 64)]
    assert totals == sorted(set(totals[:4])) + totals[4:]
    totals = [sum(ring_bytes(EVERY, memory, 64).values()) for memory in (GIB, 4 * GIB, 16 * GIB, 64 * GIB)]
    assert totals == sorted(set(totals))


def test_a_size_that_is_asked_for_is_that_of_each_ring() -> None:
    assert ring_bytes(("open",), GIB, 2, 4096) == dict.fromkeys(
        ("open_short_ring", "open_medium_ring", "open_long_ring"), 4096
    )


def test_every_thread_has_room() -> None:
    for threads in (1, 100, 10_000, 200_000):
        assert open_calls(threads) >= 4 * threads
    assert open_calls(10**7) == 1 << 20
