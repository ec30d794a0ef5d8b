"""Work in a second process: Python lets only one thread of each compute at a time, but for what numpy and Arrow do."""

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")

#: Not by `multiprocessing`, which has the new process import the program that started it: a script without
#: `if __name__ == "__main__"` would do all of its work again.
_PROGRAM = "from tracekit.analyze.beside import work; work()"


@contextmanager
def beside(
    function: Callable[Params, Result], *args: Params.args, **more: Params.kwargs
) -> Iterator[Callable[[], Result]]:
    """Have a function of a module called in another process, which ends with this context, done or not.

    Yields:
        What waits for the result, or raises what the function raised. Where there can be no such process, or somebody
        killed it, it calls the function here.
    """
    process = _start((function, args, more))

    def result() -> Result:
        if process is None or process.stdout is None:
            return function(*args, **more)
        try:
            found, error = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            return function(*args, **more)
        if error is not None:
            raise error
        return found  # type: ignore[no-any-return]

    try:
        yield result
    finally:
        if process is not None:
            process.kill()
            with suppress(OSError), process:  # which closes its pipes and waits for its end
                pass


def _start(task: tuple[object, ...]) -> "Popen[bytes] | None":
    """A process that works on the task; null where there can be none."""
    path = {"PYTHONPATH": os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)}
    try:
        # In a group of its own: Ctrl-C reaches those of the terminal's, and this one ends the other then.
        process = Popen(
            [sys.executable, "-P", "-c", _PROGRAM], stdin=PIPE, stdout=PIPE, env=os.environ | path, process_group=0
        )
    except OSError:
        return None
    if process.stdin is not None:
        with suppress(BrokenPipeError):  # it has ended already, and so answers nothing
            process.stdin.write(pickle.dumps(task))
            process.stdin.flush()
    return process


def work() -> None:
    """What the other process does: it reads a task, and writes what came of it."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed
    try:
        function, args, more = pickle.load(sys.stdin.buffer)
    except Exception:  # a class that only the other program has: it works on its own then
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        told = pickle.dumps((function(*args, **more), None))
    except Exception as error:
        error.add_note(traceback.format_exc())
        told = pickle.dumps((None, error))
    with suppress(BrokenPipeError), answer:
        answer.write(told)


def _end_with_parent() -> None:
    """Nobody waits for what is worked out for a process that was killed: nobody holds the other end then."""
    os.read(0, 1)  # not by `sys.stdin`, whose lock would be missed at the end
    os._exit(1)
