"""tracekit: kernel tracing that explains itself."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.trace import Trace, open_trace

__version__ = "0.1.0"
__all__ = ["Trace", "__version__", "open_trace"]


def __getattr__(name: str) -> Any:
    # Late, so that `tracekit --version` and usage errors do not wait for pyarrow.
    if name in ("Trace", "open_trace"):
        from tracekit import trace

        return getattr(trace, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
