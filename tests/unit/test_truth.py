"""Traces with known truth: the analyzer finds what was planted and nothing else. `make bench-truth` has the rates."""

import pytest
from truth import DETECTORS, judged


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_planted_is_found(seed: int) -> None:
    outcomes = list(judged(DETECTORS, seed))
    assert {detector for detector, _, _ in outcomes} == set(DETECTORS)
    for detector, name, outcome in outcomes:
        assert (detector, name, outcome.found, outcome.invented) == (detector, name, outcome.planted, 0)
