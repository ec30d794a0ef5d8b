"""Work on the next piece while the last one is looked at: numpy and Arrow let other threads run while they compute."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items in the same order, none of them null, each made by another thread while the one before is used."""
    rest = iter(items)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, rest, None)
        while (found := following.result()) is not None:
            following = pool.submit(next, rest, None)
            yield found
