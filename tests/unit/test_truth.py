"""Traces with known truth: the analyzer finds what was planted and nothing else. `make bench-truth` has the rates."""

import json
from pathlib import Path

import numpy as np
import pytest
from truth import DETECTORS, Outcome

from tracekit import open_trace
from tracekit.analyze import analyze


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_planted_is_found(tmp_path: Path, detector: str, seed: int) -> None:
    for scenarios, judged in DETECTORS[detector]:
        for number, (name, make) in enumerate(scenarios(np.random.default_rng(seed)).items()):
            path = make().write(tmp_path / f"{number}.parquet")
            truth = json.loads(path.with_suffix(".truth.json").read_text())
            outcome: Outcome = judged(truth, analyze(open_trace(path)))
            assert (name, outcome.found, outcome.invented) == (name, outcome.planted, 0)
