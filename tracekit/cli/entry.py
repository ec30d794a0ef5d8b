"""Where the command begins: Ctrl-C ends it without a traceback while the rest is still being imported."""

import signal


def main() -> int:
    """Run the command line and return its exit code."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tracekit.cli.main import main as run

    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()
