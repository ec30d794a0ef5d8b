"""Fuzz the readers of foreign bytes with atheris, which is libFuzzer for Python, and say what was found.

Each target has a process at a time, guided by what of tracekit's code an input reaches. An exception that is a find is
kept with its traceback and the fuzzing goes on; a process that crashes, hangs or takes too much memory is started anew.
What was found lies in `.fuzz/found/TARGET`; what led to new code lies in `.fuzz/corpus/TARGET`,
where the next run begins.

    run.py --minutes 60                  all targets, for the same time each
    run.py --only trace --only journal   these
    run.py --only trace FILE...          only whether these inputs are still finds
"""

import argparse
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from targets import Target

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_KEPT = _ROOT / ".fuzz"
_TIMEOUT_S, _MOST_MB, _MOST_BYTES = 10, 1024, 1 << 16
_HANGS = 70
#: What exit codes of libFuzzer's mean; another is that of a crash.
_ENDS = {_HANGS: "timeout", 71: "memory"}
# A target that cannot even be started must not be started for ever.
_MOST_ENDS = 20


def main() -> int:
    """Run all, or those that were named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="for all targets together (default 5)")
    parser.add_argument("--only", action="append", metavar="TARGET", help="only this one; may be given more than once")
    parser.add_argument("--runs", type=int, default=-1, help="end each after so many inputs, too")
    parser.add_argument("--seed", type=int, default=0, help="the same numbers again (default: others each time)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("inputs", nargs="*", metavar="FILE", help="inputs to read once, of the one target")
    chosen = parser.parse_args()
    if chosen.worker:
        return _work(chosen.worker, chosen.inputs)
    sys.path[:0] = [str(_ROOT / "tests" / "support"), str(_ROOT / "benchmarks")]
    from targets import TARGETS

    names = chosen.only or list(TARGETS)
    unknown = set(names) - set(TARGETS)
    if unknown or (chosen.inputs and len(names) != 1):
        parser.error(f"there is no target {min(unknown)}: there are {', '.join(TARGETS)}" if unknown else "name one")
    if chosen.inputs:
        return subprocess.call([sys.executable, __file__, "--worker", names[0], *chosen.inputs])
    print(f"{'target':10} {'executions':>10} {'seconds':>8} {'finds':>6}", flush=True)
    seconds = chosen.minutes * 60 / len(names)
    finds = sum(_fuzzed(name, seconds, chosen.runs, chosen.seed) for name in names)
    print(f"{finds} finds" + (f": see {_KEPT / 'found'}" if finds else ""))
    return 1 if finds else 0


def _fuzzed(name: str, seconds: float, runs: int, seed: int) -> int:
    """How many finds one target has."""
    from targets import TARGETS

    target, corpus, found = TARGETS[name], _KEPT / "corpus" / name, _KEPT / "found" / name
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for content in target.seeds():
        (corpus / hashlib.sha1(content).hexdigest()).write_bytes(content)
    words, current = _KEPT / f"{name}.words", _KEPT / f"{name}.input"
    before, began, executions = set(found.iterdir()), time.monotonic(), 0
    for start in range(_MOST_ENDS):
        left = round(seconds - (time.monotonic() - began))
        if left < 1 or (start and 0 <= runs <= executions):
            break
        options = {
            "max_total_time": left,
            "runs": runs - executions if runs >= 0 else -1,
            "seed": seed + start if seed else 0,
            "timeout": _TIMEOUT_S,
            "rss_limit_mb": _MOST_MB,
            "max_len": _MOST_BYTES,
            "exact_artifact_path": os.devnull,  # it is kept here, since a process may be too broken to write it
            "print_final_stats": 1,
        }
        if target.words:
            words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
            options["dict"] = words
        command = [sys.executable, __file__, "--worker", name, str(corpus)]
        environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"}
        log = found.with_name(f"{name}.log")
        current.unlink(missing_ok=True)
        with log.open("w" if not start else "a") as said:
            flags = [f"-{option}={value}" for option, value in options.items()]
            code = _end_of([*command, "--", *flags], said, left + 6 * _TIMEOUT_S, environment)
        if code and current.exists():  # else it did not come so far as to have an input
            raw = current.read_bytes()
            (found / f"{_ENDS.get(code, 'crash')}-{hashlib.sha1(raw).hexdigest()[:12]}").write_bytes(raw)
        told = re.findall(r"stat::number_of_executed_units: +(\d+)", log.read_text(errors="replace"))
        executions = sum(map(int, told))
        if not executions:
            raise SystemExit(f"the target {name} does not run: see {log}")
        if not code:
            break
    finds = [path for path in found.iterdir() if path not in before and path.suffix != ".txt"]
    print(f"{name:10} {executions:10,} {time.monotonic() - began:8.0f} {len(finds):6}", flush=True)
    return len(finds)


def _end_of(command: list[str], said: IO[str], seconds: float, environment: dict[str, str]) -> int:
    """The exit code of a process, which is killed if it does not end; libFuzzer itself waits for a broken one."""
    with subprocess.Popen(command, stdout=said, stderr=said, env=environment) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return _HANGS


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _work(name: str, arguments: list[str]) -> int:
    """One target in this process, for as long as libFuzzer wants."""
    sys.path[:0] = [str(_ROOT / "tests" / "support"), str(_ROOT / "benchmarks")]
    import atheris

    with atheris.instrument_imports(include=["tracekit"]):
        import targets
    target, damage = targets.TARGETS[name], targets.TARGETS[name].damage
    found, inputs = _KEPT / "found" / name, [Path(one) for one in arguments if not one.startswith("-")]
    if inputs and all(path.is_file() for path in inputs):
        return max(_read_once(path, target) for path in inputs)

    current = (_KEPT / f"{name}.input").open("wb", buffering=0)

    def one(raw: bytes) -> None:
        current.seek(0)
        current.truncate()
        current.write(raw)
        try:
            targets.is_read(target, raw)
        except Exception as error:
            _keep(raw, error, found)

    def mutated(raw: bytes, size: int, seed: int) -> bytes:
        if damage is None:
            return bytes(atheris.Mutate(raw, size))
        return damage(raw, Random(seed), lambda part: atheris.Mutate(part, len(part) + 64))[:size]

    options = {} if damage is None else {"custom_mutator": mutated}
    flags = [one for one in arguments if one.startswith("-")]
    atheris.Setup([sys.argv[0], *flags, *map(str, inputs)], one, **options)
    atheris.Fuzz()
    return 0


def _read_once(path: Path, target: "Target") -> int:
    import targets

    try:
        is_read = targets.is_read(target, path.read_bytes())
    except Exception:
        print(f"{path}:")
        traceback.print_exc()
        return 1
    print(f"{path}: {'it is read' if is_read else 'one line says why it is not read'}, and that is no find")
    return 0


def _keep(raw: bytes, error: Exception, found: Path) -> None:
    """The first input that leads to an error at a place."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = [frame for frame in frames if "/tests/fuzz/" not in frame.filename and str(_ROOT) in frame.filename]
    last = ([one for one in inner if "/.venv/" not in one.filename] or frames)[-1]
    name = f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"
    with contextlib.suppress(FileExistsError), (found / name).open("xb") as file:
        file.write(raw)
        (found / f"{name}.txt").write_text("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    sys.exit(main())
