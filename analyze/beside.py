"""Work in a second process: Python lets only one thread of each compute at a time, but for what numpy and Arrow do."""

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, TypeVar

Result = TypeVar("Result")

#: Not by `multiprocessing`, which has the new process import the program that started it: a script without
#: `if __name__ == "__main__"` would do all of its work again.
_PROGRAM = "from tracekit.analyze.beside import work; work()"


@contextmanager
def beside(function: Callable[..., Result], *args: object) -> Iterator[Callable[[], Result]]:
    """Have a function of a module called in another process, which ends with this context, done or not.

    Yields:
        What waits for the result, or raises what the function raised. Where there can be no such process, or somebody
        killed it, it calls the function here.
    """
    process = _start(pickle.dumps((function, args)))
    answer: Future[tuple[Any, Exception | None] | None] = Future()
    reader = threading.Thread(target=_read, args=(process, _listener(args), answer), daemon=True)
    reader.start()

    def result() -> Result:
        told = answer.result()
        if told is None:
            return function(*args)
        found, error = told
        if error is not None:
            raise error
        return found  # type: ignore[no-any-return]

    try:
        yield result
    finally:
        if process is not None:
            process.kill()
            reader.join()
            with suppress(OSError), process:  # which closes its pipes and waits for its end
                pass


class Heard:
    """Calls a function of this process with a number: from here, and from another that has it as an argument."""

    def __init__(self, listener: Callable[[int], None]) -> None:
        self.listener = listener

    def __call__(self, number: int) -> None:
        self.listener(number)

    def __reduce__(self) -> tuple[Callable[[], Callable[[int], None]], tuple[()]]:
        return _teller, ()


def _listener(args: tuple[object, ...]) -> Callable[[int], None]:
    return next((one.listener for one in args if isinstance(one, Heard)), lambda number: None)


def _read(process: "Popen[bytes] | None", listener: Callable[[int], None], answer: "Future[Any]") -> None:
    """Wait for the answer of a process, which is null where none comes; numbers before it are for the listener."""
    told: object = None
    try:
        if process is not None and process.stdout is not None:
            while isinstance(told := pickle.load(process.stdout), int):
                listener(told)
    except Exception:  # it ended, or what it said is not understood here: the work is done here then
        told = None
    answer.set_result(told)


def _start(task: bytes) -> "Popen[bytes] | None":
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
            process.stdin.write(task)
            process.stdin.flush()
    return process


#: Where the other process answers.
_ANSWER = 3


def work() -> None:
    """What the other process does: it reads a task, and writes what came of it."""
    os.dup2(1, _ANSWER)
    os.dup2(2, 1)  # whatever else is printed
    try:
        function, args = pickle.load(sys.stdin.buffer)
    except Exception:  # a class that only the other program has: it works on its own then
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        told = pickle.dumps((function(*args), None))
    except Exception as error:
        error.add_note(traceback.format_exc())
        told = pickle.dumps((None, error))
    sys.stdout.flush()  # whoever has the answer ends this process
    _write(told)


def _teller() -> Callable[[int], None]:
    return lambda number: _write(pickle.dumps(number))


def _write(told: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(_ANSWER, "wb", closefd=False) as answer:
        answer.write(told)


def _end_with_parent() -> None:
    """Nobody waits for what is worked out for a process that was killed: nobody holds the other end then."""
    os.read(0, 1)  # not by `sys.stdin`, whose lock would be missed at the end
    os._exit(1)
