"""tracekit: kernel tracing that explains itself."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.recording import Part, Recording, open_trace
    from tracekit.trace import Trace

__version__ = "0.1.0"
__all__ = ["Part", "Recording", "Trace", "__version__", "open_trace"]


def __getattr__(name: str) -> Any:
    # Late, so that `tracekit --version` and usage errors do not wait for pyarrow.
    if name in __all__:
        from tracekit import recording

        return getattr(recording, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
