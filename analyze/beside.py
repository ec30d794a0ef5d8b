"""Work in a second process: Python lets only one thread of each compute at a time, but for what numpy and Arrow do."""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

Params = ParamSpec("Params")
Result = TypeVar("Result")


@contextmanager
def beside(
    function: Callable[Params, Result], *args: Params.args, **more: Params.kwargs
) -> Iterator[Callable[[], Result]]:
    """Have a function of a module called in another process, which ends with this context, done or not.

    Yields:
        What waits for the result, or raises what the function raised. Where there can be no such process, or somebody
        killed it, it calls the function here.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, function, args, more), daemon=True)

    def result() -> Result:
        try:
            found, error = ours.recv()
        except (EOFError, OSError):
            return function(*args, **more)
        if error is not None:
            raise error
        return found  # type: ignore[no-any-return]

    try:
        _start(process)
        theirs.close()
        yield result
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        ours.close()


class _Teller:
    """Calls a function of the process that made it, from there and, given as an argument, from another."""

    def __init__(self, listener: Callable[[int], None], end: Connection) -> None:
        self._listener, self._end = listener, end

    def __call__(self, number: int) -> None:
        self._listener(number)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._end, "send")


@contextmanager
def heard(listener: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Let a process hear of numbers while it waits for another.

    Yields:
        An argument for what is called by `beside` within this context: with it that calls the listener here.
    """
    ours, theirs = get_context("spawn").Pipe(duplex=False)

    def listen() -> None:
        with ours, suppress(EOFError, OSError):
            while True:
                listener(ours.recv())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield _Teller(listener, theirs)
    finally:
        theirs.close()
        thread.join()


def _start(process: Any) -> None:
    """Ctrl-C reaches all processes of a terminal: the new one leaves it to this one, which ends it then."""
    resource_tracker.ensure_running()  # which would let the signal through again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    except (OSError, AssertionError):  # nobody will answer; the second is of a process that may not have children
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(answer: Connection, function: Callable[..., Any], args: tuple[Any, ...], more: dict[str, Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        answer.send((function(*args, **more), None))
    except Exception as error:
        error.add_note(traceback.format_exc())
        answer.send((None, error))


def _end_with_parent() -> None:
    """Nobody waits for what is worked out for a process that was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
