"""Work that goes on in threads while something else is done: reading ahead, writing behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

DEPTH = 2  # items that are worked on before their turn


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], *, workers: int = 2, depth: int = DEPTH
) -> Iterator[R]:
    """As `map`, with threads that are some items ahead of what is asked for.

    Args:
        function: called in threads, for several items at once.
        items: taken one by one in the thread that asks, never more than `depth` ahead.
        workers: threads.
        depth: how many results may wait.

    Yields:
        The results, in the items' order.

    Raises:
        Exception: what `function` raises, when its item's turn comes.

    Example:
    >>> list(map_ahead(abs, (-1, 2, -3)))
    [1, 2, 3]
    """
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
