"""Options that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tracekit.schema import RECORDED_FAMILIES

F = TypeVar("F", bound=Callable[..., Any])


def families_option(help: str) -> Callable[[F], F]:
    """`--events`: families of events, with commas between, given to the command as the tuple `families`."""
    return click.option(
        "--events",
        "families",
        metavar="FAMILIES",
        default=",".join(RECORDED_FAMILIES),
        show_default=True,
        callback=lambda context, parameter, text: _families(text),
        help=f"{help}, with commas between.",
    )


def _families(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
