"""The `bcc` loader."""

from tracekit.capture.loading import Attached, KernelFacts
from tracekit.errors import UnsupportedError


def attach(families: tuple[str, ...], facts: KernelFacts, ring_bytes: dict[str, int]) -> Attached:
    raise UnsupportedError("not yet")
