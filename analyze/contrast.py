"""What sets some events apart from the rest: attribute values that they share and the rest do not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.analyze.columns import OTHERS, Bools, Codes, Ints
from tracekit.analyze.kernels import columns as kernels
from tracekit.analyze.results import SetsApart

MIN_INSIDE = 5
MIN_SHARE = 0.6
MIN_DIFFERENCE = 0.3
MIN_Z = 4.0
AT_MOST = 4
_MIN_KNOWN = 0.6


@dataclass(frozen=True)
class Field:
    """The values of an attribute; `from_here[value]` names a value and all above it, where they are ordered."""

    names: tuple[str, ...]
    from_here: tuple[str, ...] = ()

    @staticmethod
    def of(codes: Codes) -> "Field":
        """The field of such codes."""
        return Field(codes.names, codes.from_here if isinstance(codes, Classes) else ())


@dataclass(frozen=True)
class Shares:
    """How often each value of a field occurs inside and outside of some events; unknown values are not counted."""

    field: Field
    inside: Ints
    outside: Ints


def sets_apart(count: int, fields: Mapping[str, Shares]) -> tuple[SetsApart, ...]:
    """Values that at least six in ten of the events inside have, and clearly fewer of those outside; best first.

    Args:
        count: of the events in question, whether their values are known or not.
        fields: by name.
    """
    found = [best for name, shares in fields.items() if (best := _best(name, shares, count)) is not None]
    found.sort(key=lambda item: (-item[0], item[1].field))
    return tuple(reason for _, reason in found[:AT_MOST])


@dataclass(frozen=True)
class Classes(Codes):
    """Codes in the order of what they stand for; `from_here[code]` names a class and all above it."""

    from_here: tuple[str, ...] = ()

    def __getitem__(self, chosen: Any) -> "Classes":
        return Classes(self.codes[chosen], self.names, self.from_here)


def _best(name: str, shares: Shares, count: int) -> tuple[float, SetsApart] | None:
    """The value that sets apart most, and how closely having it goes with being inside (the coefficient phi).

    Of two values that the events inside have alike, that is the one which fewer of those outside have.
    """
    within, without, names = shares.inside, shares.outside, shares.field.names
    total_in, total_out = int(within.sum()), int(without.sum())
    if shares.field.from_here:
        names += shares.field.from_here
        within, without = (np.concatenate((one, np.cumsum(one[::-1])[::-1])) for one in (within, without))
    if total_in < max(MIN_INSIDE, _MIN_KNOWN * count) or not total_out:
        return None
    share_in, share_out = within / total_in, without / total_out
    pooled = (within + without) / (total_in + total_out)
    error = np.sqrt(pooled * (1 - pooled) * (1 / total_in + 1 / total_out))
    difference = share_in - share_out
    good = (share_in >= MIN_SHARE) & (difference >= MIN_DIFFERENCE) & (difference >= MIN_Z * error)
    good &= np.array([one != OTHERS for one in names])
    if not good.any():
        return None
    code = int(np.argmax(np.where(good, difference, -1.0)))
    phi = float(difference[code] / error[code]) / math.sqrt(total_in + total_out)
    return phi, SetsApart(name, names[code], round(float(share_in[code]), 4), round(float(share_out[code]), 4))


#: The least of each class.
_SIZES = np.array((0, 1, *((1 << power) + 1 for power in (12, 15, 17, 19))))
_SIZE_NAMES = ("none", "up to 4 KiB", "4 to 32 KiB", "32 to 128 KiB", "128 to 512 KiB", "above 512 KiB")
_FROM_SIZE = ("any", "above none", "above 4 KiB", "above 32 KiB", "above 128 KiB", "above 512 KiB")
_DEPTHS = np.array((1, 2, 4, 8, 16, 32))
_DEPTH_NAMES = ("1", "2-3", "4-7", "8-15", "16-31", "32 or more")
_FROM_DEPTH = ("1 or more", "2 or more", "4 or more", "8 or more", "16 or more", "32 or more")
#: Values that stand for several classes.
RANGES = frozenset((*_FROM_SIZE, *_FROM_DEPTH))


def size_class(size: Ints) -> Classes:
    """Sizes in bytes by class; -1 is unknown."""
    return Classes(_classes(size, _SIZES), _SIZE_NAMES, _FROM_SIZE)


def depth_class(depth: Ints) -> Classes:
    """Queue depths by class; below 1 is unknown."""
    return Classes(_classes(depth, _DEPTHS), _DEPTH_NAMES, _FROM_DEPTH)


def _classes(values: Ints, least: Ints) -> Ints:
    found = np.empty_like(values)
    kernels.classify(values, least, found)
    return found


def yes_no(truth: Bools, known: Bools | bool = True, yes: str = "yes", no: str = "no") -> Codes:
    """A property that an event has or has not; unknown where not known."""
    return Codes(np.where(known, truth.astype(np.int64), -1), (no, yes))
