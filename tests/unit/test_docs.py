"""The documentation names what there is."""

import dataclasses
import re
from pathlib import Path

from tracekit.metadata import Counters, Disk, Metadata
from tracekit.schema import ALL_EVENTS, SCHEMA

ROOT = Path(__file__).parents[2]


def test_the_format_page_names_every_event_column_and_field() -> None:
    page = (ROOT / "docs" / "trace-format.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    fields = {field.name for kind in (Metadata, Counters, Disk) for field in dataclasses.fields(kind)}
    assert {*ALL_EVENTS, *SCHEMA.names} | fields <= named
