"""tracekit: kernel tracing that explains itself."""

from tracekit.trace import Trace, open_trace

__version__ = "0.1.0"
__all__ = ["Trace", "__version__", "open_trace"]
