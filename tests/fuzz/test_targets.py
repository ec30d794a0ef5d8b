"""The targets of `make fuzz` in short: what is good is read, and what is damaged is said in one line."""

from functools import partial
from pathlib import Path
from random import Random

import pytest
import run
import targets
from damaging import blindly
from targets import TARGETS

RUNS = 40


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_some_that_were_damaged(name: str) -> None:
    target, random = TARGETS[name], Random(f"tracekit {name}")
    blind = partial(blindly, random=random)
    inputs = list(target.seeds())
    assert all(targets.is_read(target, raw) for raw in inputs)
    seeds = len(inputs)
    for _ in range(RUNS):
        raw = random.choice(inputs)
        raw = blind(raw) if target.damage is None else target.damage(raw, random, blind)
        if targets.is_read(target, raw):
            inputs.append(raw)
    # Some damage leaves a file of which something can be read; else nothing but the first check was tried.
    assert len(inputs) > seeds


def test_what_is_raised_else_is_a_find(tmp_path: Path) -> None:
    def fails(raw: bytes, folder: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        targets.is_read(targets.Target(list, fails), b"")


def test_a_worker_that_fails_at_once_is_no_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "atheris.py").write_text("raise ImportError('not for this Python')")
    (tmp_path / "trace.input").write_text("of an earlier run")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(run, "_KEPT", tmp_path)
    with pytest.raises(SystemExit, match=r"^the target trace does not run: see .*trace\.log$"):
        run._fuzzed("trace", seconds=60, runs=1, seed=1)
    assert "not for this Python" in (tmp_path / "found" / "trace.log").read_text()
    assert not any((tmp_path / "found" / "trace").iterdir())
